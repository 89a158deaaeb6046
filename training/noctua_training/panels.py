"""The paper's picture of a result: original, ground truth, prediction (0 → 0, 1 → 255), mask over the original."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

_PANEL_PX = 512
_GAP_PX = 8
_TITLE_PX = 22
_OVERLAY = (0, 200, 255)
_OPACITY = 0.55


def overlay(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The photograph with a mask (bool [H, W]) laid over it, uint8 [H, W, 3]."""
    out = rgb.astype(np.float32)
    out[mask] = (1 - _OPACITY) * out[mask] + _OPACITY * np.float32(_OVERLAY)
    return out.round().astype(np.uint8)


def write_panels(path: Path, rgb: np.ndarray, label: np.ndarray | None, mask: np.ndarray) -> None:
    """Writes the panels side by side as a PNG; without a label there are three. ``label`` and ``mask`` are bool."""
    panels = [("original", rgb), ("prediction", grey(mask)), ("original with the mask", overlay(rgb, mask))]
    if label is not None:
        panels.insert(1, ("ground truth", grey(label)))
    scale = _PANEL_PX / max(rgb.shape[:2])
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    sheet = Image.new("RGB", (len(panels) * (size[0] + _GAP_PX) - _GAP_PX, size[1] + _TITLE_PX), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (title, pixels) in enumerate(panels):
        x = i * (size[0] + _GAP_PX)
        draw.text((x + 4, 5), title, fill="black")
        sheet.paste(Image.fromarray(pixels).convert("RGB").resize(size, Image.Resampling.LANCZOS), (x, _TITLE_PX))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def grey(mask: np.ndarray) -> np.ndarray:
    """A class mask as a picture: 0 → 0, 1 → 255."""
    return mask.astype(np.uint8) * 255
