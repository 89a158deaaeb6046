"""Canonical canvas: where the field of view lies, and how pixels get to the network and back.

Conventions, shared with the Go package ``pkg/fundus`` (both must agree):

- Source pixel ``j`` covers ``[j, j+1)``; its centre is ``j + 0.5``.
- The field of view (FOV) is the circle, cut by the lines ``left, top, right, bottom`` and by the picture's border.
- On the canvas the circle has a fixed diameter (``fov_px``) and its centre is the canvas centre.
- Resampling is a separable triangle filter, widened when shrinking (antialias), renormalised at the picture's border.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, sparse

CANVAS_PX = 800
"""Width and height of the canonical canvas, pixels."""

FOV_DIAMETER_PX = 768
"""Diameter of the field of view on the canonical canvas, pixels."""

_CANVAS_MULTIPLE_PX = 32  # networks halve a canvas up to five times
_CANVAS_MARGIN_PX = 32

_MIN_FOV_RADIUS_PX = 32.0
_MIN_STD = 1.0  # grey levels: below this a channel carries no signal, and dividing by it would only raise noise


class FieldOfViewError(ValueError):
    """No usable field of view in a picture or mask."""


@dataclass(frozen=True)
class Geometry:
    """FOV in source pixels: full circle (even when cut), cut lines, and the picture's size."""

    centre_x: float
    centre_y: float
    radius: float
    left: float
    top: float
    right: float
    bottom: float
    width: int
    height: int

    def mask(self) -> np.ndarray:
        """Analytic FOV mask on the source grid, bool [height, width]: pixel centre inside circle and cuts."""
        x = np.arange(self.width) + 0.5
        y = np.arange(self.height) + 0.5
        return self._inside(x, y)

    def _inside(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        disc = (x[None, :] - self.centre_x) ** 2 + (y[:, None] - self.centre_y) ** 2 <= self.radius**2
        in_x = (x >= max(self.left, 0)) & (x < min(self.right, self.width))
        in_y = (y >= max(self.top, 0)) & (y < min(self.bottom, self.height))
        return disc & in_x[None, :] & in_y[:, None]


# --- finding the field of view -------------------------------------------------------------------------------------


def fit_geometry(mask: np.ndarray) -> Geometry:
    """Fits the circle and the cut lines to a FOV mask (bool [H, W], True inside).

    The circle is found by random triples (fixed seed) and refined by least squares on its inliers, so straight cuts,
    notches and single wrong pixels do not move it.
    """
    height, width = mask.shape
    labelled, count = ndimage.label(mask)
    if count == 0:
        raise FieldOfViewError("the field-of-view mask is empty: give a mask that is white inside the field of view")
    if count > 1:
        sizes = np.bincount(labelled.ravel())
        sizes[0] = 0
        mask = labelled == int(sizes.argmax())
    points = _border_points(mask)
    if len(points) < 16:
        raise FieldOfViewError("the field of view has no border inside the picture: the picture is cropped too far")
    centre_x, centre_y, radius = _robust_circle(points)
    if radius < _MIN_FOV_RADIUS_PX:
        raise FieldOfViewError(f"the field of view has a radius of {radius:.0f} px: use a picture with a larger one")

    rows = np.flatnonzero(mask.any(axis=1))
    cols = np.flatnonzero(mask.any(axis=0))
    slack = max(2.0, 0.01 * radius)  # a border this far inside the circle is a cut, not noise of the border
    left, right, top, bottom = 0.0, float(width), 0.0, float(height)
    if cols[0] > centre_x - radius + slack:
        left = float(cols[0])
    if cols[-1] + 1 < centre_x + radius - slack:
        right = float(cols[-1] + 1)
    if rows[0] > centre_y - radius + slack:
        top = float(rows[0])
    if rows[-1] + 1 < centre_y + radius - slack:
        bottom = float(rows[-1] + 1)
    return Geometry(centre_x, centre_y, radius, left, top, right, bottom, width, height)


def detect_mask(rgb: np.ndarray) -> np.ndarray:
    """FOV mask from the picture alone, for data sets without FOV masks: what differs from the surround's colour.

    Good for a plain dark or white surround. The product's detector is the one in Go; this one is only the fallback of
    training and evaluation.
    """
    height, width = rgb.shape[:2]
    k = max(4, min(height, width) // 50)
    corners = np.concatenate(
        [rgb[y, x].reshape(-1, 3) for y in (slice(0, k), slice(-k, None)) for x in (slice(0, k), slice(-k, None))]
    )
    surround = np.median(corners, axis=0)
    step = max(1, min(height, width) // 1000)
    difference = np.abs(rgb[::step, ::step].astype(np.float32) - surround).max(axis=2)
    difference = ndimage.uniform_filter(difference, 3)
    spread = float(np.median(np.abs(corners - surround)))
    small = difference > max(12.0, 6.0 * spread)
    small = ndimage.binary_fill_holes(ndimage.binary_opening(small, iterations=2))
    labelled, count = ndimage.label(small)
    if count == 0:
        raise FieldOfViewError("no field of view found: the picture has one colour; add a fov/ mask for it")
    sizes = np.bincount(labelled.ravel())
    sizes[0] = 0
    small = labelled == int(sizes.argmax())
    return np.repeat(np.repeat(small, step, axis=0), step, axis=1)[:height, :width]


def _border_points(mask: np.ndarray) -> np.ndarray:
    """Border crossings of every row and column that do not lie on the picture's own border, [n, 2] as (x, y)."""
    points = []
    for transpose in (False, True):
        m = mask.T if transpose else mask
        length = m.shape[1]
        lines = np.flatnonzero(m.any(axis=1))
        first = m[lines].argmax(axis=1)
        last = length - m[lines, ::-1].argmax(axis=1)
        for edge, limit in ((first, 0), (last, length)):
            keep = edge != limit
            pair = [edge[keep].astype(float), lines[keep] + 0.5]
            points.append(np.stack(pair[::-1] if transpose else pair, axis=1))
    return np.concatenate(points)


def _robust_circle(points: np.ndarray) -> tuple[float, float, float]:
    rng = np.random.default_rng(0)
    extent = float(np.ptp(points, axis=0).max())
    tolerance = max(1.5, 0.003 * extent)
    sample = points[rng.choice(len(points), min(len(points), 1500), replace=False)]
    best, best_count = None, -1
    for _ in range(300):
        circle = _circle_of(sample[rng.choice(len(sample), 3, replace=False)])
        if circle is None or not 0.3 * extent < circle[2] < 3 * extent:
            continue
        residual = np.abs(np.hypot(sample[:, 0] - circle[0], sample[:, 1] - circle[1]) - circle[2])
        count = int((residual < tolerance).sum())
        if count > best_count:
            best, best_count = circle, count
    if best is None:
        raise FieldOfViewError("no circle fits the field of view: check the mask")
    for _ in range(3):
        residual = np.abs(np.hypot(points[:, 0] - best[0], points[:, 1] - best[1]) - best[2])
        inliers = points[residual < tolerance]
        if len(inliers) < 8:
            break
        refined = _circle_of(inliers)
        if refined is None:
            break
        best = refined
    return best


def _circle_of(points: np.ndarray) -> tuple[float, float, float] | None:
    """Algebraic least-squares circle (Kåsa 1976) through three or more points."""
    shift = points.mean(axis=0)
    x, y = (points - shift).T
    a = np.stack([x, y, np.ones_like(x)], axis=1)
    solution, _, rank, _ = np.linalg.lstsq(a, x * x + y * y, rcond=None)
    if rank < 3:
        return None
    cx, cy = solution[0] / 2, solution[1] / 2
    square = solution[2] + cx * cx + cy * cy
    if square <= 0:
        return None
    return float(cx + shift[0]), float(cy + shift[1]), float(np.sqrt(square))


# --- resampling ------------------------------------------------------------------------------------------------------


def triangle_matrix(centres: np.ndarray, scale: float, source_px: int) -> sparse.csr_matrix:
    """Weights of the triangle filter, float32 sparse [len(centres), source_px].

    ``centres`` are positions in source pixels, ``scale`` is target pixels per source pixel. The half width is
    ``max(1, 1/scale)`` source pixels. A row sums to 1, or to 0 when no source pixel is in reach.
    """
    reach = max(1.0, 1.0 / scale)
    taps = int(np.ceil(2 * reach)) + 1
    first = np.floor(centres - reach - 0.5).astype(np.int64)
    j = first[:, None] + np.arange(taps + 1)[None, :]
    weight = np.maximum(0.0, 1.0 - np.abs(j + 0.5 - centres[:, None]) / reach)
    weight[(j < 0) | (j >= source_px)] = 0.0
    total = weight.sum(axis=1, keepdims=True)
    weight = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
    row = np.broadcast_to(np.arange(len(centres))[:, None], j.shape)
    used = weight > 0
    return sparse.csr_matrix((weight[used].astype(np.float32), (row[used], j[used])), shape=(len(centres), source_px))


def _separable(image: np.ndarray, rows: sparse.csr_matrix, cols: sparse.csr_matrix) -> np.ndarray:
    """Applies ``rows`` along axis 0 and ``cols`` along axis 1 of float32 [H, W] or [H, W, C]."""
    shape = image.shape
    channels = 1 if image.ndim == 2 else shape[2]
    flat = np.ascontiguousarray(image, dtype=np.float32).reshape(shape[0], -1)
    half = rows @ flat
    half = half.reshape(rows.shape[0], shape[1], channels).transpose(1, 0, 2).reshape(shape[1], -1)
    out = (cols @ half).reshape(cols.shape[0], rows.shape[0], channels).transpose(1, 0, 2)
    return np.ascontiguousarray(out[:, :, 0] if image.ndim == 2 else out, dtype=np.float32)


def to_canvas(
    image: np.ndarray, geometry: Geometry, fov_px: float = FOV_DIAMETER_PX, canvas_px: int = CANVAS_PX
) -> np.ndarray:
    """Brings a source picture ([H, W] or [H, W, C], 0..255) to the canvas, float32 [canvas_px, canvas_px(, C)]."""
    if image.shape[:2] != (geometry.height, geometry.width):
        raise ValueError(f"picture is {image.shape[:2]}, the geometry is for {(geometry.height, geometry.width)}")
    scale = fov_px / (2.0 * geometry.radius)
    offset = (np.arange(canvas_px) + 0.5 - canvas_px / 2.0) / scale
    rows = triangle_matrix(geometry.centre_y + offset, scale, geometry.height)
    cols = triangle_matrix(geometry.centre_x + offset, scale, geometry.width)
    return _separable(image, rows, cols)


def canvas_mask(geometry: Geometry, fov_px: float = FOV_DIAMETER_PX, canvas_px: int = CANVAS_PX) -> np.ndarray:
    """FOV mask on the canvas, bool: pixel centre inside circle, cuts and picture (analytic)."""
    scale = fov_px / (2.0 * geometry.radius)
    offset = (np.arange(canvas_px) + 0.5 - canvas_px / 2.0) / scale
    return geometry._inside(geometry.centre_x + offset, geometry.centre_y + offset)


def canvas_size(fov_px: float) -> int:
    """Width and height of the canvas for a field of view, pixels: a margin, and a multiple of 32."""
    return -(-round(fov_px + _CANVAS_MARGIN_PX) // _CANVAS_MULTIPLE_PX) * _CANVAS_MULTIPLE_PX


def normalise(canvas: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Per channel ``(v − mean) / max(std, 1)`` over FOV pixels (population std), 0 outside; float32 [3, H, W]."""
    inside = canvas[mask].astype(np.float64)
    if len(inside) == 0:
        raise FieldOfViewError("the field of view holds no pixel of the canvas")
    mean = inside.mean(axis=0)
    std = np.maximum(inside.std(axis=0), _MIN_STD)
    out = (canvas - mean.astype(np.float32)) / std.astype(np.float32)
    out[~mask] = 0
    return np.ascontiguousarray(out.transpose(2, 0, 1), dtype=np.float32)


def to_source(values: np.ndarray, geometry: Geometry, fov_px: float = FOV_DIAMETER_PX) -> np.ndarray:
    """Maps a canvas plane (float [H, W]) back to source pixels, float32 [height, width], zero outside the FOV."""
    canvas_px = values.shape[0]
    scale = fov_px / (2.0 * geometry.radius)
    x = canvas_px / 2.0 + (np.arange(geometry.width) + 0.5 - geometry.centre_x) * scale
    y = canvas_px / 2.0 + (np.arange(geometry.height) + 0.5 - geometry.centre_y) * scale
    # Seen from here the canvas is the source, and 1/scale is target pixels per source pixel.
    rows = triangle_matrix(y, 1.0 / scale, canvas_px)
    cols = triangle_matrix(x, 1.0 / scale, canvas_px)
    out = _separable(values.astype(np.float32), rows, cols)
    out[~geometry.mask()] = 0
    return out
