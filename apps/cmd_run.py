"""`edge-seg run`: the live overlay."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_seg.errors import ModelError, SinkError, SourceError

if TYPE_CHECKING:
    from edge_seg.apps.controls import Controls
    from edge_seg.apps.meters import RunReport
    from edge_seg.apps.sinks import Sink
    from edge_seg.apps.sources import Source
    from edge_seg.apps.view import View
    from edge_seg.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """How the loop runs: the most frames, the model's threads (0: the run-time's choice), and whether it is shown."""

    frames: int | None
    threads: int
    window: bool
    fast: bool


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(help="Segment a camera, a clip or a labelled sequence, with overlay, speed and IoU.")(run)


def run(
    *,
    camera: Annotated[int | None, typer.Option(min=0, max=255, help="Number of a camera.")] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="Video file, folder or glob of images, camera:N, camvid:PATH/val, or drive:seed=1 (the default)."
        ),
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Folder of label pictures for a folder of images.")] = None,
    model: Annotated[str, typer.Option(help="Bundled name or path of a model.")] = "edge-seg-s",
    runtime: Annotated[str, typer.Option(help="Run-time, or auto.")] = "auto",
    out: Annotated[
        list[Path] | None,
        typer.Option(help="File to write: .mp4 keeps all frames, .png the last one. Repeat for several."),
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many frames.")] = None,
    threads: Annotated[
        int, typer.Option(min=0, max=1024, help="Threads of the model; 0 leaves their number to the run-time.")
    ] = 0,
    headless: Annotated[bool, typer.Option("--headless", help="Open no window.")] = False,
    fast: Annotated[bool, typer.Option("--fast", help="In a window too, do not wait for a file's own times.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON on stdout.")] = False,
) -> None:
    """Run the loop and print its report."""
    from edge_seg.apps.output import print_report
    from edge_seg.apps.sources import open_source
    from edge_seg.apps.summary import run_summary
    from edge_seg.evaluate import check_classes
    from edge_seg.malloc import share_memory_between_threads
    from edge_seg.runners import read_spec

    share_memory_between_threads()
    uri = _check_source(camera, source, labels)
    outputs = _check_outputs(out or [], uri)
    path = choose_file(model, runtime)  # what is wrong with them is told before a camera starts
    spec = read_spec(path)
    with open_source(uri, labels=labels, classes=len(spec.classes)) as frames_in:
        if frames_in.class_names is not None:
            check_classes(spec.class_names, frames_in.class_names, frames_in.name)
        options = LoopOptions(frames, threads, window=not headless, fast=fast)
        report = _run(frames_in, (path, runtime), outputs, options)
    if not report.frames:
        raise SourceError(f"{frames_in.name} gave no frame ({report.skipped} skipped). Give another source.")
    print_report(report.to_dict(), run_summary(report), as_json=as_json)


def choose_file(model: str, runtime: str) -> Path:
    """The model's file; of a bundled INT8 one that this CPU would compute wrongly, the FP32 file, and that is said.

    On ONNX Runtime, where that is asked for by name, it runs as it is: exactly, but slowly. For TensorRT it is the
    engine of an ONNX file, built now where there is none. Errors as `open_runner`.
    """
    from edge_seg.apps.artefact import artefact_for
    from edge_seg.runners import check_vnni, choose_runtime
    from edge_seg.weights import find_model, fp32_name

    path, _ = choose_runtime(artefact_for(model, runtime), runtime)
    if runtime == "onnxruntime":
        return path
    try:
        check_vnni(path)
    except ModelError:
        other = fp32_name(path)
        if other is None:
            raise
        _say(
            f"{model} has weights of 8 bits, which this CPU, without VNNI, computes wrongly or slowly: running {other}."
            f" For INT8 of 7 bits: edge-seg quantize {other} --target x86-novnni --data ..."
        )
        return find_model(other)
    return path


def _check_source(camera: int | None, source: str | None, labels: Path | None) -> str:
    from edge_seg.apps.sources import DEFAULT_SOURCE, is_images

    if camera is not None and source is not None:
        raise typer.BadParameter("--camera and --source exclude each other. Give one of them.")
    uri = f"camera:{camera}" if camera is not None else source or DEFAULT_SOURCE
    if labels is not None and not is_images(uri):
        raise typer.BadParameter(f"--labels belongs to a folder or glob of images, not to {uri}.")
    return uri


def _check_outputs(paths: list[Path], source: str) -> list[Path]:
    from edge_seg.apps.sinks import SUFFIXES
    from edge_seg.files import check_path, same_file

    for path in paths:
        if path.suffix.lower() not in SUFFIXES:
            raise typer.BadParameter(f"--out {path}: expected a name ending in {' or '.join(SUFFIXES)}.")
        if same_file(check_path(path, SinkError), source):
            raise typer.BadParameter(f"--out {path} is the source itself. Choose another name.")
    return paths


def _run(source: "Source", model: tuple[Path, str], outputs: list[Path], options: LoopOptions) -> "RunReport":
    """Run the loop with a window where one is wanted and possible."""
    from edge_seg.apps.controls import Controls
    from edge_seg.apps.loop import run_loop
    from edge_seg.apps.progress import progress
    from edge_seg.segmenter import MOST_SEGMENTERS, open_segmenters

    controls = Controls()
    shown = options.window and _find_display()
    paced = shown and not options.fast
    expected = min((n for n in (source.length, options.frames) if n is not None), default=None)
    most = 1 if source.live or paced else expected or MOST_SEGMENTERS
    with (
        open_segmenters(*model, most=most, threads=options.threads) as segments,
        controls.on_signals(),  # outside: a film is finished after the loop, and Ctrl-C must not cut that short
        _open_sinks(source, outputs, controls if shown else None) as (sinks, hold),
        progress("run", None if source.live else expected) as step,
    ):
        report = run_loop(
            source,
            segments,
            _make_view(segments[0].spec, controls).draw,
            sinks,
            frames=options.frames,
            paced=paced,
            should_stop=lambda: controls.quit,
            on_frame=step,
            hold=hold,
        )
    if controls.quit:
        _say(f"Stopped after {report.frames} frames; what was to be written is complete.")
    return report


def _make_view(spec: "ModelSpec", controls: "Controls") -> "View":
    from edge_seg.apps.hud import Hud
    from edge_seg.apps.overlay import Overlay
    from edge_seg.apps.view import View

    return View(Overlay(spec), Hud(), controls)


def _find_display() -> bool:
    from edge_seg.apps.controls import KEYS
    from edge_seg.apps.window import has_display

    found = has_display()
    _say(f"Window: {KEYS}." if found else "No display found: going on without a window.")
    return found


@contextmanager
def _open_sinks(
    source: "Source", outputs: list[Path], controls: "Controls | None"
) -> Iterator[tuple[list["Sink"], Callable[[], bool]]]:
    """The files to write, a window where there are controls for one, and what waits while that is paused."""
    from edge_seg.apps.sinks import DEFAULT_FPS, open_sinks
    from edge_seg.apps.window import open_window

    with (
        open_sinks(outputs, None if source.live else source.fps or DEFAULT_FPS) as files,
        nullcontext() if controls is None else open_window(controls) as window,
    ):
        yield (files, lambda: False) if window is None else ([*files, window], window.hold)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
