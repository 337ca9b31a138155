"""`edge-seg quantize`: the INT8 file of an FP32 ONNX, as asked for, or as two gates let it pass."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_seg.apps.calibration_data import IMAGES, check_calibration_data, image_count, tell_zeros
from edge_seg.apps.cmd_export import check_out
from edge_seg.apps.ladder import Wish, files_beside, quantize_behind_gates, stale_beside, warn_of_stale
from edge_seg.errors import SinkError
from edge_seg.files import same_file

if TYPE_CHECKING:
    import onnx

    from edge_seg.calib.ranges import Ranges
    from edge_seg.calib.rung import Rung


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(help="Write the INT8 file of an FP32 ONNX; with gates, one that is accurate and fast enough.")(quantize)


def quantize(
    model: Annotated[str, typer.Argument(help="Bundled name or path of an FP32 ONNX.")],
    *,
    data: Annotated[
        str | None, typer.Option(help="Data set for the ranges, labelled for the gates: camvid:PATH is its train set.")
    ] = None,
    ranges: Annotated[Path | None, typer.Option(help="Instead: the file that edge-seg calib observe wrote.")] = None,
    rung: Annotated[Path | None, typer.Option(help="TOML file that says how to make the file from the ranges.")] = None,
    target: Annotated[
        str, typer.Option(help="openvino, onnxruntime-x86, x86-novnni, onnxruntime-arm, tensorrt, or auto.")
    ] = "auto",
    method: Annotated[
        str, typer.Option(help="Ranges by min-max, moving-average, percentile, entropy or mse.")
    ] = "min-max",
    floats: Annotated[
        str, typer.Option("--float", help="What stays in float, and scales: fp32, or fp16 for TensorRT 10 and newer.")
    ] = "fp32",
    max_drop: Annotated[float | None, typer.Option(min=0, max=1, help="Gate: most mIoU lost.")] = None,
    max_class_drop: Annotated[float | None, typer.Option(min=0, max=1, help="Gate: most IoU a class may lose.")] = None,
    min_speedup: Annotated[
        float | None, typer.Option(min=0.01, max=1000, help="Gate: INT8 over FP32, same run-time.")
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="With gates: calibrate on the set of edge-seg calib images; --data then judges.")
    ] = None,
    sensitivity: Annotated[
        Path | None, typer.Option(help="TOML of edge-seg calib sensitivity: the order of layers to leave in float.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write; beside MODEL where not given.")] = None,
    images: Annotated[
        int | None,
        typer.Option(min=1, help="Number of calibration images of --data, spread over it.", show_default=str(IMAGES)),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With gates: print the ladder as JSON on stdout.")] = False,
) -> None:
    """Quantize and say what was written."""
    from edge_seg.calib.gates import Gates
    from edge_seg.calib.rung import Rung, read_rung
    from edge_seg.export.target import is_timed_here, targets_of
    from edge_seg.weights import find_model, place_beside

    gates, asked = Gates(max_drop, max_class_drop, min_speedup), Rung(target, method, float_type=floats)
    _check_usage(data, ranges, rung, asked)
    count = image_count(images, manifest or ranges)
    targets_of(target)  # fails before any work
    source = find_model(model)
    path = check_out(out or place_beside(source).with_suffix(".int8.onnx"), source)
    if gates == Gates():
        if as_json or sensitivity is not None:
            raise typer.BadParameter("--json and --sensitivity belong to gates. Add --max-drop or --min-speedup.")
        if manifest is not None:
            raise typer.BadParameter("--manifest belongs to gates. Without one: edge-seg calib observe, then --ranges.")
        wanted = read_rung(rung) if rung else asked
        stale = stale_beside(path, kept=[given for given in (ranges, rung) if given is not None])
        _write(source, path, data=data, ranges=ranges, rung=wanted, images=count)
        warn_of_stale(stale, path)
        return
    if data is None or rung is not None or asked != Rung(target):
        raise typer.BadParameter(
            "Gates find the method on labelled pictures: give --data, no --method, --float or --rung."
        )
    if min_speedup is not None and not is_timed_here(target):
        raise typer.BadParameter(f"{target} is not timed on this machine, but where it runs. Leave --min-speedup out.")
    _check_gated(path, sensitivity, manifest)
    wish = Wish(target, count, sensitivity, manifest, copy_fp32=out is not None)
    quantize_behind_gates(source, path, data, gates, wish=wish, as_json=as_json)


def _check_usage(data: str | None, ranges: Path | None, rung: Path | None, asked: "Rung") -> None:
    """Wrong usage for options that do not go together, unknown names, and sets that a result is measured on."""
    from edge_seg.calib.ranges import NAMES
    from edge_seg.calib.rung import Rung

    if (data is None) == (ranges is None):
        raise typer.BadParameter("Give either --data or --ranges.")
    if asked.method not in NAMES:
        raise typer.BadParameter(f"--method {asked.method}: expected {', '.join(NAMES)}.")
    if rung is not None and asked != Rung("auto"):
        raise typer.BadParameter(
            "--rung says target, method and float itself. Leave --target, --method and --float out."
        )
    _check_floats(asked.float_type, asked.target)
    if data is not None:
        check_calibration_data(data)


def _check_gated(out: Path, *given: Path | None) -> None:
    """Wrong usage for given files that would be replaced."""
    beside = files_beside(out)
    for name in given:
        if name is not None and any(same_file(path, name) for path in beside):
            raise typer.BadParameter(f"--out {out} would replace {name}. Choose another name.")
    for path in beside:
        if path.is_dir():
            raise SinkError(f"{path} is a folder; a file of that name goes beside {out}. Choose another --out.")


def _check_floats(floats: str, target: str) -> None:
    """Wrong usage unless `floats` is a type that the target's run-time computes in."""
    from edge_seg.calib.rung import FLOAT_TYPES

    if floats not in FLOAT_TYPES:
        raise typer.BadParameter(f"--float {floats}: expected {' or '.join(FLOAT_TYPES)}.")
    if floats == "fp16" and target != "tensorrt":
        raise typer.BadParameter(
            "--float fp16 is for --target tensorrt: CPUs would convert each tensor to FP32 and back."
        )


def _write(source: Path, out: Path, *, data: str | None, ranges: Path | None, rung: "Rung", images: int) -> None:
    """One file, of a rung whose target may leave the dialect to be chosen."""
    from edge_seg.calib.quantize import check_replayable, choose_target, float_graph, open_fp32, write_int8
    from edge_seg.calib.ranges import read_ranges

    check_replayable(rung)
    graph = float_graph(open_fp32(source), rung)
    found = read_ranges(ranges, graph) if ranges else observe_data(graph, str(data), images)
    target = choose_target(graph, found, rung, on_skipped=lambda note: print(f"Skipped: {note}", file=sys.stderr))
    rung = replace(rung, target=target)
    spec = write_int8(source, out, found, rung)
    print(
        f"{out}: {spec.name} {spec.precision} for {rung.target}. Measure it: edge-seg eval {out} --data ...",
        file=sys.stderr,
    )


def observe_data(graph: "onnx.ModelProto", data: str, images: int) -> "Ranges":
    """Ranges of an FP32 graph over a data set, with a bar of progress."""
    from edge_seg.apps.progress import progress
    from edge_seg.calib.images import calibration_images, pick_indices
    from edge_seg.calib.ranges import observe
    from edge_seg.data import open_dataset
    from edge_seg.runners.contract import check_contract

    dataset = open_dataset(data)
    count = len(pick_indices(len(dataset), images))
    with progress("calibrate", count) as step:
        pictures = calibration_images(dataset, check_contract(graph, "the model"), images)
        ranges = observe(graph, pictures, pictures=data, on_image=step)
    tell_zeros(ranges)
    return ranges
