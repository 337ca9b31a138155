"""`edge-seg train`: from labelled images to a checkpoint with its test scores."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_seg.apps.cmd_eval import scores_table
from edge_seg.errors import SinkError, import_extra
from edge_seg.files import check_path

if TYPE_CHECKING:
    from edge_seg.evaluate import Scores
    from edge_seg.recipe import Recipe
    from edge_seg.training.options import TrainOptions

LEAST_SIDE, MOST_SIDE = 32, 4096


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(help="Train a net on labelled images or on drive frames, and evaluate it.")(train)


def train(
    *,
    data: Annotated[
        str, typer.Option(help="Training set: camvid:PATH, folder:PATH, or drive:frames=400 for drive frames alone.")
    ],
    test: Annotated[
        str | None, typer.Option(help="Set of the final evaluation; of itself camvid:PATH/test for camvid:PATH.")
    ] = None,
    val: Annotated[str | None, typer.Option(help="Set to watch every tenth epoch; chooses nothing.")] = None,
    arch: Annotated[
        str, typer.Option(help="edge-seg-n, -s or -l, or an encoder: torchvision:NAME, timm:NAME.")
    ] = "edge-seg-s",
    out: Annotated[Path | None, typer.Option(help="Checkpoint to write; runs/ARCH/ARCH.pt where not given.")] = None,
    size: Annotated[
        str, typer.Option(help="Input size of the net, WxH; pictures of another size are resized.")
    ] = "480x360",
    recipe: Annotated[
        str, typer.Option(help="quick, camvid, or a TOML file; the next four options replace what it says.")
    ] = "quick",
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    batch: Annotated[int | None, typer.Option(min=2, help="Samples a step, on all devices together.")] = None,
    lr: Annotated[float | None, typer.Option(min=0.0, help="Top learning rate.")] = None,
    drive_share: Annotated[float | None, typer.Option(min=0.0, max=0.9, help="Share of drive frames.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare samples.")] = 1,
    precision: Annotated[str, typer.Option(help="bf16, fp32, or auto: bf16 where the hardware has it.")] = "auto",
    init: Annotated[
        Path | None, typer.Option(help="File to start from: .pt, any state dict, FP32 .onnx, or a bundled name.")
    ] = None,
    encoder_weights: Annotated[
        str, typer.Option(help="random, or published: the encoder's, from ImageNet; for torchvision: and timm: nets.")
    ] = "random",
    freeze: Annotated[str | None, typer.Option(help="encoder: leave it as it is, and train decoder and heads.")] = None,
    teacher: Annotated[
        Path | None, typer.Option(help="Checkpoint of a net to learn from too, such as a wider one of the same data.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from where an interrupted run ended.")] = False,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the net: pays on some GPUs.")] = False,
    devices: Annotated[int, typer.Option(min=1, help="GPUs, or processes on a CPU, of each machine.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines that train together.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the final scores as JSON on stdout.")] = False,
) -> None:
    """Train, write the checkpoint, evaluate it, print the scores and draw the run as report.png."""
    for module in ("torch", "matplotlib", "lightning", "tensorboard"):
        import_extra(module, "train")
    from edge_seg.train import train_and_evaluate
    from edge_seg.training.options import PRECISIONS, TrainOptions

    if precision not in PRECISIONS:
        raise typer.BadParameter(f"--precision {precision}: expected {', '.join(PRECISIONS)}.")
    _check_start(encoder_weights, freeze)
    judged_on = test or _test_of(data)
    label = arch.replace(":", "-")
    run_dir = _run_folder(out, label)
    width, height = _parse_size(size)
    options = TrainOptions(
        data=data,
        out=out or run_dir / f"{label}.pt",
        run_dir=run_dir,
        arch=arch,
        width=width,
        height=height,
        recipe=_recipe(recipe, {"epochs": epochs, "batch": batch, "lr": lr}, {"drive_share": drive_share}),
        seed=seed,
        workers=workers,
        precision=precision,
        val=val,
        init=init,
        teacher=teacher,
        encoder_weights=encoder_weights,
        freeze=freeze,
        resume=resume,
        compile=compiled,
        devices=devices,
        nodes=nodes,
    )
    scores = train_and_evaluate(options, judged_on)
    if scores is not None:  # None: one of several processes, and not the first
        _show(scores, options, judged_on, as_json=as_json)


def _show(scores: "Scores", options: "TrainOptions", judged_on: str, *, as_json: bool) -> None:
    """Print the scores, and draw the run; of the outputs, one that fails does not cost the others."""
    from edge_seg.apps.output import print_report
    from edge_seg.apps.training_report import write_training_report

    try:
        print_report(scores.to_dict(), scores_table(scores, judged_on), as_json=as_json)
    finally:
        print(f"{options.out}. Deploy it: edge-seg export {options.out}", file=sys.stderr)
        report = options.run_dir / "report.png"
        write_training_report(report, options.run_dir, scores, model=options.out, test=judged_on)
        print(f"{report}: the run's curves, class IoU and sample predictions.", file=sys.stderr)


def _recipe(name: str, schedule: dict[str, Any], samples: dict[str, Any]) -> "Recipe":
    """The named recipe with what the command line says in its place."""
    from edge_seg.recipe import read_recipe

    tables = {"schedule": schedule, "samples": samples}
    given = {name: {key: value for key, value in table.items() if value is not None} for name, table in tables.items()}
    return read_recipe(name, given)


def _test_of(data: str) -> str:
    """The test set that a training set brings along; wrong usage where it brings none."""
    from edge_seg.train import default_test

    found = default_test(data)
    if found is None:
        raise typer.BadParameter(f"--test is missing: {data} brings no test set along. Give one that it does not show.")
    return found


def _check_start(encoder_weights: str, freeze: str | None) -> None:
    """Wrong usage where one of the options is none of its choices."""
    from edge_seg.models.registry import WEIGHTS
    from edge_seg.training.start import FREEZES

    if encoder_weights not in WEIGHTS:
        raise typer.BadParameter(f"--encoder-weights {encoder_weights}: expected {' or '.join(WEIGHTS)}.")
    if freeze is not None and freeze not in FREEZES:
        raise typer.BadParameter(f"--freeze {freeze}: expected {' or '.join(FREEZES)}.")


def _run_folder(out: Path | None, arch: str) -> Path:
    """Where checkpoints and logs of the run go: beside its output."""
    if out is None:
        return Path("runs") / arch
    if check_path(out, SinkError).suffix != ".pt" or out.is_dir():
        raise typer.BadParameter(f"--out {out}: expected the name of a checkpoint, such as {out.with_suffix('.pt')}.")
    return out.parent


def _parse_size(size: str) -> tuple[int, int]:
    """Width and height of WxH; the net halves a picture five times, so less than 32 leaves nothing.

    >>> _parse_size("480x360")
    (480, 360)
    """
    match = re.fullmatch(r"(\d{1,4})x(\d{1,4})", size)
    if match is None or not all(LEAST_SIDE <= int(side) <= MOST_SIDE for side in match.groups()):
        raise typer.BadParameter(
            f"--size {size}: expected WxH, such as 480x360, of {LEAST_SIDE} to {MOST_SIDE} pixels."
        )
    return int(match[1]), int(match[2])
