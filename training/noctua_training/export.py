"""From a training run to a model folder: ONNX, manifest, golden tensors, curves, model card."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from . import card
from .canvas import canvas_mask, canvas_size, detect_mask, fit_geometry, normalise, to_canvas
from .certainty import HeldOut, choose_threshold, fit_errors, look, own_samples, training_range
from .data import licence_of
from .degrade import DEGRADED
from .model import ResidualBlock, parameter_count
from .predict import FLIPS, Segmenter, open_model
from .train import BEST, averaged_model, read_checkpoint

OPSET = 17
INPUT_NAME = "image"
OUTPUT_NAME = "probabilities"
GOLDEN_PX = 128
GOLDEN_TOLERANCE = 1e-4
SPATIAL_MULTIPLE = 32

_CITATIONS = {
    "chase": "Fraz et al., IEEE Trans. Biomed. Eng. 59(9), 2012 (Kingston University)",
    "hrf": "Budai et al., Int. J. Biomed. Imaging 2013, 154860 (FAU Erlangen)",
}


class Probabilities(nn.Module):
    """The exported graph: network and softmax over the classes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.model(image).softmax(dim=1)


def folded(model: nn.Module) -> nn.Module:
    """A copy in which every batch norm of a residual block is folded into the convolution before it."""
    model = copy.deepcopy(model).eval().to(memory_format=torch.contiguous_format)
    for block in (m for m in model.modules() if isinstance(m, ResidualBlock)):
        if not isinstance(block.norm1, nn.BatchNorm2d):
            continue
        block.conv1, block.norm1 = fuse_conv_bn_eval(block.conv1, block.norm1), nn.Identity()
        block.conv2, block.norm2 = fuse_conv_bn_eval(block.conv2, block.norm2), nn.Identity()
    return model


def write_onnx(model: nn.Module, path: Path) -> None:
    """Writes the folded network with softmax; N, H and W are dynamic. A half-written file is never left behind."""
    import onnx

    part = path.with_name(path.name + ".part")
    torch.onnx.export(
        Probabilities(folded(model)).eval(),
        (torch.zeros(1, 3, GOLDEN_PX, GOLDEN_PX),),
        str(part),
        input_names=[INPUT_NAME],
        output_names=[OUTPUT_NAME],
        dynamic_axes={
            INPUT_NAME: {0: "N", 2: "H", 3: "W"},
            OUTPUT_NAME: {0: "N", 2: "H", 3: "W"},
        },
        opset_version=OPSET,
        do_constant_folding=True,
        dynamo=False,  # the older exporter needs no further package and writes the same small graph
    )
    onnx.checker.check_model(str(part), full_check=True)
    os.replace(part, path)


def check_against_torch(model: nn.Module, path: Path, shapes=((1, 128, 128), (2, 96, 160), (1, 800, 800))) -> float:
    """Largest difference between ONNX Runtime and PyTorch over several shapes; raises beyond the golden tolerance."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    reference = Probabilities(model).eval()
    rng = np.random.default_rng(7)
    worst = 0.0
    for n, h, w in shapes:
        image = rng.standard_normal((n, 3, h, w), dtype=np.float32)
        ours = session.run([OUTPUT_NAME], {INPUT_NAME: image})[0]
        with torch.no_grad():
            theirs = reference(torch.from_numpy(image)).numpy()
        worst = max(worst, float(np.abs(ours - theirs).max()))
    if worst > GOLDEN_TOLERANCE:
        raise ValueError(f"ONNX Runtime and PyTorch differ by {worst:.2e}, more than {GOLDEN_TOLERANCE}")
    return worst


def golden_input(fov_px: float) -> tuple[np.ndarray, str]:
    """Network input [1, 3, 128, 128] and where it comes from: the CC0 retina photograph, or a drawn stand-in."""
    try:
        from skimage import data

        rgb, origin = data.retina(), "the CC0 retina photograph of scikit-image (skimage.data.retina, Mikael Häggström)"
    except (ImportError, OSError, ValueError) as fault:
        print(
            f"note: skimage.data.retina is not to be had ({fault}); golden tensors use a drawn picture", file=sys.stderr
        )
        rgb, origin = _drawn_retina(), "a drawn disc with dark branches"
    geometry = fit_geometry(detect_mask(rgb))
    size = canvas_size(fov_px)
    canvas = normalise(to_canvas(rgb, geometry, fov_px, size), canvas_mask(geometry, fov_px, size))
    low = (size - GOLDEN_PX) // 2
    crop = canvas[None, :, low : low + GOLDEN_PX, low : low + GOLDEN_PX]
    return np.ascontiguousarray(crop, dtype="<f4"), origin


def _drawn_retina(size: int = 600) -> np.ndarray:
    y, x = np.mgrid[0:size, 0:size] + 0.5 - size / 2
    inside = np.hypot(x, y) < 0.47 * size
    shade = 1 - 0.4 * np.hypot(x, y) / size
    vessel = np.exp(-(((y - 40 * np.sin(x / 60)) / 5) ** 2)) + np.exp(-(((x - 30 * np.sin(y / 40)) / 3) ** 2))
    planes = [
        level * shade * (1 - depth * np.clip(vessel, 0, 1)) for level, depth in ((190, 0.15), (110, 0.4), (60, 0.3))
    ]
    return (np.stack(planes, axis=2) * inside[:, :, None]).astype(np.uint8)


def export(
    run: Path,
    checkpoint: str,
    out: Path,
    version: str,
    threshold: float | None,
    data: Sequence[Path] | None,
    licence: str,
    note: str = "",
    folds: Sequence[Path] = (),
    flips: Sequence[str] = ("none",),
) -> Path:
    """The ``export`` command. Returns the model folder; everything in it is checked before it returns.

    ``folds`` are runs of the same recipe on folds of the training split: threshold and errors then come from their
    held-out pictures and the run's own, else from the run's own alone.
    """
    unknown = sorted(set(flips) - set(FLIPS))
    if unknown or not flips:
        raise ValueError(f"no flip {', '.join(unknown)}: choose from {', '.join(FLIPS)}")
    state = read_checkpoint(run / checkpoint)
    if threshold is None and not data:
        raise ValueError("no threshold: give --data with the validation pictures, or --threshold")
    config, classes = state["config"], list(state["config"]["classes"])
    model = averaged_model(config, state["average"]).to(memory_format=torch.contiguous_format)
    out.mkdir(parents=True, exist_ok=True)

    write_onnx(model, out / "model.onnx")
    difference = check_against_torch(model, out / "model.onnx")
    fov_px = config["augment"]["fov_px"]
    canvas_px = canvas_size(fov_px)
    image, origin = golden_input(fov_px)
    with torch.no_grad():
        expected = Probabilities(model)(torch.from_numpy(image)).numpy().astype("<f4")
    (out / "golden_input.f32").write_bytes(image.tobytes())
    (out / "golden_output.f32").write_bytes(np.ascontiguousarray(expected).tobytes())

    sets = json.loads((run / "samples.json").read_text(encoding="utf-8"))
    table: list[dict[str, float]] = []
    manifest: dict[str, Any] = {
        "schema": "noctua.model.v1",
        "name": out.name,
        "version": version,
        "file": "model.onnx",
        "sha256": hashlib.sha256((out / "model.onnx").read_bytes()).hexdigest(),
        "licence": licence,
        "architecture": config["arch"],
        "parameters": parameter_count(model),
        "input": {
            "name": INPUT_NAME,
            "layout": "NCHW",
            "channels": "RGB",
            "width_px": canvas_px,
            "height_px": canvas_px,
            "fov_diameter_px": fov_px,
            "resampling": "triangle-antialias",
            "normalisation": "fov-mean-std",
        },
        "output": {"name": OUTPUT_NAME, "activation": "softmax", "classes": classes},
        "threshold": 0.5 if threshold is None else threshold,
        "averaging": {"flips": list(flips), "cost": len(flips)},
        "training_data": [_training_entry(s) for s in sets],
        "metrics": [],
        "golden": {
            "input": "golden_input.f32",
            "input_shape": list(image.shape),
            "output": "golden_output.f32",
            "output_shape": list(expected.shape),
            "tolerance": GOLDEN_TOLERANCE,
        },
    }
    write_manifest(out, manifest)
    if data:
        held_out, source = _held_out(out, run, folds, data, sets, flips)
        if threshold is None:
            manifest["threshold"], table = choose_threshold(held_out)
            row = next(r for r in table if r["threshold"] == manifest["threshold"])
            manifest["metrics"] = [
                {
                    "set": f"{name}, held-out pictures",
                    "name": "dice",
                    "value": round(row[name], 4),
                    "protocol": f"pooled inside the field of view, native resolution; {source}; they chose it",
                }
                for name in row
                if name not in ("threshold", "mean")
            ]
        manifest["errors"] = fit_errors(held_out, manifest["threshold"], source)
        finest = config["augment"]["sensor_fov_px"][0]
        manifest["training_range"] = training_range(own_samples(data, sets, "fit"), fov_px, canvas_px, finest)
        write_manifest(out, manifest)
    if state["history"]:
        from .train import draw_curves

        draw_curves(state["history"], out / "curves.png", len(state["keys"]) / config["batch"])
    elif (run / "curves.png").is_file():
        shutil.copyfile(run / "curves.png", out / "curves.png")
    text = card.render(manifest, state, sets, table, origin, difference, note)
    (out / "README.md").write_text(text, encoding="utf-8")
    print(
        f"wrote {out}: step {state['step']}, threshold {manifest['threshold']:.2f}, "
        f"ONNX Runtime against PyTorch {difference:.1e}",
        file=sys.stderr,
    )
    return out


RECORDED = (
    "dice",
    "auc",
    "sensitivity",
    "specificity",
    "mcc",
    "ece",
    "density bias",
    "density mae",
    "interval coverage",
)
"""Figures of a data set that ``record`` keeps, besides the worst picture's Dice."""


def record(folder: Path, results: Sequence[Path]) -> None:
    """The ``record`` command: puts outputs of ``evaluate --json``, of this program or of Go's, into manifest and card.

    Refuses figures of another model, version or threshold. Recording a set again replaces its older figures.
    """
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for path in results:
        parsed = json.loads(path.read_text(encoding="utf-8"))
        for result in map(_in_our_words, parsed if isinstance(parsed, list) else [parsed]):
            for name, ours in (("model", "name"), ("version", "version"), ("threshold", "threshold")):
                if result[name] != manifest[ours]:
                    raise ValueError(
                        f"{path} was measured with {name} {result[name]}, the manifest has {manifest[ours]}"
                    )
            for entry in result["sets"]:
                _record_set(manifest, result, entry)
    write_manifest(folder, manifest)
    readme = folder / "README.md"
    readme.write_text(card.with_metrics(readme.read_text(encoding="utf-8"), manifest), encoding="utf-8")


def _record_set(manifest: dict[str, Any], result: dict[str, Any], entry: dict[str, Any]) -> None:
    label = f"{entry['set']} {result['split']}, {entry['images']} pictures"
    kept = [m for m in manifest["metrics"] if m["set"] != label or m["protocol"] != result["protocol"]]
    values = {k: entry[k] for k in RECORDED if entry.get(k) is not None}
    values["worst picture dice"] = min(row["dice"] for row in entry["per_image"])
    manifest["metrics"] = kept + [
        {
            "set": label,
            "name": name,
            "value": round(value, 4),
            "protocol": result["protocol"],
            "command": result["command"],
        }
        for name, value in values.items()
    ]


def _in_our_words(result: dict[str, Any]) -> dict[str, Any]:
    """An output of ``noctua evaluate --json`` as one of this program; ours as it is."""
    if not isinstance(result["model"], dict):
        for entry in result["sets"]:
            entry |= {"density bias": entry["density_bias"], "density mae": entry["density_mae"]}
        return result
    summary, model = result["summary"], result["model"]
    entry = {k: result[k] for k in ("images", "dice", "auc", "sensitivity", "specificity", "mcc", "per_image")}
    entry |= {
        "set": result["layout"] if result["layout"] != "folder" else Path(result["dataset"]).name,
        "ece": result["calibration"]["ece"],
        "density bias": summary["stated_density"]["bias"],
        "density mae": summary["stated_density"]["mae"],
        "interval coverage": summary["coverage"].get("share"),
    }
    command = f"bin/noctua evaluate {result['dataset']} --split {result['split']} --model models/{model['name']} --json"
    return {k: model[k] for k in ("version", "threshold")} | {
        "model": model["name"],
        "split": result["split"],
        "protocol": result["protocol"] + "; densities as stated in the results; Go program",
        "command": command,
        "sets": [entry],
    }


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Checks the manifest against the repository's schema and replaces the file in one step."""
    import jsonschema

    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", manifest["name"]):
        raise ValueError(f"{manifest['name']!r} cannot name a model: use small letters, digits and hyphens for --out")
    schema = _schema_path()
    if schema is None:
        print("warning: schemas/model.v1.schema.json not found, the manifest was NOT checked", file=sys.stderr)
    else:
        jsonschema.validate(manifest, json.loads(schema.read_text(encoding="utf-8")))
    part = folder / "manifest.json.part"
    part.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, folder / "manifest.json")


def _schema_path() -> Path | None:
    for parent in Path(__file__).resolve().parents:
        candidate = parent / "schemas" / "model.v1.schema.json"
        if candidate.is_file():
            return candidate
    return None


def _training_entry(entry: dict[str, Any]) -> dict[str, Any]:
    held = ", ".join(entry["validation"])
    line = {
        "name": entry["name"],
        "split": f"training split; of it held out for validation: {held}" if held else "training split",
        "images": max(1, len(entry["fit"])),
        "licence": licence_of(entry["layout"]),
    }
    if entry["layout"] in _CITATIONS:
        line["citation"] = _CITATIONS[entry["layout"]]
    return line


def _held_out(
    folder: Path,
    run: Path,
    folds: Sequence[Path],
    data: Sequence[Path],
    sets: Sequence[dict[str, Any]],
    flips: Sequence[str],
) -> tuple[list[HeldOut], str]:
    """What the model says of its run's held-out pictures, and the fold runs of theirs; and where that comes from."""
    segmenter = open_model(folder)
    held_out = look(segmenter, own_samples(data, sets, "validation"))
    source = f"{len(held_out)} held-out pictures of the run"
    held_out += _held_out_by_folds(segmenter, folds, data, flips)
    if folds:
        source += f", and {len(held_out)} in all with those of {_runs(folds)}"
    return held_out, source


def _held_out_by_folds(
    segmenter: Segmenter,
    folds: Sequence[Path],
    data: Sequence[Path],
    flips: Sequence[str],
    ways: Sequence[str] = tuple(DEGRADED),
) -> list[HeldOut]:
    """What the networks of fold runs say of the pictures that they held out, seen as ``segmenter`` sees them."""
    held_out = []
    for fold in folds:
        theirs = json.loads((fold / "samples.json").read_text(encoding="utf-8"))
        network = open_model(fold / BEST)
        if network.fov_px != segmenter.fov_px or network.classes != segmenter.classes:
            raise ValueError(f"{fold} was trained with another field of view or other classes than {segmenter.name}")
        network.flips = tuple(flips)
        held_out += look(network, own_samples(data, theirs, "validation"), ways=ways)
    return held_out


def _runs(folds: Sequence[Path]) -> str:
    count = "a run" if len(folds) == 1 else f"{len(folds)} runs"
    return f"{count} of the recipe on folds of the training split"


def refit_errors(folder: Path, version: str, folds: Sequence[Path], data: Sequence[Path]) -> None:
    """The ``errors`` command: fits the errors of an exported model's measures again; everything else stays.

    ``folds`` are runs of the same recipe that together hold out every training picture. The version must change, since
    results state it.
    """
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    if version == manifest["version"]:
        raise ValueError(f"{folder} is version {version} already: results of other errors need another one")
    segmenter = open_model(folder)
    held_out = _held_out_by_folds(segmenter, folds, data, segmenter.flips, ways=())
    keys = [h.sample.key for h in held_out]
    if len(set(keys)) < len(keys):
        raise ValueError("the folds hold out the same pictures: give each fold of one division once")
    source = f"the pictures that {_runs(folds)} held out"
    manifest["errors"] = fit_errors(held_out, manifest["threshold"], source)
    old, manifest["version"] = manifest["version"], version
    write_manifest(folder, manifest)
    readme = folder / "README.md"
    text = card.with_errors(readme.read_text(encoding="utf-8"), manifest)
    readme.write_text(
        text.replace(f"# {manifest['name']} {old}", f"# {manifest['name']} {version}", 1), encoding="utf-8"
    )
