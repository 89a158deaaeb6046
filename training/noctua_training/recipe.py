"""The recipe of a run: a ``TrainConfig`` that comes together step by step.

``build`` puts the network into the run folder's ``recipe.json``, ``compile`` the loss and the optimiser, and ``train``
adds what it is told; each later word wins. What nobody said is the architecture's preset, or the default.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from .augment import AugmentConfig
from .train import TrainConfig

FILE = "recipe.json"

PRESETS: dict[str, dict[str, Any]] = {
    # The paper: Adam 1e-4, 512 px, batch 2, cross-entropy with the weight map.
    "vgg-unet": {
        "loss": "border",
        "optimiser": "adam",
        "learning_rate": 1e-4,
        "weight_decay": 0.0,
        "batch": 2,
        "crop_px": 512,
        "fov_px": 480.0,
    },
}
"""What differs from the defaults, by architecture."""

_AUGMENT = {"crop_px", "fov_px"}
_KNOWN = {f.name for f in fields(TrainConfig)} - {"augment"} | _AUGMENT


def read(run: Path) -> dict[str, Any]:
    """What has been said about the run so far; nothing when nothing was."""
    path = run / FILE
    if not path.is_file():
        return {}
    said = json.loads(path.read_text(encoding="utf-8"))
    unknown = sorted(set(said) - _KNOWN)
    if unknown:
        raise ValueError(f"{path} has the unknown key {', '.join(unknown)}: known are {', '.join(sorted(_KNOWN))}")
    return said


def add(run: Path, words: dict[str, Any]) -> TrainConfig:
    """Adds words (``None`` is unsaid) to the run's recipe; returns the whole of it, checked."""
    said = read(run) | {k: v for k, v in words.items() if v is not None}
    config = complete(said)
    run.mkdir(parents=True, exist_ok=True)
    (run / FILE).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    return config


def complete(said: dict[str, Any]) -> TrainConfig:
    """The whole recipe from what was said of it."""
    words = PRESETS.get(said.get("arch", ""), {}) | said
    augment = AugmentConfig(**{k: v for k, v in words.items() if k in _AUGMENT})
    rest = {k: tuple(v) if k == "classes" else v for k, v in words.items() if k not in _AUGMENT}
    config = TrainConfig(**rest, augment=augment)
    config.validate()
    return config


def describe(config: TrainConfig) -> str:
    """The recipe as text."""
    words = asdict(config)
    augment = words.pop("augment")
    words |= {k: augment[k] for k in sorted(_AUGMENT)}
    return "\n".join(f"  {k:18} {v}" for k, v in words.items())
