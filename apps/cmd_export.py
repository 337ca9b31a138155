"""`edge-seg export`: from a checkpoint to a deployable file."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from edge_seg.apps.sizes import parse_size
from edge_seg.errors import ModelError, SinkError, import_extra
from edge_seg.files import check_path, check_writable, same_file


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(help="Write a checkpoint as deployable ONNX, checked against PyTorch.")(export)


def check_out(out: Path, source: Path) -> Path:
    """Wrong usage unless `out` is an ONNX name other than the source's."""
    if out.suffix != ".onnx":
        raise typer.BadParameter(f"--out {out}: expected a name ending in .onnx.")
    if same_file(check_path(out, SinkError), source):
        raise typer.BadParameter(f"--out {out} is the model itself. Choose another name.")
    check_writable(out)
    return out


def export(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of edge-seg train (.pt).")],
    *,
    out: Annotated[Path | None, typer.Option(help="ONNX file to write; the checkpoint's name where not given.")] = None,
    size: Annotated[
        str | None, typer.Option(help="Input size WxH in place of the training's; measure it: edge-seg eval.")
    ] = None,
) -> None:
    """Export and say what was written."""
    import_extra("torch", "train")
    from edge_seg.export.to_onnx import to_onnx

    if not check_path(checkpoint, ModelError).is_file():
        raise ModelError(f"{checkpoint} is no file. Give a checkpoint of edge-seg train (.pt).")
    beside = checkpoint.with_name(f"{checkpoint.stem}{'-' if size else ''}{size or ''}.onnx")
    sides = parse_size(size) if size else None
    target = check_out(out or beside, checkpoint)
    spec = to_onnx(checkpoint, target, size=sides)
    print(f"{target}: {spec.name} {spec.precision}, {spec.width}x{spec.height}, labels as PyTorch's", file=sys.stderr)
