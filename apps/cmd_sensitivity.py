"""`edge-seg calib sensitivity`: what each layer costs in INT8, and which to leave in float."""

import sys
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated

import typer

from edge_seg.apps.calibration_data import check_calibration_data
from edge_seg.errors import DataError, MissingExtraError, SinkError, import_extra
from edge_seg.files import check_path, errors_of

if TYPE_CHECKING:
    from rich.table import Table

    from edge_seg.calib.ranges import Ranges
    from edge_seg.calib.sensitivity import Sensitivity

TOML, PNG, RANGES = "sensitivity.toml", "sensitivity.png", "ranges.json"
OBSERVED = 120
"""Images that ranges are observed on, as edge-seg quantize does."""


def register(calib: typer.Typer) -> None:
    """Add the command to the group `calib`."""
    calib.command(help="Measure what each layer costs in INT8, layer by layer and class by class.")(sensitivity)


def sensitivity(
    model: Annotated[str, typer.Argument(help="Bundled name or path of an FP32 ONNX.")],
    *,
    data: Annotated[str, typer.Option(help="Labelled set, of which the judged images are: camvid:PATH/train.")],
    ranges: Annotated[
        Path | None, typer.Option(help="File of edge-seg calib observe; else ranges are observed on --data.")
    ] = None,
    target: Annotated[str, typer.Option(help="As edge-seg quantize takes it, or auto: this machine.")] = "auto",
    method: Annotated[str, typer.Option(help="Method of the ranges, as edge-seg quantize takes it.")] = "min-max",
    images: Annotated[int, typer.Option(min=1, help="Images to judge on, spread evenly over the set.")] = 50,
    budget: Annotated[int, typer.Option(min=1, help="INT8 files to judge at most, earlier runs' among them.")] = 100,
    floats: Annotated[int, typer.Option(min=0, help="Leave so many of the worst layers in float in the TOML.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder to write; beside MODEL where not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON on stdout.")] = False,
) -> None:
    """Measure, write the TOML file and the heat map, and report."""
    from edge_seg.apps.output import print_report
    from edge_seg.apps.progress import progress
    from edge_seg.calib.ranges import NAMES
    from edge_seg.calib.sensitivity_pictures import judged_part
    from edge_seg.calib.sensitivity_run import measure, plan_sensitivity, runtime_of
    from edge_seg.data import open_dataset
    from edge_seg.export.target import targets_of
    from edge_seg.runners.base import choose_runtime
    from edge_seg.runners.contract import read_onnx_spec
    from edge_seg.weights import find_model, place_beside

    if method not in NAMES:
        raise typer.BadParameter(f"--method {method}: expected {', '.join(NAMES)}.")
    check_calibration_data(data)
    chosen = targets_of(target)[0][0]
    source, runtime = find_model(model), runtime_of(target)
    choose_runtime(source, runtime)  # fails before a whole set is observed
    folder = _check_folder(out or place_beside(source).with_suffix(".sensitivity"))
    judged = judged_part(open_dataset(data), images, read_onnx_spec(source))
    observed = _ranges(source, data, ranges, folder)
    plan = plan_sensitivity(
        source, observed, judged, folder, target=chosen, runtime=runtime, method=method, budget=budget
    )
    with progress("sensitivity", plan.pictures_left()) as step:
        found = measure(plan, on_image=step)
    try:  # of the two outputs, one that fails does not cost the other
        _write(folder, found, floats)
    finally:
        print_report(found.to_dict(), report(found), as_json=as_json)


def _check_folder(folder: Path) -> Path:
    """SinkError, before any work, where `folder` neither is one to write into nor can become one."""
    place = folder if check_path(folder, SinkError).exists() else folder.parent
    if not place.is_dir():
        advice = "Choose another --out." if place == folder else f"Type: mkdir -p {place}"
        raise SinkError(f"{folder} cannot be written: {place} is no folder. {advice}")
    with errors_of(folder, "Choose another --out."), TemporaryFile(dir=place):
        return folder


def _ranges(model: Path, data: str, given: Path | None, folder: Path) -> "Ranges":
    """Ranges from a file, or those that an earlier run observed; else observed now and kept in `folder`."""
    from edge_seg.apps.cmd_quantize import observe_data
    from edge_seg.calib.quantize import open_fp32
    from edge_seg.calib.ranges import read_ranges, write_ranges

    path = given or folder / RANGES
    if given is None and not path.exists():
        ranges = observe_data(open_fp32(model), data, OBSERVED)
        with errors_of(folder, "Choose another --out."):
            folder.mkdir(exist_ok=True)
        write_ranges(path, ranges)
        return ranges
    found = read_ranges(path, open_fp32(model))
    if given is None and found.pictures != data:
        raise DataError(
            f"{path} was observed on {found.pictures}, not on {data}. To go on with it: --ranges {path}. "
            "To observe anew, give another --out."
        )
    return found


def _write(folder: Path, found: "Sensitivity", floats: int) -> None:
    """Write the TOML file and, where matplotlib is installed, the heat map; and say so."""
    from edge_seg.apps.heat_map import draw_heat_map
    from edge_seg.files import write_whole

    write_whole(folder / TOML, found.to_toml(floats).encode())
    print(f"{folder / TOML}: {len(found.layers)} layers, worst first", file=sys.stderr)
    try:
        import_extra("matplotlib", "train")
    except MissingExtraError as error:
        print(f"Without a heat map. {error}", file=sys.stderr)
        return
    write_whole(folder / PNG, draw_heat_map(found))
    print(f"{folder / PNG}: layers by classes", file=sys.stderr)


def report(found: "Sensitivity") -> "Table":
    """The layers, worst first, over the mIoU of both whole files."""
    from rich.table import Table
    from rich.text import Text  # names come from files: a bracket in them is no markup

    from edge_seg.apps.heat_map import short_name

    setup = found.setup
    title = f"{found.model} for {setup.target} on {setup.runtime}\n{found.data}, {setup.images} images"
    table = Table(title=Text(title), title_justify="left", caption=Text(_caption(found)), caption_justify="left")
    table.add_column("layer", overflow="fold")
    for name in ("lost alone", "won back", "SQNR, dB"):
        table.add_column(name, justify="right")
    table.add_column("worst class")
    for layer in found.layers:
        sqnr_db = "-" if layer.sqnr_db is None else f"{layer.sqnr_db:.1f}"
        worst = "" if layer.worst is None else f"{layer.worst[0]} {_change(layer.worst[1])}"
        table.add_row(Text(short_name(layer.name)), _change(layer.drop), _change(layer.gain), sqnr_db, Text(worst))
    return table


def _caption(found: "Sensitivity") -> str:
    from edge_seg.calib.sensitivity import mean_iou

    return (
        f"mIoU {mean_iou(found.fp32):.4f} in FP32, {mean_iou(found.int8):.4f} with all layers in INT8; "
        f"{found.evaluations} INT8 files judged, {found.new} of them now\n"
        "lost alone: mIoU that goes when this layer alone is in INT8\n"
        "won back: mIoU that comes back when this layer alone stays in float\n"
        "SQNR: of the layer's output, all layers in INT8"
    )


def _change(value: float | None) -> str:
    """A change of IoU to four digits.

    >>> _change(-0.00123), _change(-1e-9), _change(None)
    ('-0.0012', '+0.0000', 'not measured')
    """
    return "not measured" if value is None else f"{round(value, 4) + 0.0:+.4f}"
