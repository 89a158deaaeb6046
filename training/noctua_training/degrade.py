"""What other cameras make of a picture: fixed changes of validation pictures.

Choices that look at them too are not made for two cameras alone.

``soft``: a sensor with a field of view of 540 px (that of DRIVE's generation), softer optics, JPEG at quality 75.
``dull``: less contrast, a colour cast, light that falls off to one side.
"""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from PIL import Image
from scipy import ndimage

from .canvas import Geometry, to_canvas

DEGRADED = ("soft", "dull")

_SOFT_FOV_PX = 540.0
_SOFT_SIGMA_PX = 0.9
_SOFT_JPEG_QUALITY = 75
_DULL_GAMMA = 1.25
_DULL_CONTRAST = 0.6
_DULL_CAST = (0.9, 1.1, 1.3)
_DULL_FALL_OFF = 0.35


def degrade(rgb: np.ndarray, geometry: Geometry, way: str) -> tuple[np.ndarray, Geometry]:
    """The picture as another camera would give it (uint8 [H, W, 3]), and its geometry."""
    if way == "soft":
        return _soft(rgb, geometry)
    if way == "dull":
        return _dull(rgb, geometry), geometry
    raise ValueError(f"no way {way!r} to degrade a picture: choose one of {', '.join(DEGRADED)}")


def _soft(rgb: np.ndarray, geometry: Geometry) -> tuple[np.ndarray, Geometry]:
    size = int(_SOFT_FOV_PX) + 40
    small = to_canvas(rgb, geometry, _SOFT_FOV_PX, size)
    small = ndimage.gaussian_filter(small, (_SOFT_SIGMA_PX, _SOFT_SIGMA_PX, 0))
    buffer = io.BytesIO()
    Image.fromarray(small.round().clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=_SOFT_JPEG_QUALITY)
    with Image.open(buffer) as image:
        out = np.asarray(image.convert("RGB"))
    scale = _SOFT_FOV_PX / (2 * geometry.radius)

    def across(x: float) -> float:
        return size / 2 + (x - geometry.centre_x) * scale

    def down(y: float) -> float:
        return size / 2 + (y - geometry.centre_y) * scale

    return out, replace(
        geometry,
        centre_x=size / 2,
        centre_y=size / 2,
        radius=_SOFT_FOV_PX / 2,
        left=across(max(geometry.left, 0)),
        right=across(min(geometry.right, geometry.width)),
        top=down(max(geometry.top, 0)),
        bottom=down(min(geometry.bottom, geometry.height)),
        width=size,
        height=size,
    )


def _dull(rgb: np.ndarray, geometry: Geometry) -> np.ndarray:
    inside = geometry.mask()
    x = (np.arange(geometry.width) - geometry.centre_x) / geometry.radius
    light = 1.0 - _DULL_FALL_OFF * (0.5 + 0.5 * np.clip(x, -1, 1))
    values = 255.0 * (rgb.astype(np.float32) / 255.0) ** _DULL_GAMMA
    mean = values[inside].mean(axis=0)
    values = (
        (mean + _DULL_CONTRAST * (values - mean)) * np.float32(_DULL_CAST) * light[None, :, None].astype(np.float32)
    )
    values[~inside] = rgb[~inside]
    return values.round().clip(0, 255).astype(np.uint8)
