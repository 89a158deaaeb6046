"""Denoising before anything else, for the ``prepare`` command: what the paper's pipeline does to a photograph first.

``none`` is what the product does; the others are there to be measured against it.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

METHODS = ("none", "median", "bilateral", "clahe")

_MEDIAN_PX = 3
_BILATERAL_SIGMA_COLOUR = 0.05
_BILATERAL_SIGMA_PX = 2.0
_CLAHE_CLIP = 0.01
_CLAHE_TILES = 8


def denoise(rgb: np.ndarray, method: str) -> np.ndarray:
    """A photograph without (some of) its noise: uint8 [H, W, 3] in, the same out.

    ``median``: 3×3, each channel. ``bilateral``: Tomasi and Manduchi 1998. ``clahe``: contrast-limited adaptive
    histogram equalisation (Zuiderveld 1994) of green; red and blue stay.
    """
    if method == "none":
        return rgb
    if method == "median":
        return ndimage.median_filter(rgb, size=(_MEDIAN_PX, _MEDIAN_PX, 1))
    if method == "bilateral":
        from skimage.restoration import denoise_bilateral

        out = denoise_bilateral(
            rgb, sigma_color=_BILATERAL_SIGMA_COLOUR, sigma_spatial=_BILATERAL_SIGMA_PX, channel_axis=2
        )
        return (out * 255).round().astype(np.uint8)
    if method == "clahe":
        from skimage.exposure import equalize_adapthist

        out = rgb.copy()
        tile = max(8, min(rgb.shape[:2]) // _CLAHE_TILES)
        out[:, :, 1] = (equalize_adapthist(rgb[:, :, 1], tile, _CLAHE_CLIP) * 255).round().astype(np.uint8)
        return out
    raise ValueError(f"no denoising {method!r}: choose one of {', '.join(METHODS)}")
