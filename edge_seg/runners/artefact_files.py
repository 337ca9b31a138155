"""The files that make up one artefact, and the hash by which artefacts are told apart."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx

from edge_seg.errors import ModelError
from edge_seg.runners.contract import load_onnx

BLOCK_BYTES = 1 << 20
"""Read at a time."""


def files_of(path: Path) -> list[Path]:
    """An artefact's file, and those beside it that hold weights of it, in order of their names.

    ModelError for weights that lie nowhere, or anywhere but in the folder of the file or below it.
    """
    names = _external_names(load_onnx(path)) if path.suffix == ".onnx" else ()
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts or not (path.parent / name).is_file():
            raise ModelError(f"{path} has weights in {name}, which is no file beside it. Put it there.")
    return [path, *(path.parent / name for name in names)]


def hash_of(files: Iterable[Path]) -> str:
    """SHA-256 of what the files hold, one after the other."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def _external_names(model: onnx.ModelProto) -> list[str]:
    outside = [tensor for tensor in _tensors(model.graph) if tensor.data_location == onnx.TensorProto.EXTERNAL]
    return sorted({entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"})


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """The weights of a graph and of those within its If and Loop nodes, and the tensors that its nodes hold."""
    yield from graph.initializer
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for inner in (attribute.g, *attribute.graphs):
            yield from _tensors(inner)
