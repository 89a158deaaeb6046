"""Makes the small compressed pictures beside this file, with the encoders of dcmtk, CharLS, OpenJPEG and OpenJPH.

    apt-get install dcmtk; pip install pydicom==3.0.2 numpy==2.4.6 imagecodecs==2026.3.6 pyjpegls==1.5.1
    python3 vectors.py ../../../../../shared/dicom/syntaxes/explicit-le.dcm

The picture is a part of scikit-image's photograph of a retina (Mikael Häggström, CC0) at the edge of the optic disc: crop.rgb
holds its pixels, crop16.grey one channel stretched over 16 bits, lower byte first, and crop4.grey and crop7.grey its upper bits; the
colour12.* and colour16.* hold its pixels in the upper 8 of 12 and of 16 bits, above other bits. Lossless
streams decode to these; htj2k-lossy.rgb is what OpenJPH makes of htj2k-lossy.j2c, and near*.rgb and near16.grey what CharLS
makes of the streams of these names (JPEG-LS defines that to the bit).
"""

import pathlib
import subprocess
import sys
import tempfile

import imagecodecs
import jpeg_ls
import numpy as np
import pydicom
from pydicom.encaps import get_frame

X, Y, WIDTH, HEIGHT = 420, 290, 45, 33  # odd sides


def dcmtk(ds: pydicom.Dataset, *options: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        before, after = f"{folder}/before.dcm", f"{folder}/after.dcm"
        ds.save_as(before)
        subprocess.run(["dcmcjpeg", *options, before, after], check=True)
        frame = get_frame(pydicom.dcmread(after).PixelData, 0, number_of_frames=1)
        assert frame is not None
        return frame


def main() -> None:
    here = pathlib.Path(__file__).parent
    ds = pydicom.dcmread(sys.argv[1])
    crop = np.ascontiguousarray(ds.pixel_array[Y : Y + HEIGHT, X : X + WIDTH])
    grey = (crop[..., 1].astype(np.uint16) * 257 + np.arange(WIDTH, dtype=np.uint16)).astype("<u2")
    out = {"crop.rgb": crop.tobytes(), "crop16.grey": grey.tobytes(), "crop4.grey": (crop[..., 1] >> 4).tobytes()}
    out["crop7.grey"] = (crop[..., 1] >> 1).tobytes()

    ds.Rows, ds.Columns, ds.PixelData = HEIGHT, WIDTH, crop.tobytes()
    for predictor in range(1, 8):
        out[f"lossless-p{predictor}.jpg"] = dcmtk(ds, "+el", "+sv", str(predictor))
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelData = 1, "MONOCHROME2", grey.tobytes()
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    del ds.PlanarConfiguration
    for predictor in (1, 4, 7):
        out[f"lossless16-p{predictor}.jpg"] = dcmtk(ds, "+el", "+sv", str(predictor))

    lower = np.arange(crop.size, dtype=np.uint16).reshape(crop.shape)
    colour = ((crop.astype(np.uint16) << 4) | (lower % 16)).astype("<u2")
    colour16 = ((crop.astype(np.uint16) << 8) | (lower % 256)).astype("<u2")
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.BitsStored, ds.HighBit, ds.PixelData = 12, 11, colour.tobytes()
    out["colour12.jpg"] = dcmtk(ds, "+el", "+sv", "1")
    out["colour12.jls"] = jpeg_ls.encode_buffer(colour.tobytes(), HEIGHT, WIDTH, 3, 12, interleave_mode=2)
    out["colour12.j2k"] = imagecodecs.jpeg2k_encode(colour, codecformat="J2K", reversible=True, level=0, bitspersample=12)
    out["colour16.j2c"] = imagecodecs.htj2k_encode(colour16, reversible=True)

    for name, picture in (("", crop), ("16", grey)):
        out[f"lossless{name}.jls"] = imagecodecs.jpegls_encode(picture)
        out[f"lossless{name}.j2k"] = imagecodecs.jpeg2k_encode(picture, codecformat="J2K", reversible=True, level=0)
        out[f"lossless{name}.j2c"] = imagecodecs.htj2k_encode(picture, reversible=True)
    out["lossless.jp2"] = imagecodecs.jpeg2k_encode(crop, codecformat="JP2", reversible=True, level=0)
    out["htj2k-lossy.j2c"] = imagecodecs.htj2k_encode(crop, reversible=False, level=0.01)
    out["htj2k-lossy.rgb"] = imagecodecs.htj2k_decode(out["htj2k-lossy.j2c"]).tobytes()

    planes = crop.transpose(2, 0, 1).tobytes()  # by line and by pixel, CharLS takes pixels
    out["lossless-lines.jls"] = jpeg_ls.encode_buffer(out["crop.rgb"], HEIGHT, WIDTH, 3, 8, interleave_mode=1)
    out["lossless-planes.jls"] = jpeg_ls.encode_buffer(planes, HEIGHT, WIDTH, 3, 8, interleave_mode=0)
    out["lossless4.jls"] = jpeg_ls.encode_buffer(out["crop4.grey"], HEIGHT, WIDTH, 1, 4)
    out["lossless7.jls"] = jpeg_ls.encode_buffer(out["crop7.grey"], HEIGHT, WIDTH, 1, 7)
    out["near-lines.jls"] = jpeg_ls.encode_buffer(out["crop.rgb"], HEIGHT, WIDTH, 3, 8, lossy_error=3, interleave_mode=1)
    out["near-pixels.jls"] = jpeg_ls.encode_buffer(out["crop.rgb"], HEIGHT, WIDTH, 3, 8, lossy_error=2, interleave_mode=2)
    out["near16.jls"] = jpeg_ls.encode_buffer(out["crop16.grey"], HEIGHT, WIDTH, 1, 16, lossy_error=200)
    for name in ("near-lines", "near-pixels"):
        out[f"{name}.rgb"] = imagecodecs.jpegls_decode(bytes(out[f"{name}.jls"])).tobytes()
    out["near16.grey"] = imagecodecs.jpegls_decode(bytes(out["near16.jls"])).astype("<u2").tobytes()
    for name, data in out.items():
        (here / name).write_bytes(data)


if __name__ == "__main__":
    main()
