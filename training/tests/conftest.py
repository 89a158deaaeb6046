"""Shared helpers: drawn retinas on disk, and the shared data where a test is marked to need it."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def drawn(seed: int, width: int = 320, height: int = 300, radius: float = 140.0):
    """A drawn retina: RGB uint8, vessel mask and FOV mask. Dark curved vessels on an uneven orange disc."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] + 0.5
    dx, dy = x - width / 2, y - height / 2
    fov = np.hypot(dx, dy) < radius
    vessels = np.zeros((height, width), bool)
    for _ in range(7):
        angle, bend, shift = rng.uniform(0, np.pi), rng.uniform(-0.003, 0.003), rng.uniform(-90, 90)
        along, across = np.cos(angle) * dx + np.sin(angle) * dy, -np.sin(angle) * dx + np.cos(angle) * dy
        vessels |= np.abs(across - shift - bend * along**2) < rng.uniform(1.5, 4)
    vessels &= fov
    shade = 1 + 0.0015 * (rng.uniform(-1, 1) * dx + rng.uniform(-1, 1) * dy)
    rgb = np.stack(
        [level * shade * np.where(vessels, depth, 1.0) for level, depth in ((180, 0.85), (100, 0.6), (60, 0.7))], axis=2
    )
    rgb = (rgb + rng.normal(0, 4, rgb.shape)) * fov[:, :, None]
    return rgb.clip(0, 255).astype(np.uint8), vessels, fov


def write_folder(root: Path, count: int, fov: bool = True) -> Path:
    """A data set of the plain layout with ``count`` drawn retinas."""
    for name in ("images", "manual1", *(["fov"] if fov else [])):
        (root / name).mkdir(parents=True)
    for i in range(count):
        rgb, vessels, inside = drawn(i)
        Image.fromarray(rgb).save(root / "images" / f"eye{i:02}.png")
        Image.fromarray(vessels.astype(np.uint8) * 255).save(root / "manual1" / f"eye{i:02}.png")
        if fov:
            Image.fromarray(inside.astype(np.uint8) * 255).save(root / "fov" / f"eye{i:02}.png")
    return root


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder ``data`` of the shared data sets; absent: a loud skip, a failure under CI=true."""
    repository = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("NOCTUA_SHARED", repository.parent / "shared")) / "data"
    if not folder.is_dir():
        message = f"shared data sets are not at {folder}: set NOCTUA_SHARED; these tests did NOT run"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        warnings.warn(message, stacklevel=1)
        pytest.skip(message)
    return folder
