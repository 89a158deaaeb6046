"""The border weight of Ronneberger et al. 2015, equation 2: pixels in narrow gaps between two vessels count more.

ω(x) = ω_c(x) + ω₀ · exp(−(d₁(x) + d₂(x))² / 2σ²), where d₁ and d₂ are the distances to the nearest and to the second
nearest object. Their objects were cells; a vessel tree is one object, so here the objects are its segments: what
remains of the skeleton without its branch points, each with the vessel pixels nearest to it.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_REACH_SIGMA = 4.0  # beyond d₁ + d₂ = 4σ the term is below 3.4e-4
_EIGHT = np.ones((3, 3), dtype=bool)


def vessel_segments(vessels: np.ndarray) -> tuple[np.ndarray, int]:
    """Labels of the vessel segments (int [H, W], 0 is background), and how many there are."""
    from skimage.morphology import skeletonize

    skeleton = skeletonize(vessels)
    neighbours = ndimage.convolve(skeleton.astype(np.uint8), np.ones((3, 3), np.uint8), mode="constant") - 1
    branch = skeleton & (neighbours > 2)
    seeds, count = ndimage.label(skeleton & ~ndimage.binary_dilation(branch, _EIGHT), _EIGHT)
    # Components whose whole skeleton lies at a branch point are objects too.
    components, n = ndimage.label(vessels, _EIGHT)
    for i in np.setdiff1d(np.arange(1, n + 1), np.unique(components[seeds > 0])):
        count += 1
        seeds[components == i] = count
    if count == 0:
        return np.zeros(vessels.shape, np.int32), 0
    nearest = ndimage.distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
    return np.where(vessels, seeds[tuple(nearest)], 0).astype(np.int32), count


def two_distances(objects: np.ndarray, count: int, reach_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Distances to the nearest and second nearest of the labelled objects, pixels; infinite beyond ``reach_px``."""
    first = np.full(objects.shape, np.inf, dtype=np.float32)
    second = first.copy()
    margin = int(np.ceil(reach_px)) + 1
    for i, box in enumerate(ndimage.find_objects(objects, count), 1):
        if box is None:
            continue
        near = tuple(slice(max(0, s.start - margin), s.stop + margin) for s in box)
        d = ndimage.distance_transform_edt(objects[near] != i).astype(np.float32)
        d[d > reach_px] = np.inf
        a, b = first[near], second[near]
        second[near] = np.minimum(b, np.maximum(a, d))
        first[near] = np.minimum(a, d)
    return first, second


def border_term(vessels: np.ndarray, sigma_px: float) -> np.ndarray:
    """exp(−(d₁ + d₂)² / 2σ²) for a vessel mask (bool [H, W]), float32 in [0, 1]."""
    objects, count = vessel_segments(vessels)
    first, second = two_distances(objects, count, _REACH_SIGMA * sigma_px)
    return np.exp(-((first + second) ** 2) / (2 * sigma_px**2))


def class_weights(frequencies: np.ndarray) -> np.ndarray:
    """ω_c of every class: inverse to its share of the pixels, with mean 1 over the pixels."""
    weights = 1.0 / np.maximum(frequencies, 1e-6)
    return weights / (weights * frequencies).sum()
