"""`net.onnx` to `net.engine` on this machine, with its sidecar: built once, and again only where something changed."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import onnx

from edge_seg.errors import ModelError, SinkError
from edge_seg.export.build_log import OnPhase, Watch
from edge_seg.export.calibrated import Calibration, build_calibrated
from edge_seg.export.engine_checks import check_calibrator
from edge_seg.export.tensorrt_ready import ready_for
from edge_seg.export.to_engine import MB, BuildOptions, Plan, is_typed, to_engine
from edge_seg.export.typed_onnx import typed_onnx
from edge_seg.files import check_path, errors_of, same_file, write_whole
from edge_seg.runners.artefact_files import files_of, hash_of
from edge_seg.runners.contract import check_contract, load_onnx
from edge_seg.runners.cuda import Device, open_device
from edge_seg.runners.engine_file import (
    SUFFIX,
    Fingerprint,
    open_lock,
    read_engine,
    sidecar_of,
    this_system,
    write_engine,
)
from edge_seg.runners.tensorrt_api import Log, has, import_tensorrt

BUILD_SHARE = 0.75
"""Of the free memory, where a build shares it with the system: NVIDIA's own share, which it takes of all there is."""


def build_engine(
    source: Path,
    out: Path,
    options: BuildOptions,
    *,
    calibration: Calibration | None = None,
    on_phase: OnPhase = lambda phase, step, steps: None,
    tell: Callable[[str], None] = lambda line: None,
) -> Fingerprint:
    """Build the engine of an ONNX file, write it with its sidecar and its log, and give its fingerprint.

    One that is there already and was built of, by and for the same is kept; where it differs, `tell` says why it is
    built again. Of two processes that build the same one, the second waits and finds it. Errors as `to_engine`,
    `typed_onnx` and `ready_for`, and what `calibration` raises; SinkError where the engine cannot be written. Where the
    build fails no engine is written, but its log, and the FP16 file that it was to be built of.
    """
    _check_out(source, out, options)
    model = load_onnx(source)
    trt, device = import_tensorrt(), open_device()
    if calibration is not None:
        check_calibrator(trt, options.precision, model)
    wanted = _fingerprint(trt, device, source, options, calibration)
    if (kept := _kept(out, wanted)) is not None:
        tell(f"{out} is up to date.")
        return kept
    with _locked(out, tell):
        if (kept := _kept(out, wanted)) is not None:  # by another process meanwhile
            tell(f"{out} is up to date.")
            return kept
        tell(f"Building {out}: {'; '.join(_why_build(out, wanted))}.")
        ready = ready_for(model, trt.__version__, name=str(source), folder=source.parent)
        if is_typed(trt, calibrated=calibration is not None):
            ready = _typed(ready, options.precision, out, tell)
        with _log_beside(out) as log:
            bounded = _bounded(trt, device, options, tell)
            build = partial(to_engine, trt, ready, bounded, log=log, on_phase=on_phase)
            plan = _build(trt, device, calibration, build, tell=tell)
        built = replace(wanted, precision=plan.precision)
        spec = replace(check_contract(model, str(source)), precision=plan.precision, scores={})
        write_engine(out, plan.content, spec, built)
        if options.timing_cache is not None:
            write_whole(options.timing_cache, plan.timings)
    return built


def _check_out(source: Path, out: Path, options: BuildOptions) -> None:
    """SinkError for a name that is none of an engine, and for an engine or timings that lie nowhere."""
    if check_path(out, SinkError).suffix != SUFFIX or same_file(source, out):
        raise SinkError(f"{out}: expected the name of an engine, such as {out.with_suffix(SUFFIX).name}.")
    if out.is_dir() or not out.parent.is_dir():
        raise SinkError(f"{out} cannot be written: {out if out.is_dir() else out.parent} is no place for a file.")
    cache = options.timing_cache
    if cache is not None and not cache.parent.is_dir():
        raise SinkError(f"{cache} cannot be written: {cache.parent} is no folder. Choose another --timing-cache.")


def _bounded(
    trt: Any,  # noqa: ANN401
    device: Device,
    options: BuildOptions,
    tell: Callable[[str], None],
) -> BuildOptions:
    """The options; where CPU and GPU share their memory, with a bound on the build's, if there is none yet.

    There the tactics that are tried would take what the system itself needs. The pool has all that the build takes of
    the CPU's memory too, so no bound on one layer's tells it. What is free changes: it belongs in no fingerprint.
    """
    if options.tactic_memory_mb is not None or not device.shares_memory or not has(trt, "tactic memory"):
        return options
    with device.current():
        mb = max(1, int(device.free_memory() * BUILD_SHARE) // MB)
    tell(f"CPU and GPU share their memory: the build may take {mb} MiB of what is free. Another: --tactic-memory-mb")
    return replace(options, tactic_memory_mb=mb)


def _typed(model: onnx.ModelProto, precision: str | None, out: Path, tell: Callable[[str], None]) -> onnx.ModelProto:
    """The model in the types of a precision, written beside the engine where it is another."""
    typed = typed_onnx(model, precision, tell=tell)
    if typed is not model:
        path = out.with_name(f"{out.name}.fp16.onnx")
        write_whole(path, typed.SerializeToString())
        tell(f"Its floats are in FP16 in {path}, of which the engine is built.")
    return typed


def _build(
    trt: Any,  # noqa: ANN401
    device: Device,
    calibration: Calibration | None,
    build: Callable[..., Plan],
    *,
    tell: Callable[[str], None],
) -> Plan:
    """What `build`, given watch and calibrator, makes within the device's context."""
    watch = Watch()
    with device.current(), watch.interrupts():
        if calibration is None:
            return build(watch=watch)
        return build_calibrated(
            lambda floats: calibration.make(trt, device, watch.stop, floats),
            lambda implicit: build(watch=watch, implicit=implicit),
            batch=calibration.batch,
            watch=watch,
            tell=tell,
        )


def _fingerprint(
    trt: Any,  # noqa: ANN401
    device: Device,
    source: Path,
    options: BuildOptions,
    calibration: Calibration | None,
) -> Fingerprint:
    return Fingerprint(
        onnx=hash_of(files_of(source)),
        tensorrt=trt.__version__,
        driver=device.driver,
        gpu=device.name,
        sm=device.sm,
        system=this_system(),
        asked=options.precision or ("file" if is_typed(trt, calibrated=calibration is not None) else "best"),
        batch=options.batch,
        calibration="" if calibration is None else calibration.key,
        flags=options.flags(),
    )


def _kept(out: Path, wanted: Fingerprint) -> Fingerprint | None:
    """The fingerprint of the engine that is there, where it is as wanted."""
    return None if _why_build(out, wanted) else read_engine(out)[1].fingerprint


def _why_build(out: Path, wanted: Fingerprint) -> list[str]:
    """What differs in the engine that is there; nothing where it is as wanted."""
    if not out.is_file() and not sidecar_of(out).is_file():
        return ["there is none yet"]
    try:
        _, sidecar = read_engine(out)
    except ModelError as error:
        return [str(error).partition(". ")[0]]
    return sidecar.fingerprint.differences(wanted)


@contextmanager
def _locked(out: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of an engine, where there can be one; waits for another process that builds it, and says so."""
    lock = open_lock(out)
    if lock is None:
        yield
        return
    with errors_of(out, "Choose a folder that exists and is yours."):
        try:
            lock.acquire(timeout=0)
        except TimeoutError:
            tell(f"Another process is building {out}: waiting for it.")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _log_beside(out: Path) -> Iterator[Log]:
    """A log that is written as TensorRT speaks, so that it is there also where the process dies."""
    path = out.with_name(f"{out.name}.log")
    with errors_of(path):
        file = path.open("w", encoding="utf-8")
    with file:
        yield Log(file)


def tell_on_stderr(line: str) -> None:
    """Print a line for people."""
    print(line, file=sys.stderr, flush=True)
