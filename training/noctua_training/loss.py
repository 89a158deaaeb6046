"""What training minimises; everything counts pixels inside the field of view only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from .border import class_weights

LOSSES = ("dice", "border", "balanced", "plain")

_DICE_SMOOTHING_PX = 50.0
"""Keeps crops with next to no vessels from ruling the Dice loss; pixels."""


@dataclass(frozen=True)
class Loss:
    """A loss by name.

    ``dice``: cross-entropy with soft labels plus ``dice_weight`` times Dice. ``border``: the paper's cross-entropy,
    weighted by ω(x) = ω_c(x) + ω₀·exp(−(d₁+d₂)²/2σ²), with ω_c balancing the classes (``class_shares``) and
    ω₀ = ``border_weight``. ``balanced``: ω = ω_c. ``plain``: ω = 1.
    """

    name: str
    dice_weight: float
    border_weight: float
    class_shares: np.ndarray

    def __call__(
        self, logits: torch.Tensor, target: torch.Tensor, fov: torch.Tensor, border: torch.Tensor
    ) -> torch.Tensor:
        """Loss of logits and soft targets [N, C, H, W], FOV mask and border term [N, 1, H, W]."""
        weight = fov
        if self.name in ("border", "balanced"):
            balance = torch.tensor(class_weights(self.class_shares), dtype=torch.float32).view(1, -1, 1, 1)
            weight = ((balance * target).sum(dim=1, keepdim=True) + self.border_weight * border) * fov
        loss = cross_entropy(logits, target, weight)
        if self.name == "dice":
            loss = loss + self.dice_weight * dice_loss(logits, target, fov)
        return loss


def cross_entropy(logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy with soft labels, weighted by ω(x) [N, 1, H, W]."""
    per_pixel = -(target * F.log_softmax(logits, dim=1)).sum(dim=1, keepdim=True)
    return (per_pixel * weight).sum() / weight.sum().clamp(min=1.0)


def dice_loss(logits: torch.Tensor, target: torch.Tensor, fov: torch.Tensor) -> torch.Tensor:
    """1 − soft Dice, averaged over the crops and over the classes other than background, which is class 0.

    It is taken crop by crop, so that ½ is the best threshold of easy and of hard pictures alike: where the best Dice
    that can be had is F, a pixel should be called vessel from a probability of F/2 (Lipton et al. 2014), and a Dice of
    each crop makes the network do so.
    """
    p = logits.softmax(dim=1) * fov
    t = target * fov
    overlap = (p * t).sum(dim=(2, 3))
    total = (p + t).sum(dim=(2, 3))
    dice = 1 - (2 * overlap + _DICE_SMOOTHING_PX) / (total + _DICE_SMOOTHING_PX)
    return dice[:, 1:].mean()
