"""Command line: ``python -m noctua_training {train,evaluate,export,record,predict} --help``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; faults of use or data are one sentence on stderr and exit code 2."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options) or 0
    except (ValueError, FileNotFoundError, FileExistsError, FloatingPointError) as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; continue a training run with --resume", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m noctua_training", description="Trains, evaluates and exports Noctua's retinal vessel U-Nets."
    )
    commands = parser.add_subparsers(required=True, metavar="{train,evaluate,export,record,predict}")

    train = commands.add_parser("train", help="train a network on labelled folders; resumes exactly")
    _data(train)
    train.add_argument("--run", type=Path, required=True, metavar="DIR", help="folder for checkpoints and curves")
    train.add_argument("--resume", action="store_true", help="continue the run that lies in --run")
    train.add_argument("--steps", type=int, default=6000, help="optimiser steps; may be changed on resume (6000)")
    train.add_argument("--until", type=int, metavar="STEP", help="stop here without changing the schedule")
    train.add_argument("--batch", type=int, default=4, help="crops a step (4)")
    train.add_argument("--learning-rate", type=float, default=3e-3, help="peak of the cosine (0.003)")
    train.add_argument("--arch", default="res-unet", help="network (res-unet)")
    train.add_argument("--classes", default="background,vessel", help="class names, background first")
    train.add_argument("--seed", type=int, default=1)
    train.add_argument("--validate-every", type=int, default=500, metavar="STEPS")
    train.add_argument("--checkpoint-every", type=int, default=250, metavar="STEPS")
    train.add_argument("--threads", type=int, help="CPU threads (default: what PyTorch takes)")
    train.set_defaults(command=_train)

    evaluate = commands.add_parser("evaluate", help="pooled Dice, AUC, sensitivity, specificity, MCC of a model")
    _data(evaluate)
    evaluate.add_argument("--model", type=Path, required=True, help="model folder (manifest.json) or checkpoint (.pt)")
    evaluate.add_argument("--split", default="test", help="fit, validation, train, test or all (test)")
    evaluate.add_argument("--threshold", type=float, help="default: the manifest's, 0.5 for a checkpoint")
    evaluate.add_argument("--own-fov", action="store_true", help="find the field of view in the picture, ignore fov/")
    evaluate.add_argument("--json", action="store_true", help="print JSON")
    evaluate.set_defaults(command=_evaluate)

    export = commands.add_parser("export", help="write models/<name>/: ONNX, manifest, golden tensors, model card")
    export.add_argument("--run", type=Path, required=True, metavar="DIR", help="folder of the training run")
    export.add_argument("--checkpoint", default="best.pt", help="file in the run folder (best.pt)")
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="models/<name>; names the model")
    export.add_argument("--version", required=True, help="version of the weights, e.g. 1.0.0")
    export.add_argument("--threshold", type=float, help="default: chosen on the validation pictures of --data")
    export.add_argument("--data", type=Path, nargs="+", metavar="DIR", help="where the validation pictures are")
    export.add_argument("--licence", default="Apache-2.0", help="licence of the weights (Apache-2.0)")
    export.add_argument("--note", default="", help="a sentence for the model card, e.g. how the run was interrupted")
    export.set_defaults(command=_export)

    record = commands.add_parser("record", help="put outputs of evaluate --json into manifest and model card")
    record.add_argument("--model", type=Path, required=True, metavar="DIR", help="model folder")
    record.add_argument("results", type=Path, nargs="+", metavar="JSON", help="outputs of evaluate --json")
    record.set_defaults(command=_record)

    predict = commands.add_parser("predict", help="vessel masks (0 and 255) for a folder of pictures")
    predict.add_argument("--model", type=Path, required=True, help="model folder (manifest.json) or checkpoint (.pt)")
    predict.add_argument("--threshold", type=float, help="default: the manifest's, 0.5 for a checkpoint")
    predict.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the masks")
    predict.add_argument("pictures", type=Path, nargs="+", help="pictures or folders of pictures")
    predict.set_defaults(command=_predict)
    return parser


def _data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        metavar="DIR",
        help="data sets (CHASE_DB1, HRF, DRIVE, or images/ + manual1/), or a folder that holds some",
    )


def _train(o: argparse.Namespace) -> None:
    import torch

    from .train import TrainConfig, train

    if o.threads:
        torch.set_num_threads(o.threads)
    config = TrainConfig(
        arch=o.arch,
        classes=tuple(o.classes.split(",")),
        steps=o.steps,
        batch=o.batch,
        learning_rate=o.learning_rate,
        seed=o.seed,
        validate_every=o.validate_every,
        checkpoint_every=o.checkpoint_every,
    )
    train(config, o.data, o.run, o.resume, o.until)


def _evaluate(o: argparse.Namespace) -> None:
    from .evaluate import evaluate, table
    from .predict import open_model

    result = evaluate(open_model(o.model), o.data, o.split, o.threshold, o.own_fov)
    words = ["--data", *map(str, o.data), "--model", str(o.model), "--split", o.split]
    words += ["--own-fov"] if o.own_fov else []
    words += ["--threshold", f"{o.threshold:g}"] if o.threshold is not None else []
    result["command"] = "python -m noctua_training evaluate " + " ".join(words)
    print(json.dumps(result, indent=1) if o.json else table(result))


def _export(o: argparse.Namespace) -> None:
    from .export import export

    export(o.run, o.checkpoint, o.out, o.version, o.threshold, o.data, o.licence, o.note)


def _record(o: argparse.Namespace) -> None:
    from .export import record

    record(o.model, o.results)


def _predict(o: argparse.Namespace) -> int:
    from .predict import open_model, predict_folder

    return predict_folder(open_model(o.model), o.pictures, o.out, o.threshold)


if __name__ == "__main__":
    sys.exit(main())
