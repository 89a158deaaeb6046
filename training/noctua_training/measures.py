"""The measures of the Go package ``pkg/vessel``, for fitting their errors; the product's numbers come from Go.

Definitions are the same, but for the length density: Go takes it on the smoothed lines of a vessel graph, and this on
the steps of scikit-image's skeleton (Zhang and Suen 1984), corrected for what steps are longer than a line. On the
labels of CHASE_DB1 they differ by at most 2 %.
"""

from __future__ import annotations

import numpy as np

AREA_DENSITY = "vessel-area-density"
LENGTH_DENSITY = "vessel-length-density"
FRACTAL_DIMENSION = "fractal-dimension"
NAMES = (AREA_DENSITY, LENGTH_DENSITY, FRACTAL_DIMENSION)

_LINE_BY_STEPS = 0.9481
"""Length of a line by that of its chain of straight and diagonal steps, mean over all directions (Kulpa 1977)."""

_SMALLEST_BOX_PX = 4
_MIN_BOX_SIZES = 2


def measure(vessels: np.ndarray, fov: np.ndarray, fov_px: float) -> dict[str, float]:
    """The measures of a mask (bool [H, W]) inside a field of view ``fov_px`` wide; NaN where there is no value."""
    inside = vessels & fov
    area = int(fov.sum())
    return {
        AREA_DENSITY: float(inside.sum()) / area if area else float("nan"),
        LENGTH_DENSITY: _LINE_BY_STEPS * skeleton_length(inside) * fov_px / area if area else float("nan"),
        FRACTAL_DIMENSION: box_dimension(inside),
    }


def skeleton_length(mask: np.ndarray) -> float:
    """Length of the skeleton, pixels: straight steps 1, diagonal steps √2 where no straight way leads round."""
    from skimage.morphology import skeletonize

    s = skeletonize(mask)
    straight = (s[1:] & s[:-1]).sum() + (s[:, 1:] & s[:, :-1]).sum()
    falling = s[1:, 1:] & s[:-1, :-1] & ~s[1:, :-1] & ~s[:-1, 1:]
    rising = s[1:, :-1] & s[:-1, 1:] & ~s[1:, 1:] & ~s[:-1, :-1]
    return float(straight) + float(np.sqrt(2)) * float(falling.sum() + rising.sum())


def box_dimension(mask: np.ndarray) -> float:
    """Slope of log N(s) on log 1/s, boxes of 4, 8, 16 … px anchored at the upper left corner; full boxes count."""
    sizes, counts = [], []
    size = _SMALLEST_BOX_PX
    while size <= min(mask.shape):
        pad = [(0, -n % size) for n in mask.shape]
        padded = np.pad(mask, pad)
        boxes = padded.reshape(padded.shape[0] // size, size, padded.shape[1] // size, size).any(axis=(1, 3))
        sizes.append(size)
        counts.append(int(boxes.sum()))
        size *= 2
    if len(sizes) < _MIN_BOX_SIZES or min(counts, default=0) == 0:
        return float("nan")
    return float(np.polyfit(np.log(1 / np.array(sizes)), np.log(counts), 1)[0])


def mean_variance(probability: np.ndarray, fov: np.ndarray) -> float:
    """Mean of p·(1 − p) over the field of view: what the errors of measures are a function of."""
    p = probability[fov].astype(np.float64)
    return float((p * (1 - p)).mean()) if len(p) else 0.0
