"""An ONNX file on TensorRT in one call: its engine is built once into a cache, and opened."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from edge_seg.export.build_engine import build_engine, tell_on_stderr
from edge_seg.export.to_engine import BuildOptions
from edge_seg.runners import Runner, open_runner
from edge_seg.runners.engine_file import SUFFIX, cache_folder
from edge_seg.weights import find_model


def open_engine(
    model: str | Path, options: BuildOptions | None = None, *, tell: Callable[[str], None] = tell_on_stderr
) -> Runner:
    """A runner of an ONNX file's engine, by its path or bundled name; errors as `build_engine` and `open_runner`."""
    return open_runner(cached_engine(model, options, tell=tell), "tensorrt")


def cached_engine(
    model: str | Path, options: BuildOptions | None = None, *, tell: Callable[[str], None] = tell_on_stderr
) -> Path:
    """The engine of an ONNX file in the user's cache: what is there is kept, or built anew, with a line saying why.

    One for each file by its place, and for each set of options; errors as `build_engine`.
    """
    source, wanted = find_model(str(model)), options or BuildOptions()
    place = f"{source.resolve()} {wanted.precision} {wanted.batch} {wanted.flags()}"
    out = cache_folder("engines") / f"{source.stem}-{hashlib.sha256(place.encode()).hexdigest()[:12]}{SUFFIX}"
    build_engine(source, out, wanted, tell=tell)
    return out
