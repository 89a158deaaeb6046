"""The network of the paper: VGG16 encoder, five feature layers, a decoder that concatenates skips.

*Retinal Image Segmentation Using U-Net Model*: the encoder is VGG16 (Simonyan and Zisserman 2015, configuration D)
without batch norm and without its last pool, so that a 512² picture gives features of 512² … 32². The decoder
doubles the size, concatenates the skip and convolves twice: 512, 256, 128, 64 channels. 24,891,202 weights at 2
classes.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

ENCODER = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the encoder's convolutions, by feature layer."""

DECODER = (512, 256, 128, 64)
"""Channels of the decoder's stages, from the coarsest."""


class VGGUNet(nn.Module):
    """The paper's network. H and W must be multiples of 16."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.encoder = nn.ModuleList()
        channels = 3
        for layer in ENCODER:
            self.encoder.append(_stage(channels, layer))
            channels = layer[-1]
        self.pool = nn.MaxPool2d(2)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.decoder = nn.ModuleList()
        for width, skip in zip(DECODER, (layer[-1] for layer in ENCODER[-2::-1]), strict=True):
            self.decoder.append(_stage(channels + skip, (width, width)))
            channels = width
        self.head = nn.Conv2d(channels, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for level, stage in enumerate(self.encoder):
            x = stage(x if level == 0 else self.pool(x))
            skips.append(x)
        skips.pop()
        for stage in self.decoder:
            x = stage(torch.cat([self.up(x), skips.pop()], dim=1))
        return self.head(x)

    def freeze_encoder(self, frozen: bool) -> None:
        """Takes the encoder out of (or back into) training."""
        self.encoder.requires_grad_(not frozen)

    def load_pretrained(self, path: Path) -> None:
        """Fills the encoder from a state dict of torchvision's ``vgg16`` (``features.N.weight``, ``.bias``).

        The file is the user's; nothing is downloaded. Weights of the classifier are ignored, anything else that does
        not fit is an error.
        """
        state = torch.load(path, map_location="cpu", weights_only=True)
        given = [(k, v) for k, v in state.items() if k.startswith("features.")]
        given.sort(key=lambda item: (int(item[0].split(".")[1]), item[0].endswith("bias")))
        ours = [p for m in self.encoder.modules() if isinstance(m, nn.Conv2d) for p in (m.weight, m.bias)]
        if [tuple(v.shape) for _, v in given] != [tuple(p.shape) for p in ours]:
            raise ValueError(f"{path} is not a VGG16 without batch norm: expected torchvision's vgg16 state dict")
        with torch.no_grad():
            for (_, value), parameter in zip(given, ours, strict=True):
                parameter.copy_(value)


def _stage(inputs: int, widths: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        conv = nn.Conv2d(inputs, width, 3, padding=1)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        nn.init.zeros_(conv.bias)
        layers += [conv, nn.ReLU(inplace=True)]
        inputs = width
    return nn.Sequential(*layers)
