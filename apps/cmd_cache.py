"""`edge-seg calib cache`: TensorRT's calibration cache from ranges, and ranges from a cache."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_seg.errors import SinkError
from edge_seg.files import check_path, check_writable, same_file


def register(calib: typer.Typer) -> None:
    """Add the command to the group `calib`."""
    calib.command(help="Write TensorRT's calibration cache from ranges, or with --read ranges from a cache.")(cache)


def cache(
    *,
    model: Annotated[str, typer.Option(help="Bundled name or path of the FP32 ONNX that was observed.")],
    out: Annotated[Path, typer.Option(help="Cache to write; with --read the ranges (.json).")],
    ranges: Annotated[Path | None, typer.Option(help="The ranges that edge-seg calib observe wrote.")] = None,
    read: Annotated[Path | None, typer.Option(help="Instead: a cache to read.")] = None,
    tensorrt: Annotated[
        str | None, typer.Option(help="TensorRT that will build, such as 8.5.3 or 10.3: its trtexec prints it.")
    ] = None,
    onnx: Annotated[
        Path | None, typer.Option(help="FP32 ONNX to write beside, with the ends that TensorRT takes.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="Ranges by min-max (the default), moving-average, percentile, entropy or mse.")
    ] = None,
    algorithm: Annotated[
        str | None, typer.Option(help="Calibrator: entropy2 (the default, and trtexec's), entropy, min-max or legacy.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Most pictures at a time, for trtexec (default 1).")] = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="FP16 for what is not in INT8, for trtexec.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON on stdout.")] = False,
) -> None:
    """Check the usage, go one way or the other, and report."""
    from edge_seg.weights import find_model

    if ranges is not None and read is None:
        source = find_model(model)
        _check_outs(out, onnx, [source, ranges])
        names = {"method": method or "min-max", "algorithm": algorithm or "entropy2"}
        report = _write(source, ranges, out, onnx, tensorrt=tensorrt, **names, batch=batch or 1, fp16=fp16)
        _print(report, _written_lines(report), report["trtexec"], as_json=as_json)
    elif read is not None and ranges is None:
        _check_reading(out, tensorrt=tensorrt, onnx=onnx, method=method, algorithm=algorithm, batch=batch, fp16=fp16)
        source = find_model(model)
        _check_out(out, [source, read])
        report = _read(source, read, out)
        lines = [f"{out}: ranges of {report['tensors']} tensors, as {' and '.join(report['methods'])}. Next:"]
        _print(report, lines, shlex.join(["edge-seg", "quantize", model, "--ranges", str(out)]), as_json=as_json)
    else:
        raise typer.BadParameter("Give either --ranges, to write a cache, or --read, to read one.")


def _check_outs(out: Path, onnx: Path | None, sources: list[Path]) -> None:
    """Before any work: wrong usage for names that do not fit, SinkError where no file can be written."""
    if out.suffix in (".json", ".onnx"):
        raise typer.BadParameter(f"--out {out} is the cache: give it a name such as {out.with_suffix('.cache')}.")
    if onnx is not None and onnx.suffix != ".onnx":
        raise typer.BadParameter(f"--onnx {onnx}: expected a name ending in .onnx.")
    for path in filter(None, (out, onnx)):
        _check_out(path, sources)


def _check_out(path: Path, sources: list[Path]) -> None:
    if any(same_file(check_path(path, SinkError), source) for source in sources):
        raise typer.BadParameter(f"{path} is read. Choose another name to write.")
    check_writable(path)


def _check_reading(out: Path, **writing: object) -> None:
    """Wrong usage for options that belong to writing a cache, and for ranges of another suffix."""
    for name, value in writing.items():
        if value:
            raise typer.BadParameter(f"--{name} is for writing a cache. Leave it out, or give --ranges.")
    if out.suffix != ".json":
        raise typer.BadParameter(f"--out {out}: expected a name ending in .json for the ranges.")


def _write(
    source: Path,
    ranges: Path,
    out: Path,
    onnx: Path | None,
    *,
    tensorrt: str | None,
    method: str,
    algorithm: str,
    batch: int,
    fp16: bool,
) -> dict[str, Any]:
    """Write the cache, and the ONNX file where one is asked for; the report."""
    from edge_seg.calib.ranges import NAMES
    from edge_seg.calib.tensorrt_cache import OF_TRTEXEC, find_algorithm, parse_version
    from edge_seg.calib.tensorrt_scales import trtexec_arguments, write_cache
    from edge_seg.runners.contract import read_onnx_spec

    if method not in NAMES:
        raise typer.BadParameter(f"--method {method}: expected {', '.join(NAMES)}.")
    if tensorrt is None:
        raise typer.BadParameter("--tensorrt is missing. The cache's header names the version, and others are refused.")
    version, chosen = parse_version(tensorrt), find_algorithm(algorithm)
    made = write_cache(source, ranges, out, version=version, algorithm=chosen, method=method, onnx_out=onnx)
    line = None
    if onnx is not None and chosen == OF_TRTEXEC:
        line = shlex.join(trtexec_arguments(onnx, out, read_onnx_spec(source), batch=batch, fp16=fp16))
    return {
        "cache": str(out),
        "header": made.header,
        "tensors": len(made.scales),
        "method": method,
        "onnx": None if onnx is None else str(onnx),
        "trtexec": line,
    }


def _written_lines(report: dict[str, Any]) -> list[str]:
    lines = [
        f"{report['cache']}: {report['tensors']} scales by {report['method']}, {report['header']}. Another version of "
        "TensorRT may refuse it: write it again for that one."
    ]
    if report["onnx"] is None:
        return [*lines, "It fits one graph alone, with the ends that TensorRT takes. Write that too: --onnx FILE.onnx"]
    if report["trtexec"] is None:
        return [*lines, f"{report['onnx']}: its graph. trtexec reads EntropyCalibration2 alone, not this cache."]
    return [*lines, f"{report['onnx']}: its graph. Where that TensorRT is, with both files, type:"]


def _read(source: Path, cache: Path, out: Path) -> dict[str, Any]:
    """Write the ranges; the report. A warning for tensors that have none."""
    from edge_seg.calib.quantize import open_fp32
    from edge_seg.calib.ranges import write_ranges
    from edge_seg.calib.tensorrt_cache import read_cache
    from edge_seg.calib.tensorrt_scales import ranges_of, some, without_range

    found, model = read_cache(cache), open_fp32(source)
    ranges = ranges_of(found, model)
    missing = without_range(ranges, model)
    write_ranges(out, ranges)
    if missing:
        print(f"Warning: the cache has no scale, and float stays float, for {some(missing)}.", file=sys.stderr)
    methods = list(next(iter(ranges.tensors.values())))
    return {
        "ranges": str(out),
        "header": found.header,
        "tensors": len(ranges.tensors),
        "methods": methods,
        "without_range": missing,
    }


def _print(report: dict[str, Any], lines: list[str], command: str | None, *, as_json: bool) -> None:
    """The report; for people with the command to type next, in one line whatever the terminal's width."""
    from rich.text import Text

    from edge_seg.apps.output import print_report

    print_report(report, Text("\n".join(lines)), as_json=as_json)
    if command is not None and not as_json:
        print(command)
