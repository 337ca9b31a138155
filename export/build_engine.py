"""`net.onnx` to `net.engine` on this machine, with its sidecar: built once, and again only where something changed."""

import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from edge_seg.errors import ModelError, SinkError
from edge_seg.export.build_log import BuildLog, OnPhase
from edge_seg.export.to_engine import BuildOptions, to_engine
from edge_seg.files import check_path, same_file
from edge_seg.runners.contract import read_onnx_spec
from edge_seg.runners.cuda import Device
from edge_seg.runners.engine_file import SUFFIX, Fingerprint, read_engine, sha256, sidecar_of, write_engine
from edge_seg.runners.tensorrt_api import import_tensorrt
from edge_seg.spec import ModelSpec

WHOLE_SYSTEM = f"{platform.system()} {platform.machine()}"
"""An engine fits one operating system and one kind of CPU."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How an engine is calibrated: `make` gives TensorRT's calibrator, `key` is a hash of what it learns from."""

    make: Callable[[Any, Device], Any]
    key: str


def build_engine(
    source: Path,
    out: Path,
    options: BuildOptions,
    *,
    calibration: Calibration | None = None,
    on_phase: OnPhase = lambda phase, step, steps: True,
    tell: Callable[[str], None] = lambda line: None,
) -> Fingerprint:
    """Build the engine of an ONNX file, write it with its sidecar and its log, and give its fingerprint.

    One that is there already and was built of, by and for the same is kept; where it differs, `tell` says why it is
    built again. Of two processes that build the same one, the second waits and finds it. Errors as `to_engine`;
    SinkError where the engine cannot be written; nothing is written where the build fails, but for its log.
    """
    if check_path(out, SinkError).suffix != SUFFIX or same_file(source, out) or out.is_dir():
        raise SinkError(f"{out}: expected the name of an engine, such as {out.with_suffix(SUFFIX).name}.")
    spec, content = read_onnx_spec(source), source.read_bytes()
    trt, device = import_tensorrt(), Device()
    wanted = _fingerprint(trt, device, content, spec, options, calibration)
    with _locked(out, tell):
        why = _why_build(out, wanted)
        if not why:
            tell(f"{out} is up to date.")
            return wanted
        tell(f"Building {out}: {'; '.join(why)}.")
        log = BuildLog()
        try:
            with device.current():
                calibrator = None if calibration is None else calibration.make(trt, device)
                plan = to_engine(trt, content, options, log=log, calibrator=calibrator, on_phase=on_phase)
        finally:
            log.write(out.with_name(f"{out.name}.log"))
        write_engine(out, plan, replace(spec, precision=wanted.precision, scores={}), wanted)
    return wanted


def _fingerprint(
    trt: Any,  # noqa: ANN401
    device: Device,
    content: bytes,
    spec: ModelSpec,
    options: BuildOptions,
    calibration: Calibration | None,
) -> Fingerprint:
    asked = None if options.precision == "best" else options.precision.upper()
    return Fingerprint(
        onnx=sha256(content),
        tensorrt=trt.__version__,
        driver=device.driver,
        gpu=device.name,
        sm=device.sm,
        precision=asked or ("INT8" if calibration is not None else spec.precision),
        batch=options.batch,
        calibration="" if calibration is None else calibration.key,
        flags=(WHOLE_SYSTEM, *options.flags()),
    )


def _locked(out: Path, tell: Callable[[str], None]) -> FileLock:
    """The lock of an engine, taken; waits for another process that builds it, and says so."""
    lock = FileLock(out.with_name(f".{out.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        tell(f"Another process is building {out}: waiting for it.")
        lock.acquire()
    except OSError as error:
        raise SinkError(
            f"{out} cannot be written: {error.strerror}. Choose a folder that exists and is yours."
        ) from None
    return lock


def _why_build(out: Path, wanted: Fingerprint) -> list[str]:
    """What differs in the engine that is there; nothing where it is as wanted."""
    if not out.is_file() and not sidecar_of(out).is_file():
        return ["there is none yet"]
    try:
        _, sidecar = read_engine(out)
    except ModelError as error:
        return [str(error).partition(". ")[0]]
    return sidecar.fingerprint.differences(wanted)


def tell_on_stderr(line: str) -> None:
    """Print a line for people."""
    print(line, file=sys.stderr, flush=True)
