"""`edge-seg build`: a TensorRT engine of an ONNX file, for the GPU at hand."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(help="Build a TensorRT engine of an ONNX file, on the GPU that is to run it.")(build)


def build(
    model: Annotated[str, typer.Argument(help="Bundled name or ONNX file; for INT8 one of --target tensorrt.")],
    *,
    out: Annotated[Path | None, typer.Option(help="Engine to write; MODEL.engine where not given.")] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="fp32, fp16, int8 or best. From TensorRT 10 on a file of such types is written first.",
            show_default="best; from TensorRT 10 on the file's types",
        ),
    ] = None,
    calib: Annotated[
        str, typer.Option(help="INT8 by qdq, the file's own nodes, or implicit, by a calibrator (TensorRT before 11).")
    ] = "qdq",
    cache: Annotated[
        Path | None, typer.Option(help="With --calib implicit: the calibration cache of edge-seg calib cache.")
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="With --calib implicit: the pictures of edge-seg calib images.")
    ] = None,
    calibrator: Annotated[
        str | None, typer.Option(help="With --manifest: entropy or min-max.", show_default="entropy")
    ] = None,
    calib_batch: Annotated[
        int | None, typer.Option(min=1, help="With --manifest: pictures shown at a time.", show_default="8")
    ] = None,
    dla: Annotated[int | None, typer.Option(min=0, help="Deep learning accelerator to build for.")] = None,
    workspace_mb: Annotated[int | None, typer.Option(min=1, help="Most memory of a layer at work, MiB.")] = None,
    tactic_memory_mb: Annotated[
        int | None,
        typer.Option(
            min=1, help="Most memory of the whole build on a Jetson, MiB (from 8.6 on); else 3/4 of what is free."
        ),
    ] = None,
    timing_cache: Annotated[Path | None, typer.Option(help="File of timings to use and to add to.")] = None,
    batch: Annotated[str, typer.Option(help="Pictures at a time: N, or least,best,most.")] = "1",
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="Let the next TensorRT generation run it too (from 8.6 on).")
    ] = False,
    tactic_sources: Annotated[
        str, typer.Option(help="Only these sources of tactics, by TensorRT's names with commas between.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the engine's fingerprint as JSON on stdout.")] = False,
) -> None:
    """Build, or find that the engine is up to date, and say what it is."""
    from dataclasses import asdict

    from edge_seg.apps.build_progress import build_progress
    from edge_seg.apps.engine_calibration import calibration_of
    from edge_seg.apps.output import print_report
    from edge_seg.export.build_engine import build_engine, tell_on_stderr
    from edge_seg.export.to_engine import BuildOptions
    from edge_seg.weights import find_model, place_beside

    source = find_model(model)
    path = out or place_beside(source).with_suffix(".engine")
    options = BuildOptions(
        precision=precision,
        dla=dla,
        workspace_mb=workspace_mb,
        tactic_memory_mb=tactic_memory_mb,
        timing_cache=timing_cache,
        batch=parse_batch(batch),
        version_compatible=version_compatible,
        tactic_sources=tuple(name.strip() for name in tactic_sources.split(",") if name.strip()),
    )
    calibration = calibration_of(
        calib, source=source, out=path, cache=cache, manifest=manifest, calibrator=calibrator, batch=calib_batch
    )
    with build_progress() as on_phase:
        found = build_engine(source, path, options, calibration=calibration, on_phase=on_phase, tell=tell_on_stderr)
    text = f"{path}: {found.precision}, TensorRT {found.tensorrt}, {found.gpu} (sm {found.sm}). Type: "
    print_report(asdict(found), f"{text}edge-seg run --model {path}", as_json=as_json)


def parse_batch(text: str) -> tuple[int, int, int]:
    """Least, best and most pictures at a time; wrong usage for anything else.

    >>> parse_batch("4"), parse_batch("1,4,8")
    ((4, 4, 4), (1, 4, 8))
    """
    parts = text.split(",")
    numbers = [int(part) for part in parts if part.strip().isdecimal()]
    if len(numbers) != len(parts) or len(numbers) not in (1, 3) or numbers != sorted(numbers) or numbers[0] < 1:
        raise typer.BadParameter(f"--batch {text}: expected N, or three numbers that rise, such as 1,4,8.")
    least, best, most = numbers if len(numbers) == 3 else numbers * 3
    return least, best, most
