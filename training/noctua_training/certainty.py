"""How certain a model's numbers are: threshold, intervals of the measures, range of what it was trained on.

All of it comes from held-out pictures: those of the run itself, or those of runs of the same recipe on folds of the
training split, which see every training picture once from outside.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from . import measures
from .canvas import canvas_mask, to_canvas, to_source
from .data import VESSEL, Sample, load
from .degrade import DEGRADED, degrade
from .evaluate import THRESHOLD_GRID
from .metrics import PooledScores
from .predict import Segmenter

CONFIDENCE = 0.90

_COLOUR_FACTOR = 1.4
_CONTRAST_FACTOR = 1.5
_VESSEL_FACTOR = 1.4
_SCALE_FACTOR = 1.25
"""How far beyond the training pictures the range goes; the augmentation goes at least as far."""

_COLOUR_LEVELS = 8.0
_CONTRAST_LEVELS = 4.0
"""The least margin in grey levels: blue is next to black in many retinas, and a factor of nothing is nothing."""


@dataclass
class HeldOut:
    """What a network says of one held-out picture, as it is and degraded."""

    sample: Sample
    scores: dict[str, PooledScores]  # by way of degrading, on the canvas; "" is the picture as it is, on its own pixels
    probability: np.ndarray  # of vessel, on the canvas, of the picture as it is
    label: np.ndarray  # on the canvas
    fov: np.ndarray  # on the canvas
    fov_px: float


def look(
    segmenter: Segmenter,
    samples: Sequence[Sample],
    measuring: bool = False,
    ways: Sequence[str] = tuple(DEGRADED),
) -> list[HeldOut]:
    """Runs the network over held-out pictures, as they are and degraded in each of the ``ways``.

    Test pictures are refused unless one is ``measuring``, not choosing.
    """
    if not measuring and any(s.split == "test" for s in samples):
        raise ValueError("test pictures must not decide anything: give validation pictures")
    out = []
    started = time.monotonic()
    for i, sample in enumerate(samples, 1):
        picture = load(sample)
        g = picture.geometry
        label = to_canvas(picture.labels[VESSEL].astype(np.float32), g, segmenter.fov_px, segmenter.canvas_px) >= 0.5
        fov = canvas_mask(g, segmenter.fov_px, segmenter.canvas_px)
        canvas = segmenter.canvas_vessels(picture.rgb, g)
        scores = {"": PooledScores()}
        scores[""].add(to_source(canvas, g, segmenter.fov_px), picture.labels[VESSEL], picture.fov)
        for way in ways:
            rgb, geometry = degrade(picture.rgb, g, way)
            scores[way] = PooledScores()
            scores[way].add(segmenter.canvas_vessels(rgb, geometry), label, fov)
        out.append(HeldOut(sample, scores, canvas, label, fov, segmenter.fov_px))
        left = (time.monotonic() - started) / i * (len(samples) - i)
        print(f"\r{i}/{len(samples)} held-out pictures, {left:.0f} s left ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return out


def choose_threshold(held_out: Sequence[HeldOut]) -> tuple[float, list[dict[str, float]]]:
    """The threshold with the highest mean over the groups of the pooled Dice, and the whole table.

    A group is a data set, as it is or degraded in one way: neither the set with the larger pictures nor the two
    cameras of the training pictures decide alone.
    """
    groups: dict[str, PooledScores] = {}
    for picture in held_out:
        for way, scores in picture.scores.items():
            groups.setdefault(f"{picture.sample.dataset} {way}".strip(), PooledScores()).merge(scores)
    rows = []
    for threshold in THRESHOLD_GRID:
        dices = {name: g.dice(float(threshold)) for name, g in sorted(groups.items())}
        rows.append({"threshold": float(threshold), **dices, "mean": float(np.mean(list(dices.values())))})
    best = max(rows, key=lambda row: row["mean"])
    return best["threshold"], rows


def fit_errors(held_out: Sequence[HeldOut], threshold: float, source: str) -> list[dict[str, Any]]:
    """Manifest entries: the half width of each measure's interval as offset + slope · statistic.

    The statistic is the mean of p(1 − p), or the measure itself: the one that gives the narrower intervals. |error| of
    the held-out pictures is fitted with coefficients that are not negative, and the line is scaled so that it holds the
    share CONFIDENCE of them, with the correction for their finite number of split conformal prediction (Vovk et al.
    2005), weighted so that data sets count alike (Tibshirani et al. 2019): with n pictures of one set it is the
    ⌈(n + 1)·0.9⌉-th smallest ratio.
    """
    variance = np.array([measures.mean_variance(h.probability, h.fov) for h in held_out])
    both = [_measures(h, threshold) for h in held_out]
    sets = [h.sample.dataset for h in held_out]
    entries = []
    for name in measures.NAMES:
        value = np.array([ours[name] for ours, _ in both])
        error = np.abs(value - np.array([theirs[name] for _, theirs in both]))
        known = np.isfinite(error)
        lines = []
        for statistic, x in (("mean-variance", variance), ("value", value)):
            offset, slope = interval_line(x[known], error[known], [n for n, k in zip(sets, known, strict=True) if k])
            lines.append((float((offset + slope * x[known]).mean()), statistic, offset, slope))
        _, statistic, offset, slope = min(lines)
        entries.append(
            {
                "measure": name,
                "confidence": CONFIDENCE,
                "statistic": statistic,
                "offset": _rounded(offset),
                "slope": _rounded(slope),
                "images": int(known.sum()),
                "source": source,
            }
        )
    return entries


def _measures(h: HeldOut, threshold: float) -> tuple[dict[str, float], dict[str, float]]:
    """The measures of the network's mask and of the observer's."""
    ours = measures.measure(h.probability >= threshold, h.fov, h.fov_px)
    return ours, measures.measure(h.label, h.fov, h.fov_px)


def intervals(segmenter: Segmenter, errors: Sequence[dict[str, Any]], samples: Sequence[Sample]) -> str:
    """The ``intervals`` command: how often the stated intervals hold the observer's measures, as a Markdown table."""
    seen = look(segmenter, samples, measuring=True, ways=())
    both = [_measures(h, segmenter.threshold) for h in seen]
    lines = [
        "| measure | pictures | held | share | mean half width | mean error | mean of the label's |",
        "|---" * 7 + "|",
    ]
    for entry in errors:
        name = entry["measure"]
        halves, wrong, labels = [], [], []
        for h, (ours, theirs) in zip(seen, both, strict=True):
            x = ours[name] if entry["statistic"] == "value" else measures.mean_variance(h.probability, h.fov)
            halves.append(entry["offset"] + entry["slope"] * x)
            wrong.append(ours[name] - theirs[name])
            labels.append(theirs[name])
        held = int((np.abs(wrong) <= np.array(halves)).sum())
        cells = [f"{np.mean(v):.4g}" for v in (halves, wrong, labels)]
        lines.append(f"| {name} | {len(seen)} | {held} | {held / len(seen):.0%} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def interval_line(statistic: np.ndarray, error: np.ndarray, sets: Sequence[str] | None = None) -> tuple[float, float]:
    """Offset and slope of the half width that holds the share CONFIDENCE of the errors.

    ``sets`` names each picture's data set; sets count alike, however many pictures they have.
    """
    if len(error) == 0:
        raise ValueError("no held-out picture has a measure: errors cannot be fitted")
    names = list(sets) if sets is not None else [""] * len(error)
    weight = np.array([1 / (names.count(name) * len(set(names))) for name in names])
    # In units of the statistic's mean, so that both columns weigh alike.
    scale = float(statistic.mean()) or 1.0
    columns = np.stack([np.ones_like(statistic), statistic / scale], axis=1)
    (offset, slope), _ = nnls(columns * np.sqrt(weight)[:, None], error * np.sqrt(weight))
    line = offset + slope * statistic / scale
    ratio = error / np.maximum(line, 1e-12)
    order = np.argsort(ratio)
    # The picture that is to come counts like one of the largest weight, and is taken to lie beyond all others.
    reached = np.cumsum(weight[order]) / (1 + weight.max())
    rank = min(len(ratio) - 1, int(np.searchsorted(reached, CONFIDENCE - 1e-9)))
    factor = float(ratio[order[rank]])
    return factor * float(offset), factor * float(slope) / scale


def training_range(
    samples: Iterable[Sample], fov_px: float, canvas_px: int, finest_fov_px: float
) -> list[dict[str, Any]]:
    """Manifest entries: between which values the training pictures lie, widened by what augmentation adds.

    ``finest_fov_px`` is the narrowest field of view, in pixels, that augmentation imitates.
    """
    seen: dict[str, list[float]] = {}
    for sample in samples:
        picture = load(sample)
        mask = canvas_mask(picture.geometry, fov_px, canvas_px)
        inside = to_canvas(picture.rgb, picture.geometry, fov_px, canvas_px)[mask]
        label = to_canvas(picture.labels[VESSEL].astype(np.float32), picture.geometry, fov_px, canvas_px) >= 0.5
        values = measures.measure(label, mask, fov_px)
        row = {name: values[name] for name in (measures.AREA_DENSITY, measures.LENGTH_DENSITY)}
        for i, colour in enumerate(("red", "green", "blue")):
            row[f"mean-{colour}"] = float(inside[:, i].mean())
            row[f"contrast-{colour}"] = float(inside[:, i].std())
        row["canvas-scale"] = fov_px / (2 * picture.geometry.radius)
        for name, value in row.items():
            seen.setdefault(name, []).append(value)
    margins = {
        "mean": (_COLOUR_FACTOR, _COLOUR_LEVELS),
        "contrast": (_CONTRAST_FACTOR, _CONTRAST_LEVELS),
        "vessel": (_VESSEL_FACTOR, 0.0),
        "canvas": (_SCALE_FACTOR, 0.0),
    }
    entries = []
    for name, values in seen.items():
        factor, levels = margins[name.split("-")[0]]
        low, high = min(values), max(values)
        low, high = max(0.0, min(low / factor, low - levels)), max(high * factor, high + levels)
        if name == "canvas-scale":
            high = max(high, fov_px / finest_fov_px)
        entries.append({"statistic": name, "low": _rounded(low), "high": _rounded(high)})
    return entries


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def own_samples(data: Sequence[Path], sets: Sequence[dict[str, Any]], part: str) -> list[Sample]:
    """The very pictures that a run held out (``validation``) or fitted (``fit``); refuses to go on without one."""
    from .data import find_samples

    wanted = {f"{s['name']}/{stem}" for s in sets for stem in s[part]}
    found = [s for s in find_samples(data, "all") if s.key in wanted]
    missing = sorted(wanted - {s.key for s in found})
    if missing:
        raise ValueError(f"pictures of the run are not in --data: {', '.join(missing)}")
    return found
