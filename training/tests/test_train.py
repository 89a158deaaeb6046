"""Training on drawn retinas: it learns, resumes exactly, and its export loads in ONNX Runtime with equal outputs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import drawn, write_folder
from PIL import Image

from noctua_training.__main__ import main
from noctua_training.augment import AugmentConfig, Sampler, mean_vessel_width, prepare
from noctua_training.canvas import fit_geometry
from noctua_training.data import Picture
from noctua_training.export import check_against_torch, golden_input, write_onnx
from noctua_training.model import build
from noctua_training.train import TrainConfig, Trainer, learning_rate, overfitting_from

CLASSES = ("background", "vessel")


@pytest.fixture(scope="module")
def pictures():
    prepared = []
    for seed in range(3):
        rgb, vessels, fov = drawn(seed)
        picture = Picture(rgb, {"vessel": vessels}, fov, fit_geometry(fov))
        prepared.append(prepare(f"drawn/{seed}", "drawn", picture, CLASSES, 320.0, border_sigma_px=4.0))
    return prepared


def config(**changes) -> TrainConfig:
    values = {
        "arch": "res-unet-tiny",
        "steps": 60,
        "batch": 2,
        "learning_rate": 1e-2,
        "warmup_steps": 5,
        "ema_decay": 0.9,
        "checkpoint_every": 1000,
        "validate_every": 1000,
        "precision": "fp32",
        "augment": AugmentConfig(crop_px=64, fov_px=320.0),
    }
    return TrainConfig(**(values | changes))


def trainer(pictures, folder, **changes) -> Trainer:
    return Trainer(config(**changes), pictures, [], folder, log=lambda line: None)


def test_few_steps_lower_the_loss(pictures, tmp_path):
    run = trainer(pictures, tmp_path)
    run.run()
    first, last = np.mean(run.recent[:8]), np.mean(run.recent[-8:])
    assert last < 0.7 * first, f"loss went from {first:.3f} to {last:.3f}"


@pytest.mark.parametrize("changes", [{}, {"precision": "bf16", "arch": "w-net-tiny"}, {"loss": "border"}])
def test_resume_continues_exactly(pictures, tmp_path, changes):
    """Bit-equal: the same machine, the same number of threads."""
    whole = trainer(pictures, tmp_path / "whole", steps=12, **changes)
    whole.run()
    half = trainer(pictures, tmp_path / "half", steps=12, **changes)
    half.run(until=5)
    torch.manual_seed(99)  # whatever the process did meanwhile
    rest = trainer(pictures, tmp_path / "half", steps=12, **changes)
    rest.resume(tmp_path / "half" / "last.pt")
    rest.run()
    assert rest.step == whole.step == 12
    assert rest.recent == whole.recent
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, rest.model.state_dict()[key]), key
    for key, value in whole.average.state.items():
        assert torch.equal(value, rest.average.state[key]), key


def test_resume_refuses_another_recipe_or_other_pictures(pictures, tmp_path):
    trainer(pictures, tmp_path, steps=2).run()
    path = tmp_path / "last.pt"
    with pytest.raises(ValueError, match="another batch"):
        trainer(pictures, tmp_path, batch=3).resume(path)
    with pytest.raises(ValueError, match="other pictures"):
        trainer(pictures[:2], tmp_path).resume(path)
    with pytest.raises(ValueError, match="beyond --steps"):
        trainer(pictures, tmp_path, steps=1).resume(path)
    trainer(pictures, tmp_path, steps=9).resume(path)  # steps may change


def test_crops_are_what_they_say(pictures):
    sampler = Sampler(pictures, AugmentConfig(crop_px=96, fov_px=320.0), torch.Generator().manual_seed(4))
    images, target, fov, border = sampler.batch(6)
    assert border.shape == fov.shape
    assert 0.2 < border.max() <= 1
    assert images.shape == (6, 3, 96, 96)
    assert target.shape == (6, 2, 96, 96)
    assert fov.shape == (6, 1, 96, 96)
    assert torch.isfinite(images).all()
    assert (images[(fov == 0).expand_as(images)] == 0).all()
    assert target.min() > -1e-5
    assert target.max() < 1 + 1e-5
    inside = fov[:, 0] > 0
    assert torch.allclose(target.sum(dim=1)[inside], torch.ones(1), atol=0.02)
    # Labels move with the picture: vessels are darker in green than their surround.
    green, vessel = images[:, 1], target[:, 1]
    assert green[inside & (vessel > 0.9)].mean() < green[inside & (vessel < 0.1)].mean() - 0.5


def test_scales_follow_the_vessels(pictures):
    """Whatever the width of a picture's vessels, its crops show the same range of widths."""
    wide, narrow = replace(pictures[0], vessel_px=6.0), replace(pictures[1], vessel_px=1.5)
    c = AugmentConfig(crop_px=64, fov_px=768.0, vessel_px=(2.0, 8.0), native_share=0.0)
    sampler = Sampler([wide, narrow], c, torch.Generator().manual_seed(4))
    for picture in (wide, narrow):
        widths = [sampler.scale(picture) * picture.vessel_px for _ in range(300)]
        assert min(widths) == pytest.approx(2.0, rel=0.05)
        assert max(widths) == pytest.approx(8.0, rel=0.05)
        assert np.median(widths) == pytest.approx(4.0, rel=0.15)
    unlabelled = replace(pictures[2], vessel_px=0.0)
    scales = [sampler.scale(unlabelled) for _ in range(300)]
    assert c.scale_factor[0] <= min(scales) < max(scales) <= c.scale_factor[1]


def test_mean_vessel_width_of_bars():
    mask = np.zeros((100, 200), bool)
    mask[20:26, 10:190] = True
    mask[50:56, 10:190] = True
    assert mean_vessel_width(mask) == pytest.approx(6.0, rel=0.05)
    assert mean_vessel_width(np.zeros((8, 8), bool)) == 0


def test_learning_rate_warms_up_and_falls_to_zero():
    c = config(steps=1000, warmup_steps=100, learning_rate=1.0)
    assert learning_rate(0, c) == pytest.approx(0.01)
    assert learning_rate(100, c) == pytest.approx(1.0)
    assert learning_rate(550, c) == pytest.approx(0.5)
    assert learning_rate(1000, c) == pytest.approx(0.0)


def test_curves_that_part_are_overfitting():
    def rows(train, held_out):
        return [
            {"step": 10 * i, "train_loss": a, "validation_loss": b}
            for i, (a, b) in enumerate(zip(train, held_out, strict=True))
        ]

    assert overfitting_from(rows([3, 2, 1, 0.5], [3, 2, 2.3, 2.6])) == 10
    assert overfitting_from(rows([3, 2, 1, 0.5], [3, 2, 1.5, 1.4])) is None
    assert overfitting_from(rows([3, 2, 1, 0.5], [3, 2, 1.5, 1.51])) is None  # flat
    assert overfitting_from(rows([3, 2, 2.1, 2.2], [3, 2, 2.3, 2.6])) is None  # both get worse: not overfitting


def test_onnx_equals_torch(tmp_path):
    torch.manual_seed(3)
    for arch, classes in (("res-unet", 2), ("res-unet", 4), ("res-unet-gn", 2), ("w-net-tiny", 2)):
        model = build(arch, classes)
        with torch.no_grad():  # running statistics as after training, so that folding has something to fold
            model.train()(torch.randn(2, 3, 64, 64))
        write_onnx(model.eval(), tmp_path / "m.onnx")
        assert check_against_torch(model, tmp_path / "m.onnx", ((1, 64, 64), (3, 96, 32))) < 1e-5


def test_golden_input_is_network_input():
    image, origin = golden_input(768.0)
    assert image.shape == (1, 3, 128, 128)
    assert image.dtype == np.dtype("<f4")
    assert np.isfinite(image).all()
    assert image.std() > 0.2
    assert origin


def test_commands_end_to_end(tmp_path, capsys):
    """train → resume → export → evaluate → record → predict, as a user types them."""
    data, run, out = write_folder(tmp_path / "mine", 5), tmp_path / "run", tmp_path / "models" / "tiny-1"
    train = [
        "train",
        "--data",
        str(data),
        "--run",
        str(run),
        "--arch",
        "res-unet-tiny",
        "--steps",
        "4",
        "--batch",
        "1",
        "--validate-every",
        "2",
        "--checkpoint-every",
        "2",
    ]
    assert main([*train, "--until", "2"]) == 0
    assert main(train) == 2  # a run lies there: never overwritten
    assert main([*train, "--resume"]) == 0
    assert {p.name for p in run.iterdir()} >= {"last.pt", "best.pt", "history.csv", "history.json", "curves.png"}
    assert main(["export", "--run", str(run), "--out", str(out), "--version", "0.1.0"]) == 2  # no threshold, no data
    assert main(["export", "--run", str(run), "--out", str(out), "--version", "0.1.0", "--data", str(data)]) == 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["training_data"][0]["images"] == 4
    golden = np.fromfile(out / "golden_output.f32", "<f4").reshape(manifest["golden"]["output_shape"])
    assert np.allclose(golden.sum(axis=1), 1, atol=1e-5)
    import onnxruntime

    session = onnxruntime.InferenceSession(str(out / "model.onnx"), providers=["CPUExecutionProvider"])
    image = np.fromfile(out / "golden_input.f32", "<f4").reshape(manifest["golden"]["input_shape"])
    assert np.abs(session.run(None, {"image": image})[0] - golden).max() < manifest["golden"]["tolerance"]

    capsys.readouterr()
    evaluate = ["evaluate", "--data", str(data), "--split", "validation", "--json"]
    assert main([*evaluate, "--model", str(out)]) == 0
    by_onnx = json.loads(capsys.readouterr().out)
    assert main([*evaluate, "--model", str(run / "best.pt"), "--threshold", str(manifest["threshold"])]) == 0
    by_torch = json.loads(capsys.readouterr().out)
    assert by_onnx["sets"][0]["auc"] == pytest.approx(by_torch["sets"][0]["auc"], abs=1e-3)
    (tmp_path / "r.json").write_text(json.dumps(by_onnx))
    assert main(["record", "--model", str(out), str(tmp_path / "r.json")]) == 0
    assert "mine validation, 1 pictures" in (out / "README.md").read_text()
    assert main(["record", "--model", str(out), str(tmp_path / "r.json")]) == 0  # again: replaced, not doubled
    metrics = json.loads((out / "manifest.json").read_text())["metrics"]
    assert sum(m["set"] == "mine validation, 1 pictures" for m in metrics) == 9
    (tmp_path / "r.json").write_text(json.dumps(by_onnx | {"version": "9"}))
    assert main(["record", "--model", str(out), str(tmp_path / "r.json")]) == 2

    (tmp_path / "bad.png").write_bytes(b"no picture")
    masks = tmp_path / "masks"
    assert (
        main(["predict", "--model", str(out), "--out", str(masks), str(data / "images"), str(tmp_path / "bad.png")])
        == 1
    )
    assert len(list(masks.iterdir())) == 5
    mask = np.asarray(Image.open(masks / "eye00.png"))
    assert mask.shape == drawn(0)[1].shape
    assert set(np.unique(mask)) <= {0, 255}


def test_record_takes_what_go_measured(tmp_path):
    """``noctua evaluate --json`` has other words for the same figures."""
    manifest = {"name": "m", "version": "1", "threshold": 0.5, "metrics": []}
    shipped = json.loads((Path(__file__).resolve().parents[2] / "schemas/examples/valid/model.v1.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(shipped | manifest))
    (tmp_path / "README.md").write_text("<!-- metrics: written by `record` -->\n<!-- end of metrics -->\n")
    figures = dict.fromkeys(("dice", "auc", "sensitivity", "specificity", "mcc"), 0.8)
    report = figures | {
        "dataset": "data/HRF",
        "layout": "HRF",
        "split": "test",
        "images": 2,
        "protocol": "p",
        "model": {"name": "m", "version": "1", "threshold": 0.5},
        "summary": {"stated_density": {"bias": -0.001, "mae": 0.008}, "coverage": {"share": None}},
        "calibration": {"ece": 0.02},
        "per_image": [{"dice": 0.7}, {"dice": 0.9}],
    }
    (tmp_path / "r.json").write_text(json.dumps([report]))
    assert main(["record", "--model", str(tmp_path), str(tmp_path / "r.json")]) == 0
    kept = {m["name"]: m["value"] for m in json.loads((tmp_path / "manifest.json").read_text())["metrics"]}
    assert kept["worst picture dice"] == 0.7
    assert kept["density bias"] == -0.001
    assert "interval coverage" not in kept
    assert "HRF test, 2 pictures" in (tmp_path / "README.md").read_text()
    (tmp_path / "r.json").write_text(json.dumps(report | {"model": report["model"] | {"threshold": 0.4}}))
    assert main(["record", "--model", str(tmp_path), str(tmp_path / "r.json")]) == 2


def test_shipped_model_keeps_its_promises():
    """Every model folder in the repository: hash, golden tensors, schema."""
    import hashlib

    import jsonschema
    import onnxruntime

    repository = Path(__file__).resolve().parents[2]
    schema = json.loads((repository / "schemas" / "model.v1.schema.json").read_text())
    folders = [p.parent for p in (repository / "models").glob("*/manifest.json")]
    assert folders, "no model in models/: export one"
    for folder in folders:
        manifest = json.loads((folder / "manifest.json").read_text())
        jsonschema.validate(manifest, schema)
        assert manifest["name"] == folder.name
        assert manifest["sha256"] == hashlib.sha256((folder / manifest["file"]).read_bytes()).hexdigest()
        golden = manifest["golden"]
        image = np.fromfile(folder / golden["input"], "<f4").reshape(golden["input_shape"])
        expected = np.fromfile(folder / golden["output"], "<f4").reshape(golden["output_shape"])
        session = onnxruntime.InferenceSession(str(folder / manifest["file"]), providers=["CPUExecutionProvider"])
        given = session.run([manifest["output"]["name"]], {manifest["input"]["name"]: image})[0]
        assert np.abs(given - expected).max() <= golden["tolerance"]
