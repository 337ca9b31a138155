"""`edge-seg export` and `edge-seg quantize`: from a checkpoint to deployable files."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from edge_seg.errors import ModelError, SinkError, import_extra
from edge_seg.files import check_path, same_file


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(help="Write a checkpoint as deployable ONNX, checked against PyTorch.")(export)
    app.command(help="Write the INT8 file of an FP32 ONNX, with ranges from images of a data set.")(quantize)


def _check_out(out: Path, source: Path) -> Path:
    """Wrong usage unless `out` is an ONNX name other than the source's."""
    if out.suffix != ".onnx":
        raise typer.BadParameter(f"--out {out}: expected a name ending in .onnx.")
    if same_file(check_path(out, SinkError), source):
        raise typer.BadParameter(f"--out {out} is the model itself. Choose another name.")
    return out


def export(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of edge-seg train (.pt).")],
    *,
    out: Annotated[Path | None, typer.Option(help="ONNX file to write; the checkpoint's name where not given.")] = None,
) -> None:
    """Export and say what was written."""
    import_extra("torch", "train")
    from edge_seg.export.to_onnx import to_onnx

    if not check_path(checkpoint, ModelError).is_file():
        raise ModelError(f"{checkpoint} is no file. Give a checkpoint of edge-seg train (.pt).")
    target = _check_out(out or checkpoint.with_suffix(".onnx"), checkpoint)
    spec = to_onnx(checkpoint, target)
    print(f"{target}: {spec.name} {spec.precision}, {spec.width}x{spec.height}, labels as PyTorch's", file=sys.stderr)


def quantize(
    model: Annotated[str, typer.Argument(help="Bundled name or path of an FP32 ONNX.")],
    *,
    data: Annotated[str, typer.Option(help="Data set for the ranges: camvid:PATH takes its train images.")],
    out: Annotated[Path | None, typer.Option(help="File to write; beside MODEL where not given.")] = None,
    images: Annotated[int, typer.Option(min=1, help="Number of calibration images, spread over the set.")] = 120,
) -> None:
    """Quantize and say what was written."""
    from edge_seg.apps.progress import progress
    from edge_seg.calib.quantize import quantize as quantize_file
    from edge_seg.data import open_dataset
    from edge_seg.weights import FOLDER, find_model

    source = find_model(model)
    beside = Path(source.name) if source.parent == FOLDER else source  # a bundled one's folder is no place to write
    target = _check_out(out or beside.with_suffix(".int8.onnx"), source)
    dataset = open_dataset(data)
    with progress("calibrate", min(images, len(dataset))) as step:
        spec = quantize_file(source, target, dataset, images=images, on_image=step)
    print(f"{target}: {spec.name} {spec.precision}. Measure it: edge-seg eval {target} --data ...", file=sys.stderr)
