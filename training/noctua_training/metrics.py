"""Pixel measures that are pooled over pictures: Dice, AUC, sensitivity, specificity, MCC."""

from __future__ import annotations

import math

import numpy as np

BINS = 4096


class PooledScores:
    """Histogram of probabilities of positive and negative pixels.

    Thresholds are multiples of ``1 / BINS``; AUC counts ties inside a bin as one half, so its error is far below 1e-5
    for networks that do not put everything into one bin.
    """

    def __init__(self) -> None:
        self.positive = np.zeros(BINS + 1, dtype=np.int64)
        self.negative = np.zeros(BINS + 1, dtype=np.int64)

    def add(self, probability: np.ndarray, truth: np.ndarray, inside: np.ndarray) -> None:
        """Counts the pixels of one picture that lie inside the field of view."""
        # floor, so that "bin >= threshold bin" is the same as "probability >= threshold"
        index = np.floor(np.clip(probability[inside], 0, 1).astype(np.float64) * BINS).astype(np.int64)
        positive = truth[inside]
        self.positive += np.bincount(index[positive], minlength=BINS + 1)
        self.negative += np.bincount(index[~positive], minlength=BINS + 1)

    def merge(self, other: PooledScores) -> None:
        self.positive += other.positive
        self.negative += other.negative

    def counts(self, threshold: float) -> tuple[int, int, int, int]:
        """True positives, false positives, true negatives, false negatives at ``probability >= threshold``."""
        cut = math.ceil(threshold * BINS - 1e-9)
        tp, fp = int(self.positive[cut:].sum()), int(self.negative[cut:].sum())
        return tp, fp, int(self.negative.sum()) - fp, int(self.positive.sum()) - tp

    def dice(self, threshold: float) -> float:
        tp, fp, _, fn = self.counts(threshold)
        return _ratio(2 * tp, 2 * tp + fp + fn)

    def auc(self) -> float:
        """Area under the ROC curve (Mann–Whitney)."""
        below = np.cumsum(self.negative) - self.negative
        wins = float((self.positive * (below + self.negative / 2.0)).sum())
        return _ratio(wins, float(self.positive.sum()) * float(self.negative.sum()))

    def best_threshold(self, grid: np.ndarray) -> tuple[float, float]:
        """The threshold of the grid with the highest pooled Dice, and that Dice."""
        dices = [self.dice(float(t)) for t in grid]
        best = int(np.argmax(dices))
        return float(grid[best]), dices[best]

    def ece(self, bins: int = 15) -> float:
        """Expected calibration error (Guo et al. 2017): |frequency − probability| over equal bins, weighted by size."""
        both = (self.positive + self.negative).astype(np.float64)
        value = (np.arange(BINS + 1) + 0.5).clip(max=BINS) / BINS
        group = np.minimum((np.arange(BINS + 1) * bins) // BINS, bins - 1)
        positive = np.bincount(group, self.positive, bins)
        predicted = np.bincount(group, both * value, bins)
        return _ratio(float(np.abs(positive - predicted).sum()), float(both.sum()))

    def summary(self, threshold: float) -> dict[str, float]:
        """All measures at one threshold, by the names that ``noctua evaluate --json`` uses."""
        tp, fp, tn, fn = self.counts(threshold)
        product = float(tp + fp) * float(tp + fn) * float(tn + fp) * float(tn + fn)
        return {
            "dice": self.dice(threshold),
            "auc": self.auc(),
            "sensitivity": _ratio(tp, tp + fn),
            "specificity": _ratio(tn, tn + fp),
            "density": _ratio(tp + fp, tp + fp + tn + fn),
            "label_density": _ratio(tp + fn, tp + fp + tn + fn),
            "mcc": _ratio(float(tp) * tn - float(fp) * fn, math.sqrt(product)),
        }


def _ratio(a: float, b: float) -> float:
    return a / b if b else float("nan")
