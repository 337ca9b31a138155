"""`edge-seg adopt`: any segmentation net in ONNX behind the deploy contract."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_seg.apps.cmd_export import check_out
from edge_seg.apps.sizes import parse_size
from edge_seg.errors import ModelError
from edge_seg.files import check_path, near_names

if TYPE_CHECKING:
    from edge_seg.export.adopt import Adopted
    from edge_seg.export.adopt_input import Triple

LAYOUTS = ("nchw", "nhwc")
WHITES = (1, 255)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(help="Give a segmentation ONNX of another tool the deploy contract: bytes in, labels out.")(adopt)


def adopt(
    model: Annotated[Path, typer.Argument(help="ONNX file: float pictures in; logits, one sigmoid or labels out.")],
    *,
    classes: Annotated[Path, typer.Option(help="Class table: a line of name,red,green,blue for each class.")],
    mean: Annotated[str, typer.Option(help="Mean of the net's channels, in their order: 0.485,0.456,0.406.")],
    std: Annotated[str, typer.Option(help="Standard deviation of the channels: 0.229,0.224,0.225.")],
    white: Annotated[int, typer.Option(help="Value of white in --mean and --std: 1, or 255 for bytes.")] = 1,
    rgb: Annotated[bool, typer.Option("--rgb/--bgr", help="Order of the net's channels.")] = True,
    layout: Annotated[str, typer.Option(help="Layout of the net's input: nchw or nhwc.")] = "nchw",
    size: Annotated[str | None, typer.Option(help="Input size, WxH, of a net that leaves it open.")] = None,
    output: Annotated[str | None, typer.Option(help="Name of the output to take; the first where not given.")] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Of one sigmoid: probability above which a pixel is class 1.", show_default="0.5"),
    ] = None,
    fold: Annotated[
        bool, typer.Option("--fold", help="Pad the picture with grey, not its mean: a little faster.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Name in the spec; the file's where not given.")] = None,
    dataset: Annotated[str, typer.Option(help="What it was trained on, for the spec.")] = "unknown",
    licence: Annotated[str, typer.Option(help="Licence of the weights, for the spec.")] = "",
    out: Annotated[Path | None, typer.Option(help="File to write; MODEL's name with .edge.onnx if not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON on stdout.")] = False,
) -> None:
    """Adopt a file and say what was found and written."""
    _check_choices(layout, white)
    numbers = _parse_triple(mean, "--mean"), _parse_triple(std, "--std")
    sides = parse_size(size) if size else None
    if not check_path(model, ModelError).is_file():
        raise ModelError(f"{model} is no file.{near_names(model)} Give an ONNX file.")
    target = check_out(out or model.with_suffix(".edge.onnx"), model)

    from edge_seg.apps.output import print_report
    from edge_seg.data.class_table import read_class_table
    from edge_seg.export.adopt import AdoptOptions
    from edge_seg.export.adopt import adopt as adopt_file
    from edge_seg.export.adopt_input import Normalisation

    options = AdoptOptions(
        read_class_table(classes),
        Normalisation(*numbers, rgb=rgb, white=white),
        layout=layout,
        size=sides,
        output=output,
        threshold=threshold,
        fold=fold,
        name=name,
        dataset=dataset,
        licence=licence,
    )
    adopted = adopt_file(model, target, options)
    report = {"file": str(target), **dataclasses.asdict(adopted)}
    print_report(report, _describe(target, adopted, rgb=rgb), as_json=as_json)


def _check_choices(layout: str, white: int) -> None:
    if layout not in LAYOUTS:
        raise typer.BadParameter(f"--layout {layout}: expected {' or '.join(LAYOUTS)}.")
    if white not in WHITES:
        raise typer.BadParameter(f"--white {white}: expected 1, for a mean in 0..1, or 255, for one in bytes.")


def _parse_triple(text: str, option: str) -> "Triple":
    """Three numbers, or one for all three channels.

    >>> _parse_triple("0.485, 0.456,0.406", "--mean"), _parse_triple("0.5", "--mean")
    ((0.485, 0.456, 0.406), (0.5, 0.5, 0.5))
    """
    parts = text.split(",")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3):
        raise typer.BadParameter(f"{option} {text}: expected three numbers, such as 0.485,0.456,0.406.")
    first, second, third = numbers * (3 // len(numbers))
    return first, second, third


def _describe(target: Path, adopted: "Adopted", *, rgb: bool) -> str:
    """What was written, for people."""
    spec = adopted.spec
    lines = [
        f"{target}: {spec.name} {spec.precision}, {spec.width}x{spec.height}, {len(spec.classes)} classes",
        f"  output {adopted.output!r}: {adopted.head}; mean and std: {adopted.normalised}; opset {adopted.opset}",
        f"  labels as the original's on {adopted.agreement:.2%} of the pixels of two drive frames",
        f"  {'RGB' if rgb else 'BGR'}, mean and std are as told: no comparison shows whether the net was trained so. "
        f"With labels: edge-seg eval {target} --data ...",
    ]
    if adopted.classes_seen == 1:
        lines.append("  Only one class occurs there, so look at a picture of the net's own: edge-seg run")
    return "\n".join(lines)
