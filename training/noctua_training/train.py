"""Training loop: loss, schedule, averaged weights, checkpoints that resume exactly, curves."""

from __future__ import annotations

import csv
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from . import model as networks
from .augment import AugmentConfig, Prepared, Sampler, prepare
from .canvas import Geometry, canvas_mask, canvas_size, normalise, to_canvas
from .data import BACKGROUND, VESSEL, Sample, class_planes, fit_and_validation, load
from .degrade import DEGRADED, degrade
from .loss import LOSSES, Loss
from .metrics import PooledScores

CHECKPOINT_FORMAT = 2
LAST, BEST = "last.pt", "best.pt"


THRESHOLDS = np.round(np.arange(0.2, 0.71, 0.02), 2)


@dataclass
class TrainConfig:
    """Everything that decides the weights. ``steps`` may be changed when a run is resumed."""

    arch: str = "res-unet"
    classes: tuple[str, ...] = (BACKGROUND, VESSEL)
    steps: int = 6000
    batch: int = 4
    optimiser: str = "adamw"
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    warmup_steps: int = 100
    ema_decay: float = 0.998
    loss: str = "dice"
    """``dice``: cross-entropy and Dice; ``border``: the paper's weight map; ``balanced``: the same without its border
    term; ``plain``: cross-entropy alone. See ``loss.py``."""
    dice_weight: float = 1.0
    border_weight: float = 10.0
    border_sigma_px: float = 5.0
    first_weight: float = 0.5
    """Weight of the loss of a cascade's earlier outputs."""
    pretrained: str = ""
    """State dict of torchvision's VGG16 for the encoder of ``vgg-unet``, which then stays frozen for half of the
    steps."""
    precision: str = "bf16"
    """``bf16`` runs convolutions in bfloat16 with float32 weights (1.8 times as fast where the CPU has it), or
    ``fp32``."""
    grad_clip: float = 5.0
    seed: int = 1
    checkpoint_every: int = 250
    validate_every: int = 500
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def validate(self) -> None:
        """Raises a sentence that says what is wrong and what to do."""
        for name in ("steps", "batch", "checkpoint_every", "validate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least 1")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}: it must lie in [0, 1)")
        choices = {"precision": ("bf16", "fp32"), "loss": LOSSES, "optimiser": ("adamw", "adam")}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}: choose one of {', '.join(known)}")
        if self.classes[0] != BACKGROUND:
            raise ValueError(f"classes are {', '.join(self.classes)}: the first must be {BACKGROUND}")


@dataclass
class ValidationPicture:
    """A held-out picture on the canonical canvas: network input, soft class targets, FOV mask.

    ``group`` is its data set, with a word where the picture was degraded; groups count alike.
    """

    key: str
    group: str
    image: torch.Tensor
    target: torch.Tensor
    fov: torch.Tensor


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine to zero at ``config.steps``."""
    warmup = min(config.warmup_steps, max(1, config.steps // 10))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, config.steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


class Averaged:
    """Exponential moving average of a network's weights and running statistics."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))  # young averages forget faster
        for key, value in model.state_dict().items():
            if value.dtype.is_floating_point:
                self.state[key].lerp_(value, 1 - decay)
            else:
                self.state[key].copy_(value)


class Trainer:
    """One run in one folder: ``last.pt``, ``best.pt``, ``history.csv``, ``curves.png``, ``config.json``."""

    def __init__(
        self,
        config: TrainConfig,
        pictures: Sequence[Prepared],
        validation: Sequence[ValidationPicture],
        folder: Path,
        log=print,
    ) -> None:
        config.validate()
        self.config, self.validation, self.folder, self.log = config, list(validation), folder, log
        self.keys = sorted(p.key for p in pictures)
        torch.manual_seed(config.seed)
        self.model = networks.build(config.arch, len(config.classes))
        if config.pretrained:
            if not hasattr(self.model, "load_pretrained"):
                raise ValueError(f"{config.arch} takes no pretrained weights: leave pretrained out, or use vgg-unet")
            self.model.load_pretrained(Path(config.pretrained))
        self.model = self.model.to(memory_format=torch.channels_last)
        self.loss = Loss(
            config.loss,
            config.dice_weight,
            config.border_weight if config.loss == "border" else 0.0,
            class_shares(pictures, len(config.classes)),
        )
        algorithm = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.optimiser]
        self.optimiser = algorithm(self.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        self.average = Averaged(self.model, config.ema_decay)
        self.sampler = Sampler(pictures, config.augment, torch.Generator().manual_seed(config.seed))
        self.step = 0
        self.history: list[dict[str, float]] = []
        self.recent: list[float] = []
        self.seconds = 0.0
        folder.mkdir(parents=True, exist_ok=True)

    # --- running ---

    def run(self, until: int | None = None) -> None:
        """Trains up to ``config.steps`` (or ``until``, without changing the schedule)."""
        c = self.config
        end = min(c.steps, until if until is not None else c.steps)
        started, first = time.monotonic(), self.step
        before = self.seconds
        while self.step < end:
            loss = self._one_step()
            self.recent.append(loss)
            if not math.isfinite(loss):
                raise FloatingPointError(f"the loss became {loss} at step {self.step}: lower --learning-rate")
            self.seconds = before + time.monotonic() - started
            if self.step % 50 == 0 or self.step == end:
                rate = (time.monotonic() - started) / max(1, self.step - first)
                left = rate * (c.steps - self.step)
                mean = float(np.mean(self.recent[-50:]))
                self.log(
                    f"step {self.step}/{c.steps}  loss {mean:.4f}  lr {learning_rate(self.step, c):.2e}  "
                    f"{rate:.2f} s/step  {left / 60:.0f} min left"
                )
            if self.validation and (self.step % c.validate_every == 0 or self.step == c.steps):
                self._validate()
            self.seconds = before + time.monotonic() - started
            if self.step % c.checkpoint_every == 0 or self.step == end:
                self.save(self.folder / LAST)

    def _one_step(self) -> float:
        c = self.config
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, c)
        images, target, fov, border = self.sampler.batch(c.batch)
        self.model.train()
        if c.pretrained:
            self.model.freeze_encoder(self.step < c.steps // 2)
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=c.precision == "bf16"):
            outputs = networks.supervised(self.model, images.contiguous(memory_format=torch.channels_last))
        *earlier, final = [self.loss(logits.float(), target, fov, border) for logits in outputs]
        loss = final + c.first_weight * sum(earlier)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), c.grad_clip)
        self.optimiser.step()
        self.step += 1
        self.average.update(self.model, self.step)
        return float(loss.detach())

    @torch.no_grad()
    def _validate(self) -> None:
        c = self.config
        model = averaged_model(c, self.average.state)
        losses: list[float] = []
        groups: dict[str, PooledScores] = {}
        vessel = c.classes.index(VESSEL) if VESSEL in c.classes else 1
        for picture in self.validation:
            logits = model(picture.image[None].contiguous(memory_format=torch.channels_last))
            border = torch.zeros_like(picture.fov)[None]  # the curve is to compare pictures, not their borders
            losses.append(float(self.loss(logits, picture.target[None], picture.fov[None], border)))
            probability = logits.softmax(dim=1)[0, vessel].numpy()
            groups.setdefault(picture.group, PooledScores()).add(
                probability, picture.target[vessel].numpy() > 0.5, picture.fov[0].numpy() > 0.5
            )
        sweep = [(float(t), float(np.mean([g.dice(float(t)) for g in groups.values()]))) for t in THRESHOLDS]
        threshold, best_dice = max(sweep, key=lambda pair: pair[1])
        row = {
            "step": self.step,
            "train_loss": float(np.mean(self.recent)) if self.recent else float("nan"),
            "validation_loss": float(np.mean(losses)),
            "validation_dice": float(np.mean([g.dice(0.5) for g in groups.values()])),
            "validation_best_dice": best_dice,
            "validation_best_threshold": threshold,
            "validation_auc": float(np.mean([g.auc() for g in groups.values()])),
            "learning_rate": learning_rate(self.step, c),
            "seconds": self.seconds,
        }
        for name, group in sorted(groups.items()):
            row[f"dice {name}"], row[f"auc {name}"] = group.dice(0.5), group.auc()
        self.recent = []
        is_best = all(row["validation_dice"] > old["validation_dice"] for old in self.history)
        self.history.append(row)
        shown = ("validation", "dice", "auc")
        self.log("  ".join(f"{k} {v:.4f}" for k, v in row.items() if k.startswith(shown)))
        write_history(self.folder, self.history)
        draw_curves(self.history, self.folder / "curves.png", len(self.keys) / c.batch)
        if is_best:
            self.save(self.folder / BEST)

    # --- checkpoints ---

    def save(self, path: Path) -> None:
        """Writes everything that a resumed run needs, in one step: a run killed while writing keeps the old file."""
        part = path.with_suffix(".part")
        torch.save(
            {
                "format": CHECKPOINT_FORMAT,
                "config": asdict(self.config),
                "keys": self.keys,
                "step": self.step,
                "seconds": self.seconds,
                "model": self.model.state_dict(),
                "average": self.average.state,
                "optimiser": self.optimiser.state_dict(),
                "sampler_rng": self.sampler.generator.get_state(),
                "torch_rng": torch.get_rng_state(),
                "history": self.history,
                "recent": self.recent,
            },
            part,
        )
        os.replace(part, path)

    def resume(self, path: Path) -> None:
        """Continues a run; refuses a checkpoint of other pictures or another recipe (``steps`` aside)."""
        state = read_checkpoint(path)
        ours, theirs = json_clean(asdict(self.config)), json_clean(state["config"])
        differing = sorted(k for k in ours if k != "steps" and ours[k] != theirs.get(k))
        if differing:
            raise ValueError(f"{path} has another {', '.join(differing)}: use the same, or a new --run folder")
        if state["keys"] != self.keys:
            raise ValueError(f"{path} was trained on other pictures: use the same --data, or a new --run folder")
        if state["step"] > self.config.steps:
            raise ValueError(f"{path} is at step {state['step']}, beyond --steps {self.config.steps}")
        self.model.load_state_dict(state["model"])
        self.average.state = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.sampler.generator.set_state(state["sampler_rng"])
        torch.set_rng_state(state["torch_rng"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.history, self.recent = state["history"], state["recent"]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Loads a checkpoint (tensors and plain values only, nothing that runs code)."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: train first, or name the run folder with --run")
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state.get("format") != CHECKPOINT_FORMAT:
        raise ValueError(f"{path} has checkpoint format {state.get('format')}, expected {CHECKPOINT_FORMAT}")
    return state


def json_clean(value: Any) -> Any:
    """The value as JSON would give it back (tuples become lists), for comparing and writing."""
    return json.loads(json.dumps(value))


def averaged_model(config: TrainConfig | dict[str, Any], state: dict[str, torch.Tensor]) -> nn.Module:
    """The network with averaged weights, ready for inference."""
    arch, classes = (config["arch"], config["classes"]) if isinstance(config, dict) else (config.arch, config.classes)
    model = networks.build(arch, len(classes))
    model.load_state_dict(state)
    return model.to(memory_format=torch.channels_last).eval()


# --- data ---


def class_shares(pictures: Sequence[Prepared], classes: int) -> np.ndarray:
    """Share of every class among the pixels inside the fields of view."""
    total = np.zeros(classes)
    for picture in pictures:
        planes = picture.levels[0].planes
        total += (planes[3 : 3 + classes].double() * (planes[-1:] > 127)).sum(dim=(1, 2)).numpy()
    return total / total.sum()


def load_training(
    samples: Sequence[Sample], classes: Sequence[str], fov_px: float, log=print, border_sigma_px: float = 0.0
) -> list[Prepared]:
    """Decodes and resamples the training pictures (in memory, at 1024 px: 12 MB for one of CHASE_DB1, 135 MB for
    one of HRF)."""
    prepared = []
    for i, sample in enumerate(samples, 1):
        picture = load(sample)
        prepared.append(prepare(sample.key, sample.dataset, picture, classes, fov_px, border_sigma_px))
        if i % 10 == 0 or i == len(samples):
            log(f"prepared {i}/{len(samples)} training pictures")
    return prepared


def load_validation(
    samples: Sequence[Sample], classes: Sequence[str], fov_px: float, degraded: bool = True
) -> list[ValidationPicture]:
    """Held-out pictures as the product would see them: canonical canvas, normalised, no augmentation.

    Each comes as it is and, with ``degraded``, in the ways of ``degrade.DEGRADED``: what another camera makes of it.
    """
    pictures = []
    size = canvas_size(fov_px)
    for sample in samples:
        picture = load(sample)
        target = to_canvas(class_planes(picture.labels, classes).transpose(1, 2, 0), picture.geometry, fov_px, size)
        for word in ("", *(DEGRADED if degraded else ())):
            rgb, geometry = (
                (picture.rgb, picture.geometry) if not word else degrade(picture.rgb, picture.geometry, word)
            )
            pictures.append(
                ValidationPicture(
                    sample.key,
                    f"{sample.dataset} {word}".strip(),
                    network_input(rgb, geometry, fov_px),
                    torch.from_numpy(target.transpose(2, 0, 1).copy()),
                    torch.from_numpy(canvas_mask(geometry, fov_px, size)[None].astype(np.float32)),
                )
            )
    return pictures


def network_input(rgb: np.ndarray, geometry: Geometry, fov_px: float) -> torch.Tensor:
    """What the network sees of a photograph, [3, S, S]."""
    size = canvas_size(fov_px)
    return torch.from_numpy(normalise(to_canvas(rgb, geometry, fov_px, size), canvas_mask(geometry, fov_px, size)))


def check_run_folder(folder: Path, resume: bool) -> None:
    """Raises where there is nothing to resume, and where a new run would overwrite one."""
    last = folder / LAST
    if resume and not last.is_file():
        raise FileNotFoundError(f"{last} does not exist: there is nothing to resume, leave --resume out")
    if not resume and last.exists():
        raise FileExistsError(f"{folder} already holds a run: add --resume to continue it, or choose another --run")


def train(
    config: TrainConfig,
    data: Sequence[Path],
    folder: Path,
    resume: bool,
    until: int | None = None,
    fold: tuple[int, int] | None = None,
    whole: bool = False,
) -> Trainer:
    """The ``train`` command: data from folders, run in ``folder``; resumes ``last.pt`` when told to.

    ``fold`` and ``whole`` say which pictures, see ``data.fit_and_validation``.
    """
    check_run_folder(folder, resume)
    fit, held_out = fit_and_validation(data, fold, whole)
    fov_px = config.augment.fov_px
    print(f"{len(fit)} pictures train, {len(held_out)} validate: {', '.join(s.key for s in held_out)}", flush=True)

    def log(line: str) -> None:
        print(time.strftime("%H:%M:%S"), line, flush=True)

    if config.precision == "bf16" and not has_bfloat16():
        log("warning: this CPU has no bfloat16 arithmetic and emulates it; --precision fp32 is many times as fast")
    trainer = Trainer(
        config,
        load_training(fit, config.classes, fov_px, log, config.border_sigma_px if config.loss == "border" else 0.0),
        load_validation(held_out, config.classes, fov_px),
        folder,
        log,
    )
    if resume:
        trainer.resume(folder / LAST)
        log(f"resumed at step {trainer.step}")
    (folder / "config.json").write_text(json.dumps(asdict(config), indent=2) + "\n", encoding="utf-8")
    (folder / "samples.json").write_text(json.dumps(training_sets(fit, held_out), indent=2) + "\n", encoding="utf-8")
    trainer.run(until)
    return trainer


def has_bfloat16() -> bool:
    """Whether the CPU computes in bfloat16 itself; taken for granted where it does not say."""
    said = getattr(torch.cpu, "get_capabilities", dict)()
    known = [said[name] for name in ("avx512_bf16", "amx_bf16", "bf16") if name in said]
    return any(known) or not known


def training_sets(fit: Sequence[Sample], held_out: Sequence[Sample]) -> list[dict[str, Any]]:
    """What went into the weights, by data set: number of pictures and stems, for the manifest."""
    sets = []
    for dataset in sorted({s.dataset for s in [*fit, *held_out]}):
        mine = [s for s in fit if s.dataset == dataset]
        checks = [s for s in held_out if s.dataset == dataset]
        layout = (mine or checks)[0].layout
        sets.append(
            {"name": dataset, "layout": layout, "fit": [s.stem for s in mine], "validation": [s.stem for s in checks]}
        )
    return sets


# --- history ---


def write_history(folder: Path, history: Sequence[dict[str, float]]) -> None:
    """``history.csv`` and ``history.json`` beside the checkpoints."""
    with (folder / "history.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]))
        writer.writeheader()
        writer.writerows(history)
    (folder / "history.json").write_text(json.dumps(list(history), indent=1) + "\n", encoding="utf-8")


def overfitting_from(history: Sequence[dict[str, float]]) -> int | None:
    """The step from which the curves part: held-out loss rises for good while training loss still falls; or ``None``.

    Told only where the last held-out loss is more than 2 % above its minimum.
    """
    losses = [row["validation_loss"] for row in history]
    lowest = int(np.argmin(losses))
    if lowest == len(losses) - 1 or losses[-1] <= 1.02 * losses[lowest]:
        return None
    return int(history[lowest]["step"]) if history[-1]["train_loss"] < history[lowest]["train_loss"] else None


def draw_curves(history: Sequence[dict[str, float]], path: Path, steps_an_epoch: float | None = None) -> None:
    """Loss of training and held-out pictures, and Dice, over the steps; the best epoch is marked, and overfitting."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    steps = [row["step"] for row in history]
    best = max(history, key=lambda row: row["validation_dice"])
    epoch = f" (epoch {best['step'] / steps_an_epoch:.0f})" if steps_an_epoch else ""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    left.plot(steps, [row["train_loss"] for row in history], "o-", ms=3, label="train (augmented crops)")
    left.plot(steps, [row["validation_loss"] for row in history], "o-", ms=3, label="test (held-out pictures)")
    left.set(xlabel="step", ylabel="loss", title="Loss")
    parted = overfitting_from(history)
    if parted is not None:
        left.axvspan(parted, steps[-1], color="tab:red", alpha=0.12, label=f"overfitting from step {parted}")
    right.plot(steps, [row["validation_dice"] for row in history], "o-", ms=3, label="threshold 0.5")
    right.plot(steps, [row["validation_best_dice"] for row in history], "o-", ms=3, label="best threshold")
    right.set(xlabel="step", ylabel="Dice, mean of the groups", title="Held-out pictures, on the canvas")
    for axis in (left, right):
        axis.axvline(best["step"], color="grey", ls="--", lw=1, label=f"best: step {best['step']}{epoch}")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
