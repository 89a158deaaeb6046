"""Measures of a model on labelled pictures, pooled over the pixels inside the field of view at native resolution."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .canvas import detect_mask, fit_geometry
from .data import VESSEL, Picture, Sample, find_samples, load
from .metrics import PooledScores
from .predict import Segmenter

THRESHOLD_GRID = np.round(np.arange(0.20, 0.7001, 0.02), 2)
"""Thresholds that are tried when one is chosen; coarse on purpose, the optimum is flat."""

PROTOCOL = (
    "pooled over all pixels inside the data set's field-of-view masks, native resolution, first observer, no flips, "
    "{fov}; Python program"
)


def score_pictures(
    segmenter: Segmenter, samples: Sequence[Sample], own_fov: bool = False, progress: bool = True
) -> dict[str, PooledScores]:
    """Scores of every picture by its key. ``own_fov`` finds the geometry in the picture instead of the set's mask."""
    scores = {}
    started = time.monotonic()
    for i, sample in enumerate(samples, 1):
        picture = load(sample)
        probability = segmenter.probability(picture.rgb, _geometry(picture, own_fov))
        scores[sample.key] = PooledScores()
        scores[sample.key].add(probability, picture.labels[VESSEL], picture.fov)
        if progress:
            left = (time.monotonic() - started) / i * (len(samples) - i)
            print(f"\r{i}/{len(samples)} pictures, {left:.0f} s left ", end="", file=sys.stderr, flush=True)
    if progress:
        print(file=sys.stderr)
    return scores


def _geometry(picture: Picture, own_fov: bool):
    return fit_geometry(detect_mask(picture.rgb)) if own_fov else picture.geometry


def evaluate(
    segmenter: Segmenter, data: Sequence[Path], split: str, threshold: float | None = None, own_fov: bool = False
) -> dict[str, Any]:
    """The ``evaluate`` command: figures by data set and pooled, per picture, with protocol and threshold."""
    samples = find_samples(data, split)
    cut = segmenter.threshold if threshold is None else threshold
    scores = score_pictures(segmenter, samples, own_fov)
    result: dict[str, Any] = {
        "model": segmenter.name,
        "version": segmenter.version,
        "split": split,
        "threshold": cut,
        "protocol": PROTOCOL.format(fov="geometry found in the picture" if own_fov else "geometry from those masks"),
        "sets": [],
    }
    for dataset in sorted({s.dataset for s in samples}):
        mine = [s for s in samples if s.dataset == dataset]
        pooled = PooledScores()
        for sample in mine:
            pooled.merge(scores[sample.key])
        per_image = [{"stem": s.stem, **scores[s.key].summary(cut)} for s in mine]
        result["sets"].append({"set": dataset, "images": len(mine), **pooled.summary(cut), "per_image": per_image})
    return result


def choose_threshold(segmenter: Segmenter, samples: Sequence[Sample]) -> tuple[float, list[dict[str, float]]]:
    """The threshold of the grid with the highest mean over the data sets of the pooled Dice, and the whole table.

    The mean over data sets keeps the set with the larger pictures from deciding alone.
    """
    if any(s.split == "test" for s in samples):
        raise ValueError("test pictures must not choose a threshold: give validation pictures")
    scores = score_pictures(segmenter, samples)
    pooled: dict[str, PooledScores] = {}
    for sample in samples:
        pooled.setdefault(sample.dataset, PooledScores()).merge(scores[sample.key])
    rows = []
    for threshold in THRESHOLD_GRID:
        dices = {name: p.dice(float(threshold)) for name, p in sorted(pooled.items())}
        rows.append({"threshold": float(threshold), **dices, "mean": float(np.mean(list(dices.values())))})
    best = max(rows, key=lambda row: row["mean"])
    return best["threshold"], rows


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
        for row in entry["per_image"]:
            lines.append(f"  {row['stem']:22}{'':>4}" + "".join(f"{row[n]:>13.4f}" for n in names))
    return "\n".join(lines)
