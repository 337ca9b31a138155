"""What is to be measured: artefacts, each on run-times, with batches and threads."""

import importlib
import importlib.metadata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import product
from pathlib import Path

import onnx

from edge_seg.apps.profile.rows import Row
from edge_seg.errors import EdgeSegError, ModelError
from edge_seg.export.graph import in_tail, multiplications, read_graph
from edge_seg.runners import RUNTIMES, best_runtime, choose_runtime, read_spec
from edge_seg.runners.artefact_files import files_of, hash_of
from edge_seg.runners.base import Runtime


def combine(
    models: Sequence[tuple[str, Path]], runtimes: Sequence[str], *, batches: Sequence[int], threads: Sequence[int]
) -> list[Row]:
    """A row for every artefact (name, path) on every run-time that takes such files, with each batch and thread count.

    `runtimes` are names, or "auto" for what `best_runtime` takes, or "all": all of CPUs, and of GPUs for files that no
    CPU runs. ModelError for an unknown name, and for one that takes none of the artefacts.
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
            engine = " give what edge-seg build MODEL.onnx writes, or" if suffix == ".engine" else ""
            raise ModelError(
                f"The run-time {runtime} takes {suffix} files, and no model given is one:{engine} leave it out."
            )
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
            taking = {name: known for name, known in RUNTIMES.items() if known.suffix == path.suffix}
            yield from (name for name, known in taking.items() if not known.on_gpu or len(taking) == 1)
        elif _known(runtime).suffix == path.suffix:
            yield runtime


def describe(row: Row) -> Row:
    """A row with what its artefact says of itself, or with an error where that cannot be opened at all."""
    try:
        path, runtime = choose_runtime(row.path, row.runtime)
        spec, files = read_spec(path), files_of(path)
        sha256, size_mb = hash_of(files), sum(file.stat().st_size for file in files) / 1e6
        gmacs = count_gmacs(path) if path.suffix == ".onnx" else None
    except (EdgeSegError, OSError) as error:
        return replace(row, error=str(error))
    return replace(
        row,
        sha256=sha256,
        name=spec.name,
        precision=spec.precision,
        width=spec.width,
        height=spec.height,
        version=version_of(runtime.package),
        size_mb=size_mb,
        gmacs=gmacs,
    )


def version_of(module: str) -> str:
    """The version of a run-time, whatever distribution its module came with; empty where nothing tells it.

    The module itself is asked, and loaded for that, where no distribution knows of it.
    """
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(module)
    for name in importlib.metadata.packages_distributions().get(module, ()):  # as onnxruntime-gpu
        with suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    with suppress(ImportError, OSError):  # OSError: of a library that it needs
        return str(getattr(importlib.import_module(module), "__version__", ""))
    return ""


def count_gmacs(path: Path) -> float:
    """Multiply-accumulates of an ONNX file's convolutions for one picture, in thousand millions.

    Those by which an integer tail up-samples do not count, so that a net's FP32 and INT8 files have the same number.
    ModelError for a file whose weights beside it are missing or cut short.
    """
    try:
        model = onnx.load(path)
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(f"The weights beside {path} cannot be read ({error}). Copy them there again.") from None
    try:
        graph = read_graph(model)
        convolutions = [node for node in graph.of("Conv", "ConvTranspose") if not in_tail(node)]
        return sum(multiplications(graph, node) for node in convolutions) / 1e9
    except ModelError as error:  # names a constant and no file; where onnx does not look at lengths, a short one too
        raise ModelError(f"{path} cannot be read: {error}") from None
