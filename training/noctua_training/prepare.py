"""The ``prepare`` command: any layout that is recognised becomes the plain one, cut to the field of view, denoised.

What it writes is a data set like any other (``images/``, ``manual1/``, ``fov/``, ``classes/``, ``split.csv``), so
that ``train`` and ``evaluate`` read it as they read the original.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from .data import VESSEL, Sample, find_samples, load
from .denoise import denoise

_MARGIN_SHARE = 0.02  # of the diameter, kept round the field of view


def prepare_folder(data: Sequence[Path], out: Path, method: str) -> int:
    """Writes ``<out>/<data set>/…`` and returns the number of pictures. An existing data set is never overwritten."""
    samples = find_samples(data, "all")
    for dataset in {s.dataset for s in samples}:
        if (out / dataset).exists():
            raise FileExistsError(f"{out / dataset} exists: choose another --out, or remove it")
    started = time.monotonic()
    for i, sample in enumerate(samples, 1):
        _write(sample, out / sample.dataset, method)
        left = (time.monotonic() - started) / i * (len(samples) - i)
        print(f"\r{i}/{len(samples)} pictures, {left:.0f} s left ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    for dataset in sorted({s.dataset for s in samples}):
        with (out / dataset / "split.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["stem", "split"])
            rows.writerows([s.stem, s.split] for s in samples if s.dataset == dataset)
    return len(samples)


def _write(sample: Sample, folder: Path, method: str) -> None:
    picture = load(sample)
    g = picture.geometry
    margin = 2 * g.radius * _MARGIN_SHARE
    top, left = (max(0, int(v - g.radius - margin)) for v in (g.centre_y, g.centre_x))
    box = np.s_[top : int(g.centre_y + g.radius + margin) + 1, left : int(g.centre_x + g.radius + margin) + 1]
    planes = {"images": denoise(picture.rgb[box], method), "fov": _grey(picture.fov[box])}
    for name, plane in picture.labels.items():
        planes["manual1" if name == VESSEL else f"classes/{name}"] = _grey(plane[box])
    for name, plane in planes.items():
        path = folder / name / f"{sample.stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(plane)).save(path)


def _grey(mask: np.ndarray) -> np.ndarray:
    return mask.astype(np.uint8) * 255
