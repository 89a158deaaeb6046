"""Command line: ``python -m noctua_training {prepare,build,compile,train,evaluate,predict,export,record} --help``."""

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
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    prepare = commands.add_parser("prepare", help="cut to the field of view, denoise, write one plain layout")
    _data(prepare)
    prepare.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the prepared data sets")
    prepare.add_argument("--denoise", default="none", help="none, median, bilateral or clahe (none)")
    prepare.set_defaults(command=_prepare)

    build = commands.add_parser("build", help="choose the network; says what it is made of")
    _run(build)
    _network(build)
    build.set_defaults(command=_build)

    compile_ = commands.add_parser("compile", help="choose loss, optimiser and schedule")
    _run(compile_)
    _recipe(compile_)
    compile_.set_defaults(command=_compile)

    train = commands.add_parser("train", help="train a network on labelled folders; resumes exactly")
    _data(train)
    _run(train)
    _network(train)
    _recipe(train)
    train.add_argument("--resume", action="store_true", help="continue the run that lies in --run")
    train.add_argument("--export", type=Path, metavar="DIR", help="when done, write the model folder here")
    train.add_argument("--version", default="1.0.0", help="of the exported weights (1.0.0)")
    train.add_argument("--until", type=int, metavar="STEP", help="stop here without changing the schedule")
    train.add_argument("--fold", type=_fold, metavar="K/N", help="validate on the persons whose number mod N is K")
    train.add_argument(
        "--whole", action="store_true", help="train on the test pictures too: to measure on other data sets alone"
    )
    train.add_argument("--threads", type=int, help="CPU threads (default: what PyTorch takes)")
    train.set_defaults(command=_train)

    evaluate = commands.add_parser("evaluate", help="pooled Dice, AUC, sensitivity, specificity, MCC of a model")
    _data(evaluate)
    evaluate.add_argument("--model", type=Path, required=True, help="model folder (manifest.json) or checkpoint (.pt)")
    evaluate.add_argument("--split", default="test", help="fit, validation, train, test or all (test)")
    evaluate.add_argument("--threshold", type=float, help="default: the manifest's, 0.5 for a checkpoint")
    evaluate.add_argument("--fold", type=_fold, metavar="K/N", help="fit or validation of this fold, as in train")
    evaluate.add_argument("--flips", help="average over these flips: none,horizontal,vertical,both (the manifest's)")
    evaluate.add_argument("--own-fov", action="store_true", help="find the field of view in the picture, ignore fov/")
    evaluate.add_argument("--panels", type=Path, metavar="DIR", help="write original, truth, prediction, overlay here")
    evaluate.add_argument("--json", action="store_true", help="print JSON")
    evaluate.set_defaults(command=_evaluate)

    export = commands.add_parser("export", help="write models/<name>/: ONNX, manifest, golden tensors, model card")
    export.add_argument("--run", type=Path, required=True, metavar="DIR", help="folder of the training run")
    export.add_argument("--checkpoint", default="best.pt", help="file in the run folder (best.pt)")
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="models/<name>; names the model")
    export.add_argument("--version", required=True, help="version of the weights, e.g. 1.0.0")
    export.add_argument("--threshold", type=float, help="default: chosen on the validation pictures of --data")
    export.add_argument("--data", type=Path, nargs="+", metavar="DIR", help="where the validation pictures are")
    export.add_argument("--folds", type=Path, nargs="*", default=[], metavar="DIR", help="runs of the recipe on folds")
    export.add_argument("--flips", default="none", help="views to average: none,horizontal,vertical,both (none)")
    export.add_argument("--licence", default="Apache-2.0", help="licence of the weights (Apache-2.0)")
    export.add_argument("--note", default="", help="a sentence for the model card, e.g. how the run was interrupted")
    export.set_defaults(command=_export)

    errors = commands.add_parser("errors", help="fit the errors of an exported model's measures again, on more folds")
    _data(errors)
    errors.add_argument("--model", type=Path, required=True, metavar="DIR", help="model folder")
    errors.add_argument(
        "--folds", type=Path, nargs="+", required=True, metavar="DIR", help="runs of the recipe on folds"
    )
    errors.add_argument("--version", required=True, help="the new version of the model")
    errors.set_defaults(command=_errors)

    intervals = commands.add_parser("intervals", help="how often a model's stated intervals hold the label's measures")
    _data(intervals)
    intervals.add_argument("--model", type=Path, required=True, metavar="DIR", help="model folder")
    intervals.add_argument("--split", default="test", help="fit, validation, train, test or all (test)")
    intervals.set_defaults(command=_intervals)

    compare = commands.add_parser("compare", help="runs side by side, on the pictures that they held out")
    _data(compare)
    compare.add_argument("--flips", default="none", help="views to average: none,horizontal,vertical,both (none)")
    compare.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folders")
    compare.set_defaults(command=_compare)

    record = commands.add_parser("record", help="put outputs of evaluate --json into manifest and model card")
    record.add_argument("--model", type=Path, required=True, metavar="DIR", help="model folder")
    record.add_argument("results", type=Path, nargs="+", metavar="JSON", help="outputs of evaluate --json")
    record.set_defaults(command=_record)

    predict = commands.add_parser("predict", help="vessel masks (0 and 255) for a folder of pictures")
    predict.add_argument("--model", type=Path, required=True, help="model folder (manifest.json) or checkpoint (.pt)")
    predict.add_argument("--threshold", type=float, help="default: the manifest's, 0.5 for a checkpoint")
    predict.add_argument("--panels", action="store_true", help="also write original, prediction and overlay")
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


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="folder for checkpoints and curves")


def _network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--arch", help="network: res-unet, res-unet-gn, res-unet-fine, w-net or vgg-unet (res-unet)")
    parser.add_argument("--classes", help="class names, background first (background,vessel)")
    parser.add_argument("--pretrained", metavar="FILE", help="vgg-unet: torchvision's vgg16 state dict")
    parser.add_argument("--fov-px", type=float, help="width of the field of view on the canvas, pixels (768)")


def _recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--loss", help="dice, border (the paper's weight map), balanced or plain (dice)")
    parser.add_argument("--dice-weight", type=float, help="of the Dice term beside cross-entropy (1)")
    parser.add_argument("--border-weight", type=float, help="ω₀ of the weight map (10)")
    parser.add_argument("--border-sigma-px", type=float, help="σ of the weight map, canvas pixels (5)")
    parser.add_argument("--optimiser", help="adamw or adam (adamw)")
    parser.add_argument("--learning-rate", type=float, help="peak of the cosine (0.003)")
    parser.add_argument("--steps", type=int, help="optimiser steps; may be changed on resume (6000)")
    parser.add_argument("--batch", type=int, help="crops a step (4)")
    parser.add_argument("--crop", type=int, dest="crop_px", help="width of the crops, pixels (256)")
    parser.add_argument("--precision", help="of the convolutions: bf16 or fp32 (bf16)")
    parser.add_argument("--seed", type=int, help="of weights and crops (1)")
    parser.add_argument("--validate-every", type=int, metavar="STEPS", help="(500)")
    parser.add_argument("--checkpoint-every", type=int, metavar="STEPS", help="(250)")


def _fold(text: str) -> tuple[int, int]:
    k, slash, count = text.partition("/")
    if not (slash and k.isdigit() and count.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no fold: write K/N, e.g. 0/2")
    return int(k), int(count)


def _words(o: argparse.Namespace) -> dict[str, object]:
    """What the command line says of the recipe, by the names of ``TrainConfig``."""
    names = (
        "arch classes pretrained fov_px loss dice_weight border_weight border_sigma_px optimiser learning_rate steps "
        "batch crop_px precision seed validate_every checkpoint_every"
    )
    words = {name: getattr(o, name, None) for name in names.split()}
    if words["classes"]:
        words["classes"] = words["classes"].split(",")
    return words


def _prepare(o: argparse.Namespace) -> None:
    from .denoise import METHODS
    from .prepare import prepare_folder

    if o.denoise not in METHODS:
        raise ValueError(f"no denoising {o.denoise!r}: choose one of {', '.join(METHODS)}")
    print(f"{prepare_folder(o.data, o.out, o.denoise)} pictures in {o.out}, denoised by: {o.denoise}")


def _build(o: argparse.Namespace) -> None:
    from . import recipe
    from .model import build, parameter_count

    config = recipe.add(o.run, _words(o))
    model = build(config.arch, len(config.classes))
    if config.pretrained:
        model.load_pretrained(Path(config.pretrained))
    for name, child in model.named_children():
        print(f"  {name:10} {parameter_count(child):>12,} weights")
    print(f"{config.arch} for {', '.join(config.classes)}: {parameter_count(model):,} weights")


def _compile(o: argparse.Namespace) -> None:
    from . import recipe

    print(recipe.describe(recipe.add(o.run, _words(o))))


def _train(o: argparse.Namespace) -> None:
    import torch

    from . import recipe
    from .train import check_run_folder, train

    if o.threads:
        torch.set_num_threads(o.threads)
    check_run_folder(o.run, o.resume)
    config = recipe.add(o.run, _words(o))
    trainer = train(config, o.data, o.run, o.resume, o.until, o.fold, o.whole)
    if o.export and trainer.step == config.steps:
        from .export import export
        from .train import BEST

        export(o.run, BEST, o.export, o.version, None, o.data, "not stated")


def _evaluate(o: argparse.Namespace) -> None:
    from .evaluate import evaluate, table
    from .predict import open_model

    segmenter = open_model(o.model)
    if o.flips:
        segmenter.flips = tuple(o.flips.split(","))
    result = evaluate(segmenter, o.data, o.split, o.threshold, o.own_fov, o.fold, o.panels)
    words = ["--data", *map(str, o.data), "--model", str(o.model), "--split", o.split]
    words += ["--own-fov"] if o.own_fov else []
    words += ["--fold", "/".join(map(str, o.fold))] if o.fold else []
    words += ["--flips", o.flips] if o.flips else []
    words += ["--threshold", f"{o.threshold:g}"] if o.threshold is not None else []
    result["command"] = "python -m noctua_training evaluate " + " ".join(words)
    print(json.dumps(result, indent=1) if o.json else table(result))


def _export(o: argparse.Namespace) -> None:
    from .export import export

    flips = o.flips.split(",")
    export(o.run, o.checkpoint, o.out, o.version, o.threshold, o.data, o.licence, o.note, o.folds, flips)


def _errors(o: argparse.Namespace) -> None:
    from .export import refit_errors

    refit_errors(o.model, o.version, o.folds, o.data)


def _intervals(o: argparse.Namespace) -> None:
    from .certainty import intervals
    from .data import find_samples
    from .predict import open_model

    errors = json.loads((o.model / "manifest.json").read_text(encoding="utf-8")).get("errors")
    if not errors:
        raise ValueError(f"the manifest of {o.model} states no errors: export it with --data")
    print(intervals(open_model(o.model), errors, find_samples(o.data, o.split)))


def _compare(o: argparse.Namespace) -> None:
    from .compare import compare

    print(compare(o.runs, o.data, o.flips.split(",")))


def _record(o: argparse.Namespace) -> None:
    from .export import record

    record(o.model, o.results)


def _predict(o: argparse.Namespace) -> int:
    from .predict import open_model, predict_folder

    return predict_folder(open_model(o.model), o.pictures, o.out, o.threshold, o.panels)


if __name__ == "__main__":
    sys.exit(main())
