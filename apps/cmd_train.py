"""`edge-seg train`: from labelled images to a checkpoint with its test scores."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_seg.apps.cmd_eval import scores_table
from edge_seg.apps.fine_tuning import check_usage, prepare, summary, tuned_output
from edge_seg.apps.sizes import parse_size
from edge_seg.errors import SinkError, import_extra
from edge_seg.files import check_path, same_file

if TYPE_CHECKING:
    from edge_seg.recipe import Recipe
    from edge_seg.training.options import TrainOptions
    from edge_seg.training.tuning import Tuning

DEFAULT_ARCH = "edge-seg-s"
DEFAULT_SIZE = "480x360"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(help="Train a net on labelled images or on drive frames, and evaluate it.")(train)


def train(
    *,
    data: Annotated[
        str,
        typer.Option(help="Training set: camvid:PATH, folder:PATH, or drive:frames=400 for 400 drive frames an epoch."),
    ],
    test: Annotated[
        str | None, typer.Option(help="Set of the final evaluation; of itself camvid:PATH/test for camvid:PATH.")
    ] = None,
    val: Annotated[str | None, typer.Option(help="Set to watch every tenth epoch; chooses nothing.")] = None,
    arch: Annotated[
        str | None,
        typer.Option(
            help="edge-seg-n, -s or -l, or an encoder: torchvision:NAME, timm:NAME.", show_default=DEFAULT_ARCH
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Checkpoint to write, .onnx with --qat; runs/ARCH/ARCH.pt where not given.")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Input size of the net, WxH; pictures of another size are resized.", show_default=DEFAULT_SIZE
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="quick, camvid, qat, or a TOML file; the next four options replace what it says.",
            show_default="quick; with --qat: qat",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    batch: Annotated[int | None, typer.Option(min=2, help="Samples a step, on all devices together.")] = None,
    lr: Annotated[float | None, typer.Option(min=0.0, help="Top learning rate.")] = None,
    drive_share: Annotated[float | None, typer.Option(min=0.0, max=0.9, help="Share of drive frames.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare samples.")] = 1,
    precision: Annotated[str, typer.Option(help="bf16, fp32, or auto: bf16 where the hardware has it.")] = "auto",
    init: Annotated[
        Path | None,
        typer.Option(help="File to start from: .pt, any state dict, .safetensors, FP32 .onnx, or a bundled name."),
    ] = None,
    encoder_weights: Annotated[
        str, typer.Option(help="random, or published: the encoder's, from ImageNet; for torchvision: and timm: nets.")
    ] = "random",
    freeze: Annotated[str | None, typer.Option(help="encoder: leave it as it is, and train decoder and heads.")] = None,
    teacher: Annotated[
        Path | None, typer.Option(help="Net of the same classes to learn from too: .pt, FP32 .onnx, or a bundled name.")
    ] = None,
    qat: Annotated[
        str | None,
        typer.Option(
            help="Fine-tune the FP32 .onnx of --init with the fake quantization of a target: onnxruntime-x86, "
            "x86-novnni, onnxruntime-arm, tensorrt, or auto: this machine. Writes --out (.onnx), its ranges and INT8."
        ),
    ] = None,
    ranges: Annotated[
        Path | None, typer.Option(help="With --qat: ranges of edge-seg calib observe, else of 120 images of --data.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="With --qat: method of the ranges, as of edge-seg quantize.", show_default="min-max"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from where an interrupted run ended.")] = False,
    compiled: Annotated[
        bool, typer.Option("--compile", help="torch.compile, for GPUs: on CPUs it brings nothing.")
    ] = False,
    devices: Annotated[int, typer.Option(min=1, help="GPUs, or processes on a CPU, of each machine.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines that train together.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the final scores as JSON on stdout.")] = False,
) -> None:
    """Train, write the checkpoint or the files of --qat, evaluate, print the scores and draw the run as report.png."""
    for module in ("torch", "safetensors", "matplotlib", "lightning", "tensorboard"):
        import_extra(module, "train")
    from edge_seg.training.options import TrainOptions

    _check_choices(precision, encoder_weights, freeze)
    if freeze is not None and init is None and not resume and encoder_weights == "random":
        raise typer.BadParameter(f"--freeze {freeze} would keep weights of chance. {_trained(arch or DEFAULT_ARCH)}")
    check_usage(qat, init, {"--arch": arch, "--size": size}, {"--ranges": ranges, "--method": method})
    judged_on = test or _test_of(data)
    arch, size = arch or DEFAULT_ARCH, size or DEFAULT_SIZE
    path = _output(out, arch, (init, teacher)) if qat is None else tuned_output(out, str(init))
    width, height = parse_size(size)
    schedule = {"epochs": epochs, "batch": batch, "lr": lr}
    options = TrainOptions(
        data=data,
        out=path,
        run_dir=path.parent,
        arch=arch,
        width=width,
        height=height,
        recipe=_recipe(recipe or ("qat" if qat else "quick"), schedule, {"drive_share": drive_share}),
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
    options, tuning = prepare(options, qat, judged_on, ranges=ranges, method=method)
    _train(options, judged_on, tuning, as_json=as_json)


def _train(options: "TrainOptions", judged_on: str, tuning: "Tuning | None", *, as_json: bool) -> None:
    """Train, print the scores, and draw the run; of the outputs, one that fails does not cost the others."""
    from edge_seg.apps.output import print_report
    from edge_seg.apps.training_report import write_training_report
    from edge_seg.train import train_and_evaluate

    scores = train_and_evaluate(options, judged_on, tuning)
    if scores is None:  # one of several processes, and not the first
        return
    judged = options.out if tuning is None else tuning.judged
    try:
        print_report(scores.to_dict(), scores_table(scores, judged_on), as_json=as_json)
    finally:
        print(
            summary(options.out, tuning) if tuning else f"{judged}. Deploy it: edge-seg export {judged}",
            file=sys.stderr,
        )
        report = options.run_dir / "report.png"
        write_training_report(report, options.run_dir, scores, model=judged, test=judged_on)
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


def _check_choices(precision: str, encoder_weights: str, freeze: str | None) -> None:
    """Wrong usage where an option is none of its choices."""
    from edge_seg.models.registry import WEIGHTS
    from edge_seg.training.options import PRECISIONS
    from edge_seg.training.start import FREEZES

    if precision not in PRECISIONS:
        raise typer.BadParameter(f"--precision {precision}: expected {', '.join(PRECISIONS)}.")
    if encoder_weights not in WEIGHTS:
        raise typer.BadParameter(f"--encoder-weights {encoder_weights}: expected {' or '.join(WEIGHTS)}.")
    if freeze is not None and freeze not in FREEZES:
        raise typer.BadParameter(f"--freeze {freeze}: expected {' or '.join(FREEZES)}.")


def _trained(arch: str) -> str:
    """What gives a net of `arch` trained weights, to type."""
    from edge_seg.models.encoders import is_encoder_name
    from edge_seg.weights import BUNDLED

    if is_encoder_name(arch):
        return "Give the encoder's own weights: --encoder-weights published, or a trained net: --init FILE.pt"
    return f"Give a trained net: --init {f'{arch}-fp32' if f'{arch}-fp32' in BUNDLED else 'FILE.pt'}"


def _output(out: Path | None, arch: str, models: tuple[Path | None, ...]) -> Path:
    """The checkpoint to write, beside which checkpoints and logs of the run go; none of `models`, which it begins with.

    >>> _output(None, "timm:resnet18", ()).name
    'timm-resnet18.pt'
    """
    label = arch.replace(":", "-")
    path = out or Path("runs") / label / f"{label}.pt"
    if check_path(path, SinkError).suffix != ".pt" or path.is_dir():
        raise typer.BadParameter(f"--out {path}: expected the name of a checkpoint, such as {path.with_suffix('.pt')}.")
    if any(model is not None and same_file(path, model) for model in models):
        raise typer.BadParameter(f"--out {path} would replace a model that the run begins with. Choose another name.")
    return path
