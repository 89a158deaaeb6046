"""Measures of a model on labelled pictures, pooled over the pixels inside the field of view at native resolution."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .canvas import detect_mask, fit_geometry
from .data import VESSEL, Picture, Sample, find_samples, fit_and_validation, load
from .metrics import PooledScores
from .panels import write_panels
from .predict import Segmenter

THRESHOLD_GRID = np.round(np.arange(0.20, 0.7001, 0.02), 2)
"""Thresholds that are tried when one is chosen; coarse on purpose, the optimum is flat."""

PROTOCOL = (
    "pooled over all pixels inside the data set's field-of-view masks, native resolution, first observer, "
    "flips averaged: {flips}, {fov}; Python program"
)


def score_pictures(
    segmenter: Segmenter,
    samples: Sequence[Sample],
    own_fov: bool = False,
    progress: bool = True,
    panels: tuple[Path, float] | None = None,
) -> dict[str, PooledScores]:
    """Scores of every picture by its key. ``own_fov`` finds the geometry in the picture instead of the set's mask.

    ``panels`` is where the four panels of every picture are written, and their threshold.
    """
    scores = {}
    started = time.monotonic()
    for i, sample in enumerate(samples, 1):
        picture = load(sample)
        probability = segmenter.probability(picture.rgb, _geometry(picture, own_fov))
        scores[sample.key] = PooledScores()
        scores[sample.key].add(probability, picture.labels[VESSEL], picture.fov)
        if panels:
            folder, cut = panels
            path = folder / sample.dataset / f"{sample.stem}.png"
            write_panels(path, picture.rgb, picture.labels[VESSEL], probability >= np.float32(cut))
        if progress:
            left = (time.monotonic() - started) / i * (len(samples) - i)
            print(f"\r{i}/{len(samples)} pictures, {left:.0f} s left ", end="", file=sys.stderr, flush=True)
    if progress:
        print(file=sys.stderr)
    return scores


def _geometry(picture: Picture, own_fov: bool):
    return fit_geometry(detect_mask(picture.rgb)) if own_fov else picture.geometry


def evaluate(
    segmenter: Segmenter,
    data: Sequence[Path],
    split: str,
    threshold: float | None = None,
    own_fov: bool = False,
    fold: tuple[int, int] | None = None,
    panels: Path | None = None,
) -> dict[str, Any]:
    """The ``evaluate`` command: figures by data set and pooled, per picture, with protocol and threshold.

    With ``fold``, ``split`` is ``fit`` or ``validation`` of that fold.
    """
    samples = find_samples(data, split) if fold is None else fold_samples(data, split, fold)
    cut = segmenter.threshold if threshold is None else threshold
    scores = score_pictures(segmenter, samples, own_fov, panels=(panels, cut) if panels else None)
    result: dict[str, Any] = {
        "model": segmenter.name,
        "version": segmenter.version,
        "split": split,
        "threshold": cut,
        "protocol": PROTOCOL.format(
            fov="geometry found in the picture" if own_fov else "geometry from those masks",
            flips=", ".join(segmenter.flips),
        ),
        "sets": [],
    }
    for dataset in sorted({s.dataset for s in samples}):
        mine = [s for s in samples if s.dataset == dataset]
        pooled = PooledScores()
        for sample in mine:
            pooled.merge(scores[sample.key])
        per_image = [{"stem": s.stem, **scores[s.key].summary(cut)} for s in mine]
        best, best_dice = pooled.best_threshold(THRESHOLD_GRID)
        entry = {"set": dataset, "images": len(mine), **pooled.summary(cut), **density_errors(per_image)}
        entry |= {"best_threshold": best, "best_threshold_dice": best_dice, "ece": pooled.ece()}
        result["sets"].append(entry | {"per_image": per_image})
    return result


def fold_samples(data: Sequence[Path], split: str, fold: tuple[int, int]) -> list[Sample]:
    """The pictures that a run with ``--fold`` fitted, or validated on."""
    fit, held_out = fit_and_validation(data, fold)
    if split not in ("fit", "validation"):
        raise ValueError(f"a fold has no split {split!r}: choose fit or validation")
    return fit if split == "fit" else held_out


def density_errors(per_image: Sequence[dict[str, float]]) -> dict[str, float]:
    """Vessel area density of the mask against that of the label: mean error and mean absolute error."""
    errors = np.array([row["density"] - row["label_density"] for row in per_image])
    return {"density_bias": float(errors.mean()), "density_mae": float(np.abs(errors).mean())}


def table(result: dict[str, Any]) -> str:
    """The result as text."""
    names = ("dice", "auc", "sensitivity", "specificity", "mcc")
    lines = [
        f"{result['model']} {result['version']}, split {result['split']}, threshold {result['threshold']:.2f}",
        f"({result['protocol']})",
        "",
        f"{'set / picture':24}{'n':>4}" + "".join(f"{n:>13}" for n in names),
    ]
    for entry in result["sets"]:
        lines.append(f"{entry['set']:24}{entry['images']:>4}" + "".join(f"{entry[n]:>13.4f}" for n in names))
        lines.append(
            f"  density: bias {entry['density_bias']:+.4f}, mean absolute error {entry['density_mae']:.4f}; expected "
            f"calibration error {entry['ece']:.4f}; best threshold {entry['best_threshold']:.2f} would give "
            f"{entry['best_threshold_dice']:.4f}"
        )
        for row in entry["per_image"]:
            lines.append(f"  {row['stem']:22}{'':>4}" + "".join(f"{row[n]:>13.4f}" for n in names))
    return "\n".join(lines)
