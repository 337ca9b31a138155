"""What is to be measured: artefacts, each on run-times, with batches and threads."""

import hashlib
import importlib.metadata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import onnx

from edge_seg.apps.profile.rows import Row
from edge_seg.errors import EdgeSegError, ModelError
from edge_seg.export.graph import in_tail, multiplications, read_graph
from edge_seg.runners import RUNTIMES, best_runtime, choose_runtime, read_spec
from edge_seg.runners.base import Runtime


def combine(
    models: Sequence[tuple[str, Path]], runtimes: Sequence[str], *, batches: Sequence[int], threads: Sequence[int]
) -> list[Row]:
    """A row for every artefact (name, path) on every run-time that takes such files, with each batch and thread count.

    `runtimes` are names, or "auto" for the one that `run` would take, or "all". ModelError for an unknown name, and for
    one that takes none of the artefacts.
    """
    found = [
        Row(name, str(path), runtime, batch, count)
        for name, path in models
        for runtime, batch, count in product(_runtimes_of(path, runtimes), batches, threads)
    ]
    used = {row.runtime for row in found}
    for runtime in runtimes:
        if runtime not in ("auto", "all") and runtime not in used:
            suffix = _known(runtime).suffix
            raise ModelError(f"The run-time {runtime} takes {suffix} files, and no model given is one. Leave it out.")
    return list(dict.fromkeys(found))


def _known(runtime: str) -> Runtime:
    if runtime not in RUNTIMES:
        raise ModelError(f"Unknown run-time {runtime!r}. Choose auto, all, {', '.join(RUNTIMES)}.")
    return RUNTIMES[runtime]


def _runtimes_of(path: Path, runtimes: Sequence[str]) -> Iterable[str]:
    for runtime in runtimes:
        if runtime == "auto":
            yield best_runtime(path)
        elif runtime == "all":
            yield from (name for name, known in RUNTIMES.items() if known.suffix == path.suffix)
        elif _known(runtime).suffix == path.suffix:
            yield runtime


def describe(row: Row) -> Row:
    """A row with what its artefact says of itself, or with an error where that cannot be opened at all."""
    try:
        path, runtime = choose_runtime(row.path, row.runtime)
        spec, content = read_spec(path), path.read_bytes()
    except (EdgeSegError, OSError) as error:
        return replace(row, error=str(error))
    return replace(
        row,
        sha256=hashlib.sha256(content).hexdigest(),
        name=spec.name,
        precision=spec.precision,
        width=spec.width,
        height=spec.height,
        version=importlib.metadata.version(runtime.package),
        size_mb=len(content) / 1e6,
        gmacs=count_gmacs(path) if path.suffix == ".onnx" else None,
    )


def count_gmacs(path: Path) -> float:
    """Multiply-accumulates of an ONNX file's convolutions for one picture, in thousand millions.

    Those by which an integer tail up-samples do not count, so that a net's FP32 and INT8 files have the same number.
    """
    graph = read_graph(onnx.load(path))
    convolutions = [node for node in graph.of("Conv", "ConvTranspose") if not in_tail(node)]
    return sum(multiplications(graph, node) for node in convolutions) / 1e9
