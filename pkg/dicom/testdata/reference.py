"""Writes reference.json: what other decoders make of the pictures under shared/dicom, as hashes and single pixels.

    pip install pydicom==3.0.2 python-gdcm==3.2.6 pylibjpeg==2.1.0 pylibjpeg-libjpeg==2.5.0 pylibjpeg-openjpeg==2.6.0 \\
        pylibjpeg-rle==2.2.0 pyjpegls==1.5.1 pillow==13.0.0 numpy==2.4.6
    python3 reference.py ../../../../shared/dicom > reference.json

Of each file the first frame, as 8-bit RGB by Noctua's rules (docs/dicom-conformance.md, "Pixel formats"), computed here from
pydicom's samples: "sha256". Lossy DCT JPEG is not defined to the bit: of it there are also "pixels" of a code base that shares
nothing with libjpeg(-turbo), pylibjpeg's, as x, y, r, g, b. pydicom has no decoder for progressive JPEG: that is Pillow's.
"""

import hashlib
import io
import json
import pathlib
import random
import sys
import warnings

import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import get_frame
from pydicom.pixels import apply_color_lut, pixel_array

warnings.filterwarnings("ignore")
DCT = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"}
PROGRESSIVE = "1.2.840.10008.1.2.4.55"


def levels(samples: np.ndarray, ds: pydicom.Dataset) -> np.ndarray:
    """The upper 8 bits of those stored; fewer are stretched; signed ones start at their lowest value."""
    bits = ds.BitsStored
    v = samples.astype(np.int64) & ((1 << bits) - 1)
    if ds.PixelRepresentation == 1:
        v ^= 1 << (bits - 1)
    most = (1 << bits) - 1
    v = v >> (bits - 8) if bits >= 8 else (v * 255 + most // 2) // most
    return v.astype(np.uint8)


def samples(ds: pydicom.Dataset, **options) -> np.ndarray:
    if ds.file_meta.TransferSyntaxUID == PROGRESSIVE:
        with Image.open(io.BytesIO(get_frame(ds.PixelData, 0, number_of_frames=1))) as image:
            return np.asarray(image.convert("RGB"))
    return pixel_array(ds, **options, **({"index": 0} if "NumberOfFrames" in ds else {}))


def rgb(ds: pydicom.Dataset, **options) -> np.ndarray:
    v = samples(ds, **options)
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        colours = apply_color_lut(v, ds)
        return (colours >> 8 if colours.dtype == np.uint16 else colours).astype(np.uint8)
    v = levels(v, ds)
    if ds.PhotometricInterpretation == "MONOCHROME1":
        v = 255 - v
    if ds.SamplesPerPixel == 1:
        v = np.repeat(v[..., None], 3, axis=-1)
    return np.ascontiguousarray(v)


def entry(ds: pydicom.Dataset) -> dict:
    try:
        picture = rgb(ds)
    except Exception as problem:  # pydicom raises almost anything
        return {"error": f"{type(problem).__name__}: {problem}".splitlines()[0][:120]}
    out = {"width": picture.shape[1], "height": picture.shape[0], "sha256": hashlib.sha256(picture.tobytes()).hexdigest()}
    if ds.file_meta.TransferSyntaxUID in DCT and ds.BitsStored == 8:
        other = rgb(ds, decoding_plugin="pylibjpeg")
        difference = np.abs(other.astype(int) - picture)
        print(f"{pathlib.Path(ds.filename).name}: mean {difference.mean():.3f}, max {difference.max()}", file=sys.stderr)
        numbers = random.Random(0)
        places = [(numbers.randrange(picture.shape[1]), numbers.randrange(picture.shape[0])) for _ in range(40)]
        out["pixels"] = [[x, y, *other[y, x].tolist()] for x, y in places]
    return out


def main() -> None:
    root = pathlib.Path(sys.argv[1])
    entries = {}
    for path in sorted(p for suite in ("syntaxes", "conformance") for p in (root / suite).rglob("*") if p.is_file()):
        try:
            ds = pydicom.dcmread(path)
        except pydicom.errors.InvalidDicomError:
            continue
        if "PixelData" in ds and "TransferSyntaxUID" in ds.file_meta:
            entries[str(path.relative_to(root))] = entry(ds)
    # One line a file.
    print("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in entries.items()) + "\n}")


if __name__ == "__main__":
    main()
