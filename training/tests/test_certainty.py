"""Thresholds, intervals and ranges, on numbers whose answer is known."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from conftest import drawn, write_folder

from noctua_training import export, measures
from noctua_training.canvas import canvas_size, fit_geometry
from noctua_training.certainty import HeldOut, choose_threshold, fit_errors, interval_line, look, training_range
from noctua_training.data import Sample, find_samples, fit_and_validation
from noctua_training.degrade import DEGRADED, degrade
from noctua_training.metrics import PooledScores
from noctua_training.predict import Segmenter


def scores(probability: float, share: float) -> PooledScores:
    """A picture whose vessels all have one probability, and whose background has 0.1."""
    s = PooledScores()
    vessel = np.zeros(1000, bool)
    vessel[: int(1000 * share)] = True
    s.add(np.where(vessel, probability, 0.1), vessel, np.ones(1000, bool))
    return s


def held_out(dataset: str, **ways: PooledScores) -> HeldOut:
    sample = Sample(dataset, "folder", "eye", "validation", None, {}, None)
    empty = np.zeros((8, 8))
    renamed = {("" if way == "clean" else way): s for way, s in ways.items()}
    return HeldOut(sample, renamed, empty, empty > 0, empty == 0, 8.0)


def test_threshold_serves_every_group():
    """One picture alone would allow 0.7; the degraded one needs 0.4 or less."""
    clean = held_out("A", clean=scores(0.72, 0.1))
    assert choose_threshold([clean])[1][-1]["A"] == 1  # at 0.70
    threshold, rows = choose_threshold([held_out("A", clean=scores(0.72, 0.1), soft=scores(0.41, 0.1))])
    assert 0.1 < threshold <= 0.4
    assert set(rows[0]) == {"threshold", "A", "A soft", "mean"}


def test_interval_holds_what_it_says():
    """Errors proportional to the statistic: the line finds it, and holds nine tenths of fresh ones."""
    rng = np.random.default_rng(3)

    def draw(n):
        u = rng.uniform(0.005, 0.03, n)
        return u, np.abs(rng.normal(0, 1, n)) * 0.4 * u

    offset, slope = interval_line(*draw(300))
    u, error = draw(4000)
    held = (error <= offset + slope * u).mean()
    assert held == pytest.approx(0.9, abs=0.03)
    assert slope > 0
    narrow, wide = u < 0.01, u > 0.025
    assert (error[wide] <= offset + slope * u[wide]).mean() == pytest.approx(0.9, abs=0.06)
    assert (error[narrow] <= offset + slope * u[narrow]).mean() == pytest.approx(0.9, abs=0.08)


def test_interval_of_few_pictures_is_wider():
    """Split conformal: of 9 pictures the largest ratio counts, since (9 + 1) · 0.9 = 9."""
    error = np.arange(1, 10) / 1000
    offset, slope = interval_line(np.full(9, 0.01), error)
    assert offset + slope * 0.01 == pytest.approx(0.009)
    with pytest.raises(ValueError, match="cannot be fitted"):
        interval_line(np.zeros(0), np.zeros(0))


def test_data_sets_count_alike():
    """Ninety exact pictures of one set do not make the ten of another narrow: half of the weight is theirs."""
    error = np.array([0.001] * 90 + [0.01] * 10)
    sets = ["A"] * 90 + ["B"] * 10
    offset, slope = interval_line(np.ones(100), error, sets)
    assert offset + slope == pytest.approx(0.01)
    offset, slope = interval_line(np.ones(100), error)
    assert offset + slope == pytest.approx(0.01)  # 91 of 101 reach 0.9 only with one of them
    offset, slope = interval_line(np.ones(110), np.concatenate([error, np.full(10, 0.001)]))
    assert offset + slope == pytest.approx(0.001)


def test_errors_of_a_network_that_draws_too_wide():
    rng = np.random.default_rng(0)
    pictures = []
    for i in range(12):
        _, vessels, fov = drawn(i)
        wide = vessels | np.roll(vessels, 1, 1) | np.roll(vessels, -1, 1)
        probability = np.where(wide, rng.uniform(0.6, 0.9), 0.05).astype(np.float32)
        sample = Sample("A", "folder", f"eye{i}", "validation", None, {}, None)
        pictures.append(HeldOut(sample, {}, probability, vessels, fov, 280.0))
    entries = {e["measure"]: e for e in fit_errors(pictures, 0.5, "drawn")}
    assert set(entries) == set(measures.NAMES)
    area = entries[measures.AREA_DENSITY]
    held = 0
    for p in pictures:
        ours = measures.measure(p.probability >= 0.5, p.fov, 280.0)[measures.AREA_DENSITY]
        truth = measures.measure(p.label, p.fov, 280.0)[measures.AREA_DENSITY]
        x = ours if area["statistic"] == "value" else measures.mean_variance(p.probability, p.fov)
        half = area["offset"] + area["slope"] * x
        held += abs(ours - truth) <= half
        assert half < 0.1
    assert 10 <= held <= 12
    assert area["images"] == 12


def test_errors_are_fitted_again(tmp_path, monkeypatch):
    """The ``errors`` command changes the errors and the version, in manifest and card, and nothing else."""
    folder, data = tmp_path / "m", write_folder(tmp_path / "mine", 6)
    folder.mkdir()
    manifest = {
        "name": "m",
        "version": "1.0.0",
        "threshold": 0.5,
        "errors": [
            {"measure": measures.AREA_DENSITY, "confidence": 0.9, "statistic": "value", "offset": 9.0, "slope": 0.0}
            | {"images": 1, "source": "nothing"}
        ],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "README.md").write_text(
        "# m 1.0.0\n\nbefore\n\n## Errors and range\n\nold\n\n## Known weaknesses\n\nafter\n"
    )
    runs = []
    for k in (0, 1):
        _, held = fit_and_validation([data], (k, 2))
        run = tmp_path / f"fold{k}"
        run.mkdir()
        entry = {"name": held[0].dataset, "layout": "folder", "fit": [], "validation": [s.stem for s in held]}
        (run / "samples.json").write_text(json.dumps([entry]))
        runs.append(run)

    def network(_):
        """Says 0.9 where the picture is darker than around, which the drawn vessels are."""
        return Segmenter("m", "1", ["background", "vessel"], 0.5, _dark, 288, 256.0)

    monkeypatch.setattr(export, "open_model", network)
    monkeypatch.setattr(export, "write_manifest", lambda f, m: (f / "manifest.json").write_text(json.dumps(m)))
    export.refit_errors(folder, "1.0.1", runs, [data])
    after = json.loads((folder / "manifest.json").read_text())
    assert {k: v for k, v in after.items() if k not in ("version", "errors")} == {"name": "m", "threshold": 0.5}
    assert after["version"] == "1.0.1"
    assert [(e["measure"], e["images"]) for e in after["errors"]] == [(name, 6) for name in measures.NAMES]
    card = (folder / "README.md").read_text()
    assert card.startswith("# m 1.0.1\n\nbefore\n\n## Errors and range\n\nHalf width")
    assert card.endswith("\n\n## Known weaknesses\n\nafter\n")
    with pytest.raises(ValueError, match="another one"):
        export.refit_errors(folder, "1.0.1", runs, [data])
    with pytest.raises(ValueError, match="same pictures"):
        export.refit_errors(folder, "1.0.2", [runs[0], runs[0]], [data])


def _dark(image):
    vessel = np.where(image[:, 1:2] < -0.5, 0.9, 0.1).astype(np.float32)
    return np.concatenate([1 - vessel, vessel], axis=1)


def test_measures_of_drawn_shapes():
    fov = np.ones((256, 256), bool)
    bar = np.zeros((256, 256), bool)
    bar[100:110] = True
    values = measures.measure(bar, fov, 256.0)
    assert values[measures.AREA_DENSITY] == pytest.approx(10 / 256)
    y, x = np.mgrid[:256, :256] + 0.5
    ring = np.abs(np.hypot(x - 128, y - 128) - 90) <= 3  # a line in all directions
    length = measures.measure(ring, fov, 256.0)[measures.LENGTH_DENSITY]
    assert length == pytest.approx(2 * math.pi * 90 / 256, rel=0.02)
    assert measures.box_dimension(fov) == pytest.approx(2)
    assert measures.box_dimension(np.eye(256, dtype=bool)) == pytest.approx(1)
    assert measures.skeleton_length(np.eye(101, dtype=bool)) == pytest.approx(100 * math.sqrt(2))
    assert math.isnan(measures.box_dimension(np.zeros((256, 256), bool)))
    half = np.full((10, 10), 0.5)
    assert measures.mean_variance(half, np.ones((10, 10), bool)) == pytest.approx(0.25)


def test_training_range_is_wider_than_the_pictures(tmp_path):
    samples = find_samples([write_folder(tmp_path / "mine", 4)], "all")
    entries = {e["statistic"]: (e["low"], e["high"]) for e in training_range(samples, 256.0, canvas_size(256), 100.0)}
    rgb, _, fov = drawn(0)
    for i, colour in enumerate(("red", "green", "blue")):
        low, high = entries[f"mean-{colour}"]
        assert low < rgb[fov][:, i].mean() < high
    assert entries["canvas-scale"][1] == pytest.approx(2.56)
    assert entries[measures.AREA_DENSITY][0] > 0


def test_look_refuses_test_pictures(tmp_path):
    segmenter = Segmenter("n", "1", ["background", "vessel"], 0.5, lambda x: x[:, :2] * 0 + 0.5, 288, 256.0)
    samples = find_samples([write_folder(tmp_path / "mine", 3)], "all")
    seen = look(segmenter, samples[:1])
    assert set(seen[0].scores) == {"", *DEGRADED}
    with pytest.raises(ValueError, match="test pictures"):
        look(segmenter, [Sample("A", "folder", "x", "test", None, {}, None)])


def test_folds_part_persons(shared):
    for k in (0, 1):
        fit, held = fit_and_validation([shared], (k, 2))
        assert not {(s.dataset, s.person) for s in fit} & {(s.dataset, s.person) for s in held}
        assert len(fit) + len(held) == 35
        assert all(s.split != "test" for s in fit + held)
    fit, held = fit_and_validation([shared / "HRF"], whole=True)
    assert len(fit) == 42
    assert len(held) == 3
    with pytest.raises(ValueError, match="fold"):
        fit_and_validation([shared], (2, 2))


@pytest.mark.parametrize("way", DEGRADED)
def test_degraded_pictures_stay_pictures(way):
    rgb, _, fov = drawn(1)
    out, geometry = degrade(rgb, fit_geometry(fov), way)
    assert out.dtype == np.uint8
    assert out.shape[:2] == (geometry.height, geometry.width)
    inside = geometry.mask()
    assert 10 < out[inside].mean() < 245
    before = np.abs(np.diff(rgb[:, :, 1].astype(int), axis=1))[:, :-1].mean()
    assert way != "dull" or np.abs(np.diff(out[:, :, 1].astype(int), axis=1)).mean() < before
    with pytest.raises(ValueError, match="choose one of"):
        degrade(rgb, fit_geometry(fov), "none")


def test_flips_are_averaged():
    """A network that answers with its input's first plane: the average over flips is that plane, turned back."""
    slope = np.linspace(0, 1, 64, dtype=np.float32)[None, None, None, :]  # an answer that is not the same when turned
    segmenter = Segmenter("n", "1", ["background", "vessel"], 0.5, lambda x: x[:, :2] + slope, 64, 60.0)
    segmenter.flips = ("none", "horizontal")
    rgb, _, fov = drawn(0)
    plane = segmenter.canvas_vessels(rgb, fit_geometry(fov))
    segmenter.flips = ("none",)
    single = segmenter.canvas_vessels(rgb, fit_geometry(fov))
    assert np.allclose(plane, single - slope[0, 0] + 0.5, atol=1e-5)


def test_arteries_and_veins_are_vessels():
    def network(x):
        ones = np.ones_like(x[:, :1])
        return np.concatenate([0.1 * ones, 0.5 * ones, 0.3 * ones, 0.1 * ones], axis=1)

    segmenter = Segmenter("n", "1", ["background", "artery", "vein", "disc"], 0.7, network, 64, 60.0)
    rgb, _, fov = drawn(0)
    geometry = fit_geometry(fov)
    assert segmenter.probability(rgb, geometry)[150, 160] == pytest.approx(0.8)
    masks = segmenter.class_masks(rgb, geometry)
    assert set(masks) == {"artery", "vein", "disc"}
    assert masks["artery"][150, 160] == 255
    assert masks["vein"].max() == masks["disc"].max() == 0
