"""The model card, written from the manifest and the training state. It states only what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_START, _END = "<!-- metrics: written by `record` -->", "<!-- end of metrics -->"
_ERRORS, _WEAKNESSES = "## Errors and range", "## Known weaknesses"
_COLUMNS = ("dice", "auc", "sensitivity", "specificity", "mcc", "worst picture dice", "ece")
_COLUMNS += ("density bias", "density mae", "interval coverage")


def render(
    manifest: dict[str, Any],
    state: dict[str, Any],
    sets: Sequence[dict[str, Any]],
    table: Sequence[dict[str, float]],
    golden_origin: str,
    difference: float,
    note: str = "",
) -> str:
    """The whole card as Markdown."""
    config = state["config"]
    parts = [
        f"# {manifest['name']} {manifest['version']}",
        "Finds retinal blood vessels in colour fundus photographs. Written by `python -m noctua_training export`; "
        "machine-readable in `manifest.json`.",
        "## Use",
        "A screening aid: masks and measures for a professional to look at. It makes no diagnosis and is not a medical "
        "device. Not meant for fluorescein angiograms, ultra-wide-field pictures, pictures without a visible round "
        "field of view, or anything but retinas; it does not notice by itself that a picture is none.",
        "## Input and output",
        f"RGB photograph, field of view brought to {manifest['input']['fov_diameter_px']:g} px on a canvas of "
        f"{manifest['input']['width_px']} × {manifest['input']['height_px']} px (triangle filter with antialiasing), "
        "each channel normalised by mean and deviation inside the field of view. Output: softmax over "
        f"{', '.join(manifest['output']['classes'])}. A pixel is vessel from probability {manifest['threshold']:.2f}. "
        + _averaging_text(manifest),
        "## Network and training",
        f"`{manifest['architecture']}`, {manifest['parameters']:,} weights. "
        f"{state['step']:,} of {config['steps']:,} steps, batch {config['batch']} crops of "
        f"{config['augment']['crop_px']} px, {config['optimiser']} {config['learning_rate']:g} with cosine decay, "
        f"averaged weights (decay {config['ema_decay']:g}), convolutions in {config['precision']}; loss "
        f"`{config['loss']}` (`loss.py`) with soft labels inside the field of view. "
        f"{state['seconds'] / 60:.0f} minutes on two shared CPU cores. Augmentation: rotation, flips, scale, stretch, "
        "gamma, gain, offset, channel mixing, low-frequency illumination, blur of many widths, coarser sensors, "
        "sharpening, noise, sometimes one grey channel, label borders that move; ranges in "
        "`training/noctua_training/augment.py`." + (f" {note}" if note else ""),
        "![loss and validation Dice over the steps](curves.png)",
        "The training loss is measured on augmented crops, the test loss on whole held-out pictures, as they are and "
        "degraded, so the two curves are not on one scale.",
        "## Data",
        _data_table(manifest, sets),
        "Test pictures (CHASE_DB1 11–14, HRF 06–15) chose neither weights nor checkpoint nor threshold.",
        "## Threshold",
        _threshold_text(manifest, table),
        "## Figures",
        f"{_START}\n{_END}",
        "## Golden tensors",
        f"`golden_input.f32` is a crop of {golden_origin}, preprocessed as above; `golden_output.f32` is what PyTorch "
        f"gives for it. At export ONNX Runtime and PyTorch differed by at most {difference:.1e} on random inputs of "
        "three shapes.",
        _ERRORS,
        _errors_text(manifest),
        _WEAKNESSES,
        "- Two cameras only (Nidek NM-200-D, Canon CR-1), one observer each, two European centres. How it does on a "
        "camera that it was not trained on is measured by leaving one of the two out (`docs/accuracy.md`), not on a "
        "third one.\n"
        f"- Details of pictures with more than {manifest['input']['fov_diameter_px']:g} px across the field of view "
        "are averaged before the network sees them.\n"
        "- The intervals hold for pictures like those of the two cameras; elsewhere they are too narrow.",
    ]
    return with_metrics("\n\n".join(parts) + "\n", manifest)


def with_metrics(text: str, manifest: dict[str, Any]) -> str:
    """The card with its table of figures rewritten from the manifest."""
    head, rest = text.split(_START, 1)
    tail = rest.split(_END, 1)[1]
    return f"{head}{_START}\n{_metrics_table(manifest)}\n{_END}{tail}"


def with_errors(text: str, manifest: dict[str, Any]) -> str:
    """The card with its section on errors and range rewritten from the manifest."""
    head, rest = text.split(_ERRORS, 1)
    tail = rest.split(_WEAKNESSES, 1)[1]
    return f"{head}{_ERRORS}\n\n{_errors_text(manifest)}\n\n{_WEAKNESSES}{tail}"


def _metrics_table(manifest: dict[str, Any]) -> str:
    groups: dict[tuple[str, str, str], dict[str, float]] = {}
    for metric in manifest["metrics"]:
        key = (metric["set"], metric["protocol"], metric.get("command", ""))
        groups.setdefault(key, {})[metric["name"]] = metric["value"]
    if not groups:
        return "None measured yet."
    lines = ["| set | " + " | ".join(_COLUMNS) + " |", "|---" * (len(_COLUMNS) + 1) + "|"]
    notes: list[str] = []
    for (name, protocol, command), values in groups.items():
        note = f"{protocol}." + (f" Command, from the repository's root: `{command}`" if command else "")
        if note not in notes:
            notes.append(note)
        cells = [f"{values[c]:.4f}" if c in values else "–" for c in _COLUMNS]
        lines.append(f"| {name} ({notes.index(note) + 1}) | " + " | ".join(cells) + " |")
    lines.append("")
    lines += [f"({i}) {note[0].upper()}{note[1:]}  " for i, note in enumerate(notes, 1)]
    return "\n".join(lines)


def _data_table(manifest: dict[str, Any], sets: Sequence[dict[str, Any]]) -> str:
    lines = ["| set | pictures with gradient | validation pictures | licence | source |", "|---|---|---|---|---|"]
    for entry, part in zip(manifest["training_data"], sets, strict=True):
        held = ", ".join(part["validation"]) or "–"
        lines.append(
            f"| {entry['name']} | {len(part['fit'])} | {held} | {entry['licence']} | {entry.get('citation', '–')} |"
        )
    return "\n".join(lines)


def _averaging_text(manifest: dict[str, Any]) -> str:
    flips = manifest.get("averaging", {}).get("flips", ["none"])
    if len(flips) == 1:
        return "One run of the network a picture."
    return f"The probabilities of {len(flips)} views are averaged ({', '.join(flips)}): {len(flips)} runs a picture."


def _errors_text(manifest: dict[str, Any]) -> str:
    lines = []
    if manifest.get("errors"):
        first = manifest["errors"][0]
        lines += [
            f"Half width of the {first['confidence']:.0%} interval of a measure: offset + slope · statistic. The "
            "statistic is the mean of p (1 − p) inside the field of view (mean-variance), or the measure itself "
            f"(value). Fitted on {first['images']} pictures ({first['source']}).",
            "",
            "| measure | statistic | offset | slope |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {e['measure']} | {e['statistic']} | {e['offset']:g} | {e['slope']:g} |" for e in manifest["errors"]
        ]
        lines.append("")
    if manifest.get("training_range"):
        lines += ["Pictures outside these ranges get a warning:", "", "| statistic | from | to |", "|---|---|---|"]
        lines += [f"| {r['statistic']} | {r['low']:g} | {r['high']:g} |" for r in manifest["training_range"]]
    return "\n".join(lines) or "Not fitted."


def _threshold_text(manifest: dict[str, Any], table: Sequence[dict[str, float]]) -> str:
    if not table:
        return f"{manifest['threshold']:.2f}, given by hand at export."
    names = [k for k in table[0] if k not in ("threshold", "mean")]
    near = [r for r in table if abs(r["threshold"] - manifest["threshold"]) <= 0.101 or r["threshold"] in (0.3, 0.5)]
    lines = [
        "Highest mean of the pooled Dice over the data sets, as they are (native resolution) and degraded (on the "
        "canvas), on held-out training pictures alone, grid 0.20 … 0.70 in steps of 0.02:",
        "",
        "| threshold | " + " | ".join(names) + " | mean |",
        "|---" * (len(names) + 2) + "|",
    ]
    for row in near:
        lines.append(f"| {row['threshold']:.2f} | " + " | ".join(f"{row[n]:.4f}" for n in [*names, "mean"]) + " |")
    return "\n".join(lines)
