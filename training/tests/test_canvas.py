"""Canvas: hand-computed weights, round trip, geometry fit, normalisation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import drawn

from noctua_training.canvas import (
    CANVAS_PX,
    FieldOfViewError,
    Geometry,
    canvas_mask,
    detect_mask,
    fit_geometry,
    normalise,
    to_canvas,
    to_source,
    triangle_matrix,
)


def weights(centre: float, scale: float, source_px: int) -> list[float]:
    return triangle_matrix(np.array([centre]), scale, source_px).toarray()[0].tolist()


@pytest.mark.parametrize(
    ("centre", "scale", "expected"),
    [
        (2.5, 1.0, [0, 0, 1, 0, 0]),  # on a pixel centre at scale 1: that pixel alone
        (2.25, 1.0, [0, 0.25, 0.75, 0, 0]),  # a quarter to the left: linear interpolation
        (2.0, 4.0, [0, 0.5, 0.5, 0, 0]),  # enlarging never narrows the filter below 1 px
        # Shrinking to a half: reach 2 around 2.5; 1 − |j + 0.5 − 2.5| / 2 = 0, ½, 1, ½, 0; sum 2.
        (2.5, 0.5, [0, 0.25, 0.5, 0.25, 0]),
        # Same at the border, centre 0.5: ½·(2, 1) of [1, ½]; sum 1.5.
        (0.5, 0.5, [2 / 3, 1 / 3, 0, 0, 0]),
        (-0.4, 1.0, [1, 0, 0, 0, 0]),  # outside, still in reach: renormalised to the border pixel
        (-0.6, 1.0, [0, 0, 0, 0, 0]),  # out of reach: nothing
    ],
)
def test_triangle_weights_by_hand(centre, scale, expected):
    assert weights(centre, scale, 5) == pytest.approx(expected, abs=1e-7)


def test_canvas_value_by_hand():
    # Circle of radius 768 → scale ½. Canvas pixel (400, 400) has its centre at source 500 + 0.5/0.5 = 501.
    picture = np.zeros((1000, 1000), np.float32)
    picture[:, 500] = 100.0  # centre 500.5, weight 1 − 0.5/2 = ¾; all weights in reach: ¼, ¾, ¾, ¼ = 2
    canvas = to_canvas(picture, Geometry(500, 500, 768, 0, 0, 1000, 1000, 1000, 1000))
    assert canvas[400, 400] == pytest.approx(100 * 0.75 / 2, abs=1e-4)
    assert canvas[400, 401] == pytest.approx(0.0)  # centre 503, reach 2: 500.5 is 2.5 away
    assert canvas[400, 399] == pytest.approx(100 * 0.25 / 2, abs=1e-4)  # centre 499: 500.5 is 1.5 away


def test_unit_scale_is_identity():
    rng = np.random.default_rng(0)
    picture = rng.uniform(0, 255, (CANVAS_PX, CANVAS_PX, 3)).astype(np.float32)
    geometry = Geometry(400, 400, 384, 0, 0, 800, 800, 800, 800)
    assert np.allclose(to_canvas(picture, geometry), picture, atol=1e-3)


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.7, 4.0])
def test_round_trip_keeps_smooth_pictures(factor):
    size = int(800 * factor)
    y, x = (np.mgrid[0:size, 0:size] + 0.5) / factor
    plane = (0.5 + 0.4 * np.sin(x / 40) * np.cos(y / 55)).astype(np.float32)
    geometry = Geometry(size / 2 + 3.3, size / 2 - 2.1, 380 * factor, 0, 0, size, size, size, size)
    back = to_source(to_canvas(plane, geometry), geometry)
    inside = geometry.mask()
    assert np.abs(back - plane)[inside].max() < 0.02
    assert (back[~inside] == 0).all()


def test_position_survives_round_trip():
    """A blob comes back to where it was: half a pixel of shift would move its centroid."""
    size, at = 1400, (813.4, 655.2)
    y, x = np.mgrid[0:size, 0:size] + 0.5
    plane = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * 12.0**2)).astype(np.float32)
    geometry = Geometry(702.7, 688.9, 640.0, 0, 0, size, size, size, size)
    back = to_source(to_canvas(plane, geometry), geometry)
    assert (back * x).sum() / back.sum() == pytest.approx(at[0], abs=0.02)
    assert (back * y).sum() / back.sum() == pytest.approx(at[1], abs=0.02)


@pytest.mark.parametrize("cut", [(0, 0), (60, 50), (110, 0)])
def test_fit_finds_circle_and_cuts(cut):
    height, width, cx, cy, r = 420, 500, 251.3, 208.6, 190.4
    y, x = np.mgrid[0:height, 0:width] + 0.5
    mask = np.hypot(x - cx, y - cy) <= r
    top, bottom = 18 + cut[0], 400 - cut[1]
    if cut[0]:
        mask[:top] = False
    if cut[1]:
        mask[bottom:] = False
    mask[200:206, 60:75] = False  # a notch
    mask[2:6, 2:6] = True  # a speck outside
    found = fit_geometry(mask)
    assert (found.centre_x, found.centre_y, found.radius) == pytest.approx((cx, cy, r), abs=0.5)
    assert found.top == (top if cut[0] else 0)
    assert found.bottom == (bottom if cut[1] else height)
    assert (found.left, found.right) == (0, width)


def test_fit_finds_circle_larger_than_the_picture():
    y, x = np.mgrid[0:300, 0:500] + 0.5
    found = fit_geometry(np.hypot(x - 250, y - 150) <= 220)  # top and bottom lie beyond the picture
    assert (found.centre_x, found.centre_y, found.radius) == pytest.approx((250, 150, 220), abs=0.5)


def test_empty_and_full_masks_are_refused():
    with pytest.raises(FieldOfViewError, match="empty"):
        fit_geometry(np.zeros((50, 50), bool))
    with pytest.raises(FieldOfViewError):
        fit_geometry(np.ones((50, 50), bool))


@pytest.mark.parametrize("surround", [0, 255])
def test_detect_mask(surround):
    rgb, _, fov = drawn(3)
    rgb = np.where(fov[:, :, None], rgb, surround).astype(np.uint8)
    found = detect_mask(rgb)
    assert 2 * (found & fov).sum() / (found.sum() + fov.sum()) > 0.98


def test_normalise_by_hand():
    canvas = np.zeros((2, 2, 3), np.float32)
    canvas[0, 0], canvas[0, 1], canvas[1, 0] = (10, 7, 0), (30, 7, 0.5), (99, 99, 99)
    mask = np.array([[True, True], [False, False]])
    out = normalise(canvas, mask)
    assert out.shape == (3, 2, 2)
    assert out[0, 0].tolist() == [-1, 1]  # mean 20, population std 10
    assert out[1, 0].tolist() == [0, 0]  # constant channel
    assert out[2, 0].tolist() == [-0.25, 0.25]  # std 0.25 is raised to 1
    assert (out[:, 1] == 0).all()


def test_canvas_mask_is_the_disc():
    mask = canvas_mask(Geometry(500, 500, 450, 0, 0, 1000, 1000, 1000, 1000))
    assert mask.sum() == pytest.approx(np.pi * 384**2, rel=2e-3)
    cut = canvas_mask(Geometry(500, 500, 450, 0, 200, 1000, 1000, 1000, 1000))
    # Source line 200 is canvas 400 + (200 − 500)·768/900 = 144: the first row whose centre is not above it.
    assert not cut[:144].any()
    assert cut[144].any()


def test_preprocessing_golden():
    """The file is for every implementation (Go's pkg/fundus too): same picture, same geometry, same values."""
    golden = json.loads((Path(__file__).parent / "preprocessing_golden.json").read_text())
    y, x = np.mgrid[0:211, 0:257]
    rgb = np.stack([(7 * x + 13 * y) % 256, (x * y) % 251, (x * x + 3 * y) % 241], axis=2).astype(np.uint8)
    limit = golden["tolerance"]
    for case in golden["cases"]:
        g = case["geometry"]
        geometry = Geometry(
            *(g[k] for k in ("center_x", "center_y", "radius", "left", "top", "right", "bottom", "width", "height"))
        )
        canvas, mask = to_canvas(rgb, geometry), canvas_mask(geometry)
        assert mask.sum() == case["mask_pixels"]
        normal = normalise(canvas, mask)
        back = to_source(normal[1], geometry)
        for point in case["canvas"]:
            assert canvas[point["y"], point["x"]] == pytest.approx(point["rgb"], abs=limit["rgb"])
            assert normal[:, point["y"], point["x"]] == pytest.approx(point["normalised"], abs=limit["normalised"])
        for point in case["green_back"]:
            assert back[point["y"], point["x"]] == pytest.approx(point["value"], abs=limit["green_back"])
