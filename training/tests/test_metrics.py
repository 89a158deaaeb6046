"""Pooled measures against hand-computed and brute-force values."""

from __future__ import annotations

import numpy as np
import pytest

from noctua_training.metrics import PooledScores


def test_by_hand():
    scores = PooledScores()
    probability = np.array([[0.9, 0.6, 0.4, 0.1, 0.99]])
    truth = np.array([[True, False, True, False, True]])
    inside = np.array([[True, True, True, True, False]])  # the last pixel does not count
    scores.add(probability, truth, inside)
    assert scores.counts(0.5) == (1, 1, 1, 1)
    summary = scores.summary(0.5)
    assert summary["dice"] == 0.5
    assert summary["sensitivity"] == 0.5
    assert summary["specificity"] == 0.5
    assert summary["mcc"] == 0
    assert summary["auc"] == 0.75  # of the 4 pairs only (0.4, 0.6) is the wrong way round


def test_threshold_is_inclusive():
    scores = PooledScores()
    scores.add(np.array([0.5]), np.array([True]), np.array([True]))
    assert scores.counts(0.5)[0] == 1
    assert scores.counts(0.51)[0] == 0


def test_pooling_equals_one_large_picture():
    rng = np.random.default_rng(1)
    truth = rng.random(40_000) < 0.1
    probability = np.clip(0.3 * truth + rng.normal(0.3, 0.15, truth.size), 0, 1)
    whole, parts = PooledScores(), PooledScores()
    whole.add(probability, truth, np.ones_like(truth))
    for piece in np.array_split(np.arange(truth.size), 3):
        part = PooledScores()
        part.add(probability[piece], truth[piece], np.ones(len(piece), bool))
        parts.merge(part)
    assert whole.summary(0.4) == parts.summary(0.4)
    order = probability.argsort().argsort() + 1.0
    p, n = truth.sum(), (~truth).sum()
    exact = (order[truth].sum() - p * (p + 1) / 2) / (p * n)
    assert whole.auc() == pytest.approx(exact, abs=1e-4)
    predicted = probability >= 0.4
    assert whole.dice(0.4) == pytest.approx(2 * (predicted & truth).sum() / (predicted.sum() + p), abs=1e-3)
