"""The ``compare`` command: runs of one recipe side by side, on the pictures that they held out."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from .certainty import look, own_samples
from .metrics import PooledScores
from .model import build, parameter_count
from .predict import open_model
from .train import BEST, read_checkpoint


def compare(runs: Sequence[Path], data: Sequence[Path], flips: Sequence[str]) -> str:
    """A Markdown table: Dice at threshold ½ and AUC at native resolution, by data set, as it is and degraded.

    The time is that of PyTorch in float32 for one canvas on this machine: only ratios mean something.
    """
    tables = [_row(run, data, flips) for run in runs]
    groups = sorted({name for row in tables for name in row["groups"]})
    head = ["run", "network", "weights", "FOV px", "s a picture", *groups, "mean Dice", "mean AUC", "best threshold"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in tables:
        scores = [row["groups"].get(name) for name in groups]
        cells = [row["run"], row["arch"], f"{row['weights']:,}", f"{row['fov_px']:g}", f"{row['seconds']:.2f}"]
        cells += ["–" if s is None else f"{s.dice(0.5):.4f}" for s in scores]
        known = [s for s in scores if s is not None]
        best = max(np.round(np.arange(0.2, 0.81, 0.02), 2), key=lambda t: np.mean([s.dice(float(t)) for s in known]))
        cells += [
            f"{np.mean([s.dice(0.5) for s in known]):.4f}",
            f"{np.mean([s.auc() for s in known]):.4f}",
            f"{best:.2f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _row(run: Path, data: Sequence[Path], flips: Sequence[str]) -> dict:
    state = read_checkpoint(run / BEST)
    segmenter = open_model(run / BEST)
    segmenter.flips = tuple(flips)
    sets = json.loads((run / "samples.json").read_text(encoding="utf-8"))
    groups: dict[str, PooledScores] = {}
    for picture in look(segmenter, own_samples(data, sets, "validation")):
        for way, scores in picture.scores.items():
            groups.setdefault(f"{picture.sample.dataset} {way}".strip(), PooledScores()).merge(scores)
    network = build(state["config"]["arch"], len(state["config"]["classes"]))
    image = torch.zeros(1, 3, segmenter.canvas_px, segmenter.canvas_px).numpy()
    segmenter.network(image)
    started = time.monotonic()
    segmenter.network(image)
    return {
        "run": run.name,
        "arch": state["config"]["arch"],
        "weights": parameter_count(network),
        "fov_px": segmenter.fov_px,
        "seconds": time.monotonic() - started,
        "groups": groups,
    }
