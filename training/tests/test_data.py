"""Layouts and splits."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import drawn, write_folder
from PIL import Image

from noctua_training.data import DataError, class_planes, find_samples, load, read_mask


def stems(samples):
    return [s.stem for s in samples]


def write_named(root, names):
    """Tiny files: only names matter for splits."""
    for folder in ("images", "manual1"):
        (root / folder).mkdir(parents=True)
    for image, label in names:
        Image.new("RGB", (8, 8)).save(root / "images" / image)
        Image.new("L", (8, 8)).save(root / "manual1" / label)
    return root


def chase(root):
    return write_named(
        root, [(f"Image_{n:02}{side}.jpg", f"Image_{n:02}{side}_1stHO.png") for n in range(1, 15) for side in "LR"]
    )


def hrf(root):
    return write_named(
        root, [(f"{n:02}_{kind}.jpg", f"{n:02}_{kind}.tif") for n in range(1, 16) for kind in ("dr", "g", "h")]
    )


def test_splits_do_not_leak(tmp_path):
    roots = [chase(tmp_path / "CHASE_DB1"), hrf(tmp_path / "HRF")]
    parts = {split: set(stems(find_samples(roots, split))) for split in ("fit", "validation", "test", "train", "all")}
    assert parts["validation"] == {"Image_10L", "Image_10R", "05_dr", "05_g", "05_h"}
    assert parts["fit"].isdisjoint(parts["validation"])
    assert parts["train"] == parts["fit"] | parts["validation"]
    assert parts["train"].isdisjoint(parts["test"])
    assert parts["all"] == parts["train"] | parts["test"]
    assert (len(parts["fit"]), len(parts["test"])) == (30, 38)
    # By child: no child has eyes on two sides.
    children = {split: {s[6:8] for s in parts[split] if s.startswith("Image")} for split in parts}
    assert children["fit"].isdisjoint(children["validation"] | children["test"])
    assert children["test"] == {"11", "12", "13", "14"}


def test_a_folder_of_data_sets_is_the_same_as_its_parts(tmp_path):
    roots = [chase(tmp_path / "CHASE_DB1"), hrf(tmp_path / "HRF")]
    assert find_samples([tmp_path]) == find_samples(roots)


def write_drive(root):
    for half, numbers, kind in (("training", (21, 39, 40), "training"), ("test", (1, 2), "test")):
        for name in ("images", "1st_manual", "mask"):
            (root / half / name).mkdir(parents=True)
        for n in numbers:
            rgb, vessels, fov = drawn(n, 565, 584, 265)
            Image.fromarray(rgb).save(root / half / "images" / f"{n:02}_{kind}.tif")
            # Palette GIF as in DRIVE: index 0 black, index 1 white.
            for folder, name, plane in (
                ("1st_manual", f"{n:02}_manual1.gif", vessels),
                ("mask", f"{n:02}_{kind}_mask.gif", fov),
            ):
                palette = Image.fromarray(plane.astype(np.uint8), mode="P")
                palette.putpalette([0, 0, 0, 255, 255, 255] + [0] * 762)
                palette.save(root / half / folder / name)
    return root


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_drive_layout(tmp_path):
    root = write_drive(tmp_path / "DRIVE")
    assert stems(find_samples([root], "test")) == ["01_test", "02_test"]
    assert stems(find_samples([root], "train")) == ["21_training", "39_training", "40_training"]
    assert stems(find_samples([root], "validation")) == ["39_training", "40_training"]
    sample = find_samples([root], "fit")[0]
    picture = load(sample)
    _, vessels, fov = drawn(21, 565, 584, 265)
    assert picture.rgb.shape == (584, 565, 3)
    assert (picture.labels["vessel"] == vessels).all()
    assert (picture.fov == fov).all()
    assert picture.geometry.radius == pytest.approx(265, abs=0.5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_drive_without_test_labels(tmp_path):
    root = write_drive(tmp_path / "DRIVE")
    for path in (root / "test" / "1st_manual").iterdir():
        path.unlink()
    assert len(find_samples([root], "all")) == 3
    (root / "training" / "1st_manual" / "21_manual1.gif").unlink()
    with pytest.raises(DataError, match="21_manual1"):
        find_samples([root], "all")


@pytest.mark.parametrize("fov", [True, False])
def test_plain_folder(tmp_path, fov):
    root = write_folder(tmp_path / "mine", 12, fov)
    assert stems(find_samples([root], "validation")) == ["eye11"]
    with pytest.raises(DataError, match="no picture of split 'test'"):
        find_samples([root], "test")
    picture = load(find_samples([root], "fit")[0])
    rgb, vessels, _ = drawn(0)
    assert (picture.rgb == rgb).all()
    assert (picture.labels["vessel"] == vessels).all()
    assert picture.geometry.radius == pytest.approx(140, abs=2.5)


def test_split_table(tmp_path):
    root = write_folder(tmp_path / "mine", 3)
    (root / "split.csv").write_text("stem,split\neye00,test\neye01,fit\neye02,validation\n")
    assert stems(find_samples([root], "test")) == ["eye00"]
    (root / "split.csv").write_text("stem,split\neye00,test\neye01,fit\n")
    with pytest.raises(DataError, match="eye02"):
        find_samples([root])


def test_faults_are_named(tmp_path):
    with pytest.raises(DataError, match="not a folder"):
        find_samples([tmp_path / "none"])
    with pytest.raises(DataError, match="no labelled pictures"):
        find_samples([tmp_path])
    root = write_folder(tmp_path / "mine", 2)
    (root / "manual1" / "eye01.png").unlink()
    with pytest.raises(DataError, match="eye01"):
        find_samples([root])
    Image.new("L", (5, 5)).save(root / "manual1" / "eye01.png")
    with pytest.raises(DataError, match="vessel is \\(5, 5\\)"):
        load(find_samples([root], "validation")[0])


def test_label_polarity_and_limit(tmp_path):
    Image.fromarray(np.array([[0, 127, 128, 255]], np.uint8)).save(tmp_path / "l.png")
    assert read_mask(tmp_path / "l.png").tolist() == [[False, False, True, True]]


def test_class_planes_follow_the_names():
    artery, vein = np.array([[1, 0, 0]], bool), np.array([[0, 1, 0]], bool)
    planes = class_planes({"artery": artery, "vein": vein}, ["background", "artery", "vein"])
    assert planes[:, 0].tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    with pytest.raises(DataError, match="disc"):
        class_planes({"vessel": artery}, ["background", "disc"])


def test_real_sets(shared):
    samples = find_samples([shared])
    assert len(samples) == 73
    for sample in (s for s in samples if s.stem in ("Image_01L", "05_dr")):
        picture = load(sample)
        fit = picture.geometry.mask()
        assert 2 * (fit & picture.fov).sum() / (fit.sum() + picture.fov.sum()) > 0.995
        assert 0.04 < picture.labels["vessel"][picture.fov].mean() < 0.16
