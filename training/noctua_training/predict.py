"""From a photograph to a vessel mask on its own pixel grid, with a model folder or a training checkpoint."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .canvas import (
    CANVAS_PX,
    FOV_DIAMETER_PX,
    Geometry,
    canvas_mask,
    canvas_size,
    detect_mask,
    fit_geometry,
    normalise,
    to_canvas,
    to_source,
)
from .data import BACKGROUND, VESSEL, VESSEL_CLASSES, _pictures, read_rgb
from .panels import write_panels

FLIPS: dict[str, tuple[int, ...]] = {"none": (), "horizontal": (2,), "vertical": (1,), "both": (1, 2)}
"""Axes of [C, H, W] that a named flip turns round."""


@dataclass
class Segmenter:
    """A network with everything that its pictures need.

    ``network`` takes float32 [N, 3, H, W] and returns class probabilities [N, C, H, W].
    """

    name: str
    version: str
    classes: list[str]
    threshold: float
    network: Callable[[np.ndarray], np.ndarray]
    canvas_px: int = CANVAS_PX
    fov_px: float = FOV_DIAMETER_PX
    flips: tuple[str, ...] = ("none",)
    """Whose probabilities are averaged, names of ``FLIPS``; each is one more run of the network."""

    def canvas_probabilities(self, rgb: np.ndarray, geometry: Geometry) -> np.ndarray:
        """Class probabilities on the canonical canvas, float32 [C, canvas_px, canvas_px]."""
        mask = canvas_mask(geometry, self.fov_px, self.canvas_px)
        image = normalise(to_canvas(rgb, geometry, self.fov_px, self.canvas_px), mask)
        views = []
        for name in self.flips:
            axes = FLIPS[name]
            view = self.network(np.ascontiguousarray(np.flip(image, axes))[None])[0]
            views.append(np.flip(view, axes))
        return views[0] if len(views) == 1 else np.mean(views, axis=0, dtype=np.float32)

    def canvas_vessels(self, rgb: np.ndarray, geometry: Geometry) -> np.ndarray:
        """Probability of vessel on the canvas: of the class vessel, of arteries and of veins together."""
        planes = self.canvas_probabilities(rgb, geometry)
        return np.sum([p for p, name in zip(planes, self.classes, strict=True) if name in VESSEL_CLASSES], axis=0)

    def probability(self, rgb: np.ndarray, geometry: Geometry) -> np.ndarray:
        """Probability of vessel on the photograph's own pixel grid, float32 [H, W], zero outside the FOV."""
        return to_source(self.canvas_vessels(rgb, geometry), geometry, self.fov_px)

    def class_masks(self, rgb: np.ndarray, geometry: Geometry) -> dict[str, np.ndarray]:
        """Masks (uint8 [H, W], 0 or 255) of the classes beyond background and vessel, each from probability ½."""
        others = [i for i, name in enumerate(self.classes) if name not in (BACKGROUND, VESSEL)]
        if not others:
            return {}
        planes = self.canvas_probabilities(rgb, geometry)
        return {
            self.classes[i]: np.where(to_source(planes[i], geometry, self.fov_px) >= 0.5, 255, 0).astype(np.uint8)
            for i in others
        }

    def mask(self, rgb: np.ndarray, geometry: Geometry, threshold: float | None = None) -> np.ndarray:
        """Vessel mask, uint8 [H, W], 0 or 255."""
        cut = self.threshold if threshold is None else threshold
        return np.where(self.probability(rgb, geometry) >= np.float32(cut), 255, 0).astype(np.uint8)


def open_model(path: Path) -> Segmenter:
    """A model folder (runs in ONNX Runtime) or a checkpoint ``.pt`` (runs in PyTorch, averaged weights)."""
    if path.is_dir():
        return _open_folder(path)
    if path.suffix == ".pt":
        return _open_checkpoint(path)
    raise FileNotFoundError(f"{path}: give a model folder with manifest.json, or a checkpoint .pt")


def _open_folder(folder: Path) -> Segmenter:
    import onnxruntime

    path = folder / "manifest.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give the folder that export wrote")
    manifest = json.loads(path.read_text(encoding="utf-8"))
    given = manifest["input"]
    session = onnxruntime.InferenceSession(str(folder / manifest["file"]), providers=["CPUExecutionProvider"])
    output, entry = manifest["output"]["name"], given["name"]
    return Segmenter(
        manifest["name"],
        manifest["version"],
        manifest["output"]["classes"],
        manifest["threshold"],
        lambda image: session.run([output], {entry: image})[0],
        given["width_px"],
        given["fov_diameter_px"],
        tuple(manifest.get("averaging", {}).get("flips", ["none"])),
    )


def _open_checkpoint(path: Path) -> Segmenter:
    import torch

    from .train import averaged_model, read_checkpoint

    state = read_checkpoint(path)
    model = averaged_model(state["config"], state["average"])

    @torch.no_grad()
    def network(image: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(image).contiguous(memory_format=torch.channels_last)
        return model(x).softmax(dim=1).contiguous().numpy()

    config = state["config"]
    fov_px = config["augment"]["fov_px"]
    return Segmenter(
        path.stem, f"step {state['step']}", list(config["classes"]), 0.5, network, canvas_size(fov_px), fov_px
    )


def predict_folder(
    segmenter: Segmenter, pictures: Sequence[Path], out: Path, threshold: float | None, panels: bool = False
) -> int:
    """Writes ``<out>/<stem>.png`` for every picture; a bad one is reported and the rest go on. Exit code 1 if any.

    Classes beyond background and vessel go to ``<out>/<class>/<stem>.png``.

    ``panels`` adds ``<out>/panels/<stem>.png``: original, prediction, overlay.
    """
    paths = [p for given in pictures for p in (_pictures(given) if given.is_dir() else [given])]
    if not paths:
        raise FileNotFoundError("no pictures found: give picture files, or folders with jpg, png or tif files")
    stems = [p.stem for p in paths]
    doubled = sorted({s for s in stems if stems.count(s) > 1})
    if doubled:
        raise ValueError(f"two pictures are called {doubled[0]}: their masks would overwrite each other")
    out.mkdir(parents=True, exist_ok=True)
    started, bad = time.monotonic(), 0
    for i, path in enumerate(paths, 1):
        try:
            rgb = read_rgb(path)
            geometry = fit_geometry(detect_mask(rgb))
            mask = segmenter.mask(rgb, geometry, threshold)
            Image.fromarray(mask).save(out / f"{path.stem}.png")
            for name, other in segmenter.class_masks(rgb, geometry).items():
                (out / name).mkdir(exist_ok=True)
                Image.fromarray(other).save(out / name / f"{path.stem}.png")
            if panels:
                write_panels(out / "panels" / f"{path.stem}.png", rgb, None, mask > 0)
        except (OSError, ValueError) as fault:
            bad += 1
            print(f"{path}: {fault}", file=sys.stderr)
        left = (time.monotonic() - started) / i * (len(paths) - i)
        print(f"\r{i}/{len(paths)}  {left:.0f} s left ", end="", file=sys.stderr, flush=True)
    print(f"\n{len(paths) - bad} masks in {out}" + (f", {bad} pictures failed" if bad else ""), file=sys.stderr)
    return 1 if bad else 0
