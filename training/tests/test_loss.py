"""The losses and the paper's weight map, against values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from noctua_training.border import border_term, class_weights, vessel_segments
from noctua_training.loss import Loss, cross_entropy, dice_loss

SIGMA = 5.0


def two_bars() -> np.ndarray:
    """Vertical bars in columns 4..6 and 12..14 of a 30 × 24 mask."""
    mask = np.zeros((30, 24), bool)
    mask[:, 4:7] = mask[:, 12:15] = True
    return mask


def test_border_term_by_hand():
    """Between the bars d₁ + d₂ = 8 whatever the column; left of both it grows by two with each column."""
    term = border_term(two_bars(), SIGMA)
    row = term[15]
    for column, d1, d2 in [(9, 3, 3), (7, 1, 5), (11, 1, 5), (3, 1, 9), (2, 2, 10), (0, 4, 12), (5, 0, 7), (16, 2, 10)]:
        assert row[column] == pytest.approx(math.exp(-((d1 + d2) ** 2) / (2 * SIGMA**2)), rel=1e-5), column


def test_one_vessel_has_no_border_term():
    mask = np.zeros((20, 20), bool)
    mask[:, 9:11] = True
    assert border_term(mask, SIGMA).max() == 0
    assert border_term(np.zeros((20, 20), bool), SIGMA).max() == 0


def test_segments_of_a_fork():
    """A Y of one component: stem and two branches are three objects, and every vessel pixel belongs to one."""
    mask = np.zeros((60, 60), bool)
    for t in range(28):
        mask[30 + t, 29:32] = True
        mask[30 - t, 29 - t : 32 - t] = mask[30 - t, 29 + t : 32 + t] = True
    objects, count = vessel_segments(mask)
    assert len(np.unique(objects[mask])) == 3
    assert count >= 3
    assert (objects > 0).tolist() == mask.tolist()
    # In the narrow angle of the fork the term is high, far from it it is low.
    term = border_term(mask, SIGMA)
    assert term[24, 30] > 0.3
    assert term[50, 5] < 1e-3


def test_class_weights_balance():
    shares = np.array([0.9, 0.1])
    weights = class_weights(shares)
    assert weights[0] * shares[0] == pytest.approx(weights[1] * shares[1])
    assert (weights * shares).sum() == pytest.approx(1)


def test_border_loss_by_hand():
    """Two pixels, probability ½ and ¾ of the right class: ω = ω_c + ω₀ · term."""
    logits = torch.log(torch.tensor([[[[0.5, 0.25]], [[0.5, 0.75]]]]))
    target = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    fov = torch.ones(1, 1, 1, 2)
    border = torch.tensor([[[[0.5, 0.0]]]])
    shares = np.array([0.8, 0.2])
    w = class_weights(shares)
    first, second = w[0] + 10 * 0.5, w[1]
    expected = (first * math.log(2) + second * -math.log(0.75)) / (first + second)
    loss = Loss("border", 0.0, 10.0, shares)
    assert float(loss(logits, target, fov, border)) == pytest.approx(expected, rel=1e-5)
    plain = (math.log(2) - math.log(0.75)) / 2
    assert float(Loss("plain", 0.0, 10.0, shares)(logits, target, fov, border)) == pytest.approx(plain, rel=1e-5)


def test_dice_loss_by_hand():
    logits = torch.zeros(1, 2, 1, 2)  # probability ½ everywhere
    target = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    fov = torch.ones(1, 1, 1, 2)
    assert float(cross_entropy(logits, target, fov)) == pytest.approx(math.log(2), abs=1e-6)
    # overlap ½, both sums 1, smoothing 50
    assert float(dice_loss(logits, target, fov)) == pytest.approx(1 - (2 * 0.5 + 50) / (2 + 50), abs=1e-6)


@pytest.mark.parametrize("name", ["dice", "border", "balanced", "plain"])
def test_losses_ignore_what_lies_outside(name):
    torch.manual_seed(1)
    logits, target = torch.randn(2, 2, 8, 8), torch.rand(2, 1, 8, 8)
    target = torch.cat([1 - target, target], dim=1)
    fov = torch.zeros(2, 1, 8, 8)
    fov[:, :, 2:6, 2:6] = 1
    border = torch.rand(2, 1, 8, 8)
    loss = Loss(name, 0.5, 10.0, np.array([0.9, 0.1]))
    changed = torch.where(fov > 0, logits, torch.full_like(logits, 7.0))
    assert torch.allclose(loss(logits, target, fov, border), loss(changed, target, fov, border))
