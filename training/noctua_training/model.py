"""The networks. Each takes a normalised RGB canvas [N, 3, H, W] and returns one logit a class, [N, C, H, W].

Class names are data (they travel in the checkpoint and the manifest); a network only knows their number.
H and W must be multiples of ``2 ** (levels - 1)``.

A network may have several supervised outputs (a cascade): then ``supervised(x)`` returns all of them, the final one
last; ``forward`` returns the final one alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from .vgg import VGGUNet


def _batch_norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels)


def _group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(max(1, channels // 8), channels)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with a norm each, and a 1×1 shortcut where the width changes."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        norm: Callable[[int], nn.Module] = _batch_norm,
        act: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm1 = norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = norm(outputs)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, bias=False)
        self.act = act(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act(self.norm1(self.conv1(x)))
        return self.act(self.norm2(self.conv2(y)) + self.shortcut(x))


class ResidualUNet(nn.Module):
    """U-Net of residual blocks; ``widths`` are the channels of the levels from the finest to the coarsest.

    With ``halved`` the finest level has half the canvas's width and height: a strided convolution takes the canvas in
    and a transposed one gives the logits of its pixels. A fine canvas then costs a quarter, and thin vessels keep
    their pixels.
    """

    def __init__(
        self,
        classes: int,
        widths: Sequence[int] = (16, 32, 64, 128),
        norm: Callable[[int], nn.Module] = _batch_norm,
        act: type[nn.Module] = nn.ReLU,
        inputs: int = 3,
        halved: bool = False,
    ) -> None:
        super().__init__()
        self.stem: nn.Module = nn.Identity()
        if halved:
            self.stem = nn.Conv2d(inputs, widths[0], 4, stride=2, padding=1)
            inputs = widths[0]
        self.encoder = nn.ModuleList(
            ResidualBlock(i, o, norm, act) for i, o in zip([inputs, *widths[:-1]], widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(deep, shallow, 2, stride=2) for deep, shallow in pairs)
        self.decoder = nn.ModuleList(ResidualBlock(2 * shallow, shallow, norm, act) for _, shallow in pairs)
        self.head = (
            nn.ConvTranspose2d(widths[0], classes, 4, stride=2, padding=1)
            if halved
            else nn.Conv2d(widths[0], classes, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        x = self.stem(x)
        for level, block in enumerate(self.encoder):
            x = block(x if level == 0 else self.pool(x))
            skips.append(x)
        skips.pop()
        for up, block in zip(self.up, self.decoder, strict=True):
            x = block(torch.cat([up(x), skips.pop()], dim=1))
        return self.head(x)


class WNet(nn.Module):
    """Cascade of two residual U-Nets (Galdran et al. 2022): the second sees the picture and the first one's logits.

    Both are supervised.
    """

    def __init__(self, classes: int, widths: Sequence[int] = (12, 24, 48)) -> None:
        super().__init__()
        self.first = ResidualUNet(classes, widths)
        self.second = ResidualUNet(classes, widths, inputs=3 + classes)

    def supervised(self, x: torch.Tensor) -> list[torch.Tensor]:
        first = self.first(x)
        return [first, self.second(torch.cat([x, first], dim=1))]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.supervised(x)[-1]


ARCHITECTURES: dict[str, Callable[[int], nn.Module]] = {
    "res-unet": lambda classes: ResidualUNet(classes),
    "res-unet-gn": lambda classes: ResidualUNet(classes, norm=_group_norm, act=nn.SiLU),
    "res-unet-fine": lambda classes: ResidualUNet(classes, (24, 48, 96, 128), halved=True),
    "w-net": lambda classes: WNet(classes),
    "vgg-unet": lambda classes: VGGUNet(classes),
    "res-unet-tiny": lambda classes: ResidualUNet(classes, (4, 8)),
    "w-net-tiny": lambda classes: WNet(classes, (4, 8)),
}
"""Networks by the name that ``--arch`` takes. ``vgg-unet`` is the paper's; the ``tiny`` ones are for tests."""


def build(name: str, classes: int) -> nn.Module:
    """A network by name, for ``classes`` classes."""
    if name not in ARCHITECTURES:
        raise ValueError(f"no architecture {name!r}: choose one of {', '.join(sorted(ARCHITECTURES))}")
    if classes < 2:
        raise ValueError("a network needs at least two classes: background and one more")
    return ARCHITECTURES[name](classes)


def supervised(model: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Every output of the network that the loss sees, the final one last."""
    return model.supervised(x) if hasattr(model, "supervised") else [model(x)]


def parameter_count(model: nn.Module) -> int:
    """Number of trained weights (running statistics of batch norm not counted)."""
    return sum(p.numel() for p in model.parameters())
