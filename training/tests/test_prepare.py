"""The paper's first and last steps: prepare with its denoising, and the four panels."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import drawn, write_folder
from PIL import Image

from noctua_training.__main__ import main
from noctua_training.data import find_samples, load
from noctua_training.denoise import METHODS, denoise
from noctua_training.panels import write_panels


def write_drive(root):
    """DRIVE as it is handed out: TIFF pictures, palette GIF labels, masks."""
    for half, numbers in (("training", (21, 39)), ("test", (1,))):
        for name in ("images", "1st_manual", "mask"):
            (root / half / name).mkdir(parents=True)
        for n in numbers:
            rgb, vessels, fov = drawn(n)
            Image.fromarray(rgb).save(root / half / "images" / f"{n:02}_{half}.tif", compression="tiff_lzw")
            for folder, stem, mask in (
                ("1st_manual", f"{n:02}_manual1", vessels),
                ("mask", f"{n:02}_{half}_mask", fov),
            ):
                picture = Image.fromarray(mask.astype(np.uint8) * 255).convert("P")
                picture.save(root / half / folder / f"{stem}.gif")
    return root


def test_prepare_reads_drive_as_it_is(tmp_path, capsys):
    drive = write_drive(tmp_path / "DRIVE")
    command = ["prepare", "--data", str(drive), "--out", str(tmp_path / "out"), "--denoise", "median"]
    assert main(command) == 0
    assert "3 pictures" in capsys.readouterr().out
    samples = {s.stem: s for s in find_samples([tmp_path / "out"], "all")}
    assert {stem: s.split for stem, s in samples.items()} == {
        "21_training": "fit",
        "39_training": "validation",
        "01_test": "test",
    }
    before, after = (
        load(next(s for s in find_samples([r], "all") if s.stem == "01_test")) for r in (drive, tmp_path / "out")
    )
    assert after.rgb.shape[0] < before.rgb.shape[0]
    assert after.labels["vessel"].sum() == before.labels["vessel"].sum()
    assert after.fov.sum() == before.fov.sum()
    assert main(command) == 2  # never overwritten
    assert main(["prepare", "--data", str(drive), "--out", str(tmp_path / "o2"), "--denoise", "magic"]) == 2


@pytest.mark.parametrize("method", METHODS)
def test_denoising_keeps_what_a_vessel_is(method):
    rgb, vessels, fov = drawn(2)
    out = denoise(rgb, method)
    assert out.shape == rgb.shape
    assert out.dtype == np.uint8
    green = out[:, :, 1].astype(float)
    assert green[fov & ~vessels].mean() - green[vessels].mean() > 15
    if method in ("median", "bilateral"):
        inside = (fov & ~vessels)[:, 1:]
        grain, before = (np.abs(np.diff(g, axis=1))[inside].mean() for g in (green, rgb[:, :, 1].astype(float)))
        assert grain < 0.8 * before
    if method == "clahe":
        assert (out[:, :, 0] == rgb[:, :, 0]).all()
    if method == "none":
        assert (out == rgb).all()


def test_panels_are_original_truth_prediction_overlay(tmp_path):
    rgb, vessels, _ = drawn(0)
    write_panels(tmp_path / "a" / "four.png", rgb, vessels, vessels)
    write_panels(tmp_path / "three.png", rgb, None, vessels)
    four, three = (np.asarray(Image.open(p)) for p in (tmp_path / "a" / "four.png", tmp_path / "three.png"))
    assert four.shape[1] > 1.3 * three.shape[1]
    height, width = four.shape[0] - 22, (four.shape[1] - 3 * 8) // 4
    truth, prediction = (four[22:, i * (width + 8) : i * (width + 8) + width] for i in (1, 2))
    assert (truth == prediction).all()
    assert truth.min() == 0
    assert truth.max() == 255
    assert abs((truth[:, :, 0] > 127).mean() - vessels.mean()) < 0.02
    assert height > 400


def test_masks_of_other_classes(tmp_path):
    root = write_folder(tmp_path / "mine", 2)
    for i in range(2):
        (root / "classes" / "disc").mkdir(parents=True, exist_ok=True)
        _, _, fov = drawn(i)
        Image.fromarray(fov.astype(np.uint8) * 255).save(root / "classes" / "disc" / f"eye{i:02}.png")
    sample = find_samples([root], "all")[0]
    assert set(load(sample).labels) == {"vessel", "disc"}
    (root / "classes" / "disc" / "eye01.png").unlink()
    with pytest.raises(ValueError, match="disc"):
        find_samples([root], "all")


def test_the_six_steps(tmp_path, capsys):
    """prepare → build → compile → train → evaluate → predict, each as its own command."""
    data, run = write_folder(tmp_path / "mine", 4), tmp_path / "run"
    prepared = tmp_path / "prepared"
    assert main(["prepare", "--data", str(data), "--out", str(prepared)]) == 0
    assert main(["build", "--run", str(run), "--arch", "res-unet-tiny", "--fov-px", "224"]) == 0
    assert "1,830 weights" in capsys.readouterr().out
    assert (
        main(["compile", "--run", str(run), "--loss", "border", "--optimiser", "adam", "--learning-rate", "1e-3"]) == 0
    )
    assert "border" in capsys.readouterr().out
    assert main(["compile", "--run", str(run), "--loss", "none"]) == 2
    train = ["train", "--data", str(prepared), "--run", str(run), "--steps", "2", "--batch", "1", "--crop", "64"]
    assert main([*train, "--validate-every", "1"]) == 0
    model = str(run / "best.pt")
    panels = tmp_path / "panels"
    words = ["evaluate", "--data", str(prepared), "--model", model, "--split", "validation", "--panels", str(panels)]
    assert main(words) == 0
    assert len(list(panels.glob("*/*.png"))) == 1
    out = tmp_path / "masks"
    assert main(["predict", "--model", model, "--out", str(out), "--panels", str(data / "images")]) == 0
    assert len(list((out / "panels").iterdir())) == 4
    assert main(["compare", "--data", str(prepared), "--", str(run)]) == 0
    assert "res-unet-tiny" in capsys.readouterr().out
