"""Labelled pictures on disk: layouts, splits, decoding.

Layouts that are recognised by what lies in the folder:

- ``chase``: CHASE_DB1, ``images/Image_01L.jpg``, ``manual1/Image_01L_1stHO.png``, ``fov/Image_01L.png``.
- ``hrf``: ``images/01_dr.jpg``, ``manual1/01_dr.tif``, ``fov/01_dr_mask.tif``.
- ``drive``: ``{training,test}/{images,1st_manual,mask}``, ``21_training.tif`` ↔ ``21_manual1.gif`` ↔
  ``21_training_mask.gif``.
- ``folder``: any folder with ``images/`` and ``manual1/``, optional ``fov/``, paired by the stem of the picture, and an
  optional ``split.csv`` with the columns ``stem,split`` (``fit``, ``validation`` or ``test``). Masks of further classes
  lie in ``classes/<name>/`` (``classes/artery/eye7.png``).

Splits: ``fit`` (what gradients see), ``validation`` (epochs, thresholds), ``test`` (measured once, decides nothing);
``train`` is ``fit`` and ``validation`` together, the training split of the literature; ``all`` is everything.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from .canvas import Geometry, detect_mask, fit_geometry

SPLITS = ("fit", "validation", "train", "test", "all")
VESSEL = "vessel"
BACKGROUND = "background"
VESSEL_CLASSES = (VESSEL, "artery", "vein")
"""Classes whose pixels are vessel."""

_PICTURES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".gif", ".bmp", ".ppm", ".pgm"}
_LABEL_THRESHOLD = 127  # labels are read as convert("L") > 127; the other way round is a classic porting bug
_CHASE = re.compile(r"Image_(\d\d)[LR]$")
_HRF = re.compile(r"(\d\d)_(dr|g|h)$")
_DRIVE = re.compile(r"(\d\d)_(training|test)$")
_LICENCE = {"chase": "CC BY 4.0", "hrf": "CC BY 4.0"}


class DataError(ValueError):
    """A data set that cannot be read as it lies there."""


@dataclass(frozen=True)
class Sample:
    """One labelled picture. ``labels`` maps a class name to the path of its mask."""

    dataset: str
    layout: str
    stem: str
    split: str
    image: Path
    labels: dict[str, Path]
    fov: Path | None
    person: int = 0
    """Number of the person (or of the group of pictures that must not be parted); folds part by it."""

    @property
    def key(self) -> str:
        return f"{self.dataset}/{self.stem}"


@dataclass
class Picture:
    """A decoded sample: RGB uint8 [H, W, 3], boolean label planes, FOV mask [H, W], circle geometry."""

    rgb: np.ndarray
    labels: dict[str, np.ndarray]
    fov: np.ndarray
    geometry: Geometry


def find_samples(roots: Iterable[Path | str], split: str = "all") -> list[Sample]:
    """Samples of one split from data-set folders, or from folders whose children are data sets; sorted by key.

    Finding nothing is an error, never an empty list.
    """
    if split not in SPLITS:
        raise DataError(f"no split {split!r}: choose one of {', '.join(SPLITS)}")
    found: list[Sample] = []
    for root in map(Path, roots):
        if not root.is_dir():
            raise DataError(f"{root} is not a folder: give the folder of a data set")
        here = _read_layout(root)
        if not here:
            for child in sorted(p for p in root.iterdir() if p.is_dir()):
                here.extend(_read_layout(child))
        if not here:
            raise DataError(
                f"{root} holds no labelled pictures: expected images/ and manual1/, or training/ and test/ with "
                "images/ and 1st_manual/"
            )
        found.extend(here)
    chosen = sorted((s for s in found if in_split(s, split)), key=lambda s: s.key)
    if not chosen:
        raise DataError(f"no picture of split {split!r} in {', '.join(map(str, roots))}")
    return chosen


def fit_and_validation(
    roots: Iterable[Path | str], fold: tuple[int, int] | None = None, whole: bool = False
) -> tuple[list[Sample], list[Sample]]:
    """What gradients see, and what epochs and thresholds are chosen on.

    ``fold`` (k, K) takes as validation the persons of the training split whose number modulo K is k, instead of the
    usual ones. ``whole`` adds the test pictures to what gradients see: for measuring on *another* data set, never for
    weights that are shipped or measured on this one.
    """
    roots = list(roots)
    samples = find_samples(roots, "train")
    if fold is not None:
        k, count = fold
        if not 0 <= k < count:
            raise DataError(f"fold {k}/{count}: the number must be from 0 to {count - 1}")
        samples = [replace(s, split="validation" if s.person % count == k else "fit") for s in samples]
    fit = [s for s in samples if s.split == "fit"]
    held_out = [s for s in samples if s.split == "validation"]
    if whole:
        fit += [s for s in find_samples(roots, "all") if s.split == "test"]
    if not fit or not held_out:
        raise DataError("nothing is left to train on, or to validate: give more pictures or another fold")
    return sorted(fit, key=lambda s: s.key), held_out


def in_split(sample: Sample, split: str) -> bool:
    """Whether a sample belongs to a split; ``train`` is ``fit`` and ``validation``."""
    return split == "all" or sample.split == split or (split == "train" and sample.split in ("fit", "validation"))


def licence_of(layout: str) -> str:
    """Licence of a known public data set, or the word that it is not known."""
    return _LICENCE.get(layout, "not stated")


def _read_layout(root: Path) -> list[Sample]:
    if (root / "training" / "1st_manual").is_dir() or (root / "test" / "1st_manual").is_dir():
        return _read_drive(root)
    if (root / "images").is_dir() and (root / "manual1").is_dir():
        return _read_folder(root)
    return []


def _read_drive(root: Path) -> list[Sample]:
    samples = []
    for half in ("training", "test"):
        folder = root / half
        for image in _pictures(folder / "images"):
            match = _DRIVE.match(image.stem)
            if not match:
                raise DataError(f"{image}: expected a name like 21_{half}.tif")
            number = match[1]
            label = _one(folder / "1st_manual", f"{number}_manual1")
            if label is None:
                if half == "test":
                    continue  # the copies handed out since 2020 carry no test labels
                raise DataError(f"{image} has no label 1st_manual/{number}_manual1.gif")
            # 39 and 40 are the last of the training half; no two pictures of DRIVE show the same eye.
            split = "test" if half == "test" else "validation" if int(number) >= 39 else "fit"
            fov = _one(folder / "mask", f"{image.stem}_mask")
            samples.append(Sample(root.name, "drive", image.stem, split, image, {VESSEL: label}, fov, int(number)))
    return samples


def _read_folder(root: Path) -> list[Sample]:
    images = list(_pictures(root / "images"))
    stems = [p.stem for p in images]
    layout = "folder"
    if stems and all(_CHASE.match(s) for s in stems):
        layout = "chase"
    elif stems and all(_HRF.match(s) for s in stems):
        layout = "hrf"
    table = _split_table(root / "split.csv")
    samples = []
    for index, image in enumerate(images):
        label = _one(root / "manual1", image.stem, "_1stHO", "_manual1", "_manual")
        if label is None:
            raise DataError(f"{image} has no label in manual1/: name it {image.stem}.png, or move the picture away")
        labels = {VESSEL: label}
        for folder in sorted(p for p in (root / "classes").glob("*") if p.is_dir()):
            path = _one(folder, image.stem)
            if path is None:
                raise DataError(f"{image} has no mask of the class {folder.name}: add {folder / image.stem}.png")
            labels[folder.name] = path
        fov = _one(root / "fov", image.stem, "_mask", "_fov")
        split = _split_of(layout, image.stem, index, len(images), table)
        person = _person(layout, image.stem, index, len(images))
        samples.append(Sample(root.name, layout, image.stem, split, image, labels, fov, person))
    return samples


def _split_of(layout: str, stem: str, index: int, count: int, table: dict[str, str]) -> str:
    if table:
        if stem not in table:
            raise DataError(f"split.csv has no line for {stem}: add one with fit, validation or test")
        return table[stem]
    if layout == "chase":  # by child: two eyes of one child never lie on both sides
        child = int(_CHASE.match(stem)[1])
        return "test" if child >= 11 else "validation" if child == 10 else "fit"
    if layout == "hrf":
        number = int(_HRF.match(stem)[1])
        return "test" if number >= 6 else "validation" if number == 5 else "fit"
    # Nothing is known about persons here, so neighbours in name stay together: the last tenth validates.
    return "validation" if index >= count - max(1, count // 10) and count > 1 else "fit"


def _person(layout: str, stem: str, index: int, count: int) -> int:
    if layout in ("chase", "hrf"):
        return int((_CHASE if layout == "chase" else _HRF).match(stem)[1])
    return index * 10 // count  # ten blocks of neighbours, which may show one person


def _split_table(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    table = {}
    for row in rows:
        if row.get("split") not in ("fit", "validation", "test") or not row.get("stem"):
            raise DataError(f"{path}: expected the columns stem,split with split fit, validation or test; got {row}")
        table[row["stem"]] = row["split"]
    return table


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in _PICTURES and not p.name.startswith("."))


def _one(folder: Path, stem: str, *suffixes: str) -> Path | None:
    """The picture in ``folder`` that is called ``stem`` with one of the suffixes (or none)."""
    for suffix in ("", *suffixes):
        for extension in sorted(_PICTURES):
            for name in (f"{stem}{suffix}{extension}", f"{stem}{suffix}{extension.upper()}"):
                if (folder / name).is_file():
                    return folder / name
    return None


# --- decoding --------------------------------------------------------------------------------------------------------


def read_rgb(path: Path) -> np.ndarray:
    """RGB uint8 [H, W, 3]."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def read_mask(path: Path) -> np.ndarray:
    """Boolean mask: ``convert("L") > 127``. Palette, 1-bit and RGB files come out alike."""
    with Image.open(path) as image:
        return np.asarray(image.convert("L")) > _LABEL_THRESHOLD


def load(sample: Sample) -> Picture:
    """Decodes a sample and fits its field of view, from the set's own mask or, without one, from the picture."""
    rgb = read_rgb(sample.image)
    labels = {name: read_mask(path) for name, path in sample.labels.items()}
    fov = read_mask(sample.fov) if sample.fov else detect_mask(rgb)
    for name, plane in [*labels.items(), ("fov", fov)]:
        if plane.shape != rgb.shape[:2]:
            raise DataError(f"{sample.key}: {name} is {plane.shape[::-1]} px, the picture {rgb.shape[1::-1]} px")
    return Picture(rgb, labels, fov, fit_geometry(fov))


def class_planes(labels: dict[str, np.ndarray], classes: Sequence[str]) -> np.ndarray:
    """Target planes in the order of ``classes``, float32 [C, H, W]; background is what no other class covers."""
    missing = [c for c in classes if c != BACKGROUND and c not in labels]
    if missing:
        raise DataError(f"no labels for class {', '.join(missing)}: the data set has {', '.join(labels)}")
    planes = {name: np.asarray(plane, dtype=np.float32) for name, plane in labels.items()}
    covered = sum(planes[c] for c in classes if c != BACKGROUND)
    return np.stack([np.clip(1 - covered, 0, 1) if c == BACKGROUND else planes[c] for c in classes])
