"""Files of weights, whoever wrote them: tensors by name, and what they owe to whom."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from edge_seg.errors import ModelError
from edge_seg.runners.contract import check_contract, load_onnx
from edge_seg.spec import METADATA_KEY, ModelSpec, parse_spec
from edge_seg.weights import BUNDLED, find_model

NESTS = ("state_dict", "model_state_dict", "model_state", "model", "net", "weights", "params", "ema")
"""Keys under which training programs keep a net's tensors, beside an optimiser's and other things."""

MOST_NESTED = 4

READ_ERRORS = (
    OSError,
    RuntimeError,
    LookupError,
    ValueError,
    TypeError,
    EOFError,
    pickle.UnpicklingError,
    SafetensorError,
)
"""What another file makes of the readers."""


@dataclass(frozen=True, slots=True)
class WeightFile:
    """Tensors by name, with the data set and the licence that they owe to, and architecture and classes where known.

    In an export BatchNorm is part of the convolutions; `folded` has their names there, in the order of the graph.
    """

    tensors: dict[str, Tensor]
    dataset: str
    licence: str
    arch: str | None = None
    class_names: tuple[str, ...] = ()
    folded: tuple[str, ...] = ()


def read_weights(model: Path) -> WeightFile:
    """Tensors of a checkpoint, of any PyTorch state dict or safetensors, of an FP32 ONNX file of `edge-seg export` or a
    bundled name.

    ModelError for a file without tensors, one that holds code, and an INT8 file.
    """
    path = find_model(str(model))
    return _read_onnx(path, model) if path.suffix == ".onnx" else _read_pytorch(path)


def _load(path: Path) -> Any:  # noqa: ANN401
    if path.suffix.lower() == ".safetensors":
        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _read_pytorch(path: Path) -> WeightFile:
    try:
        found = _load(path)
    except READ_ERRORS as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"{path} is no file of PyTorch weights alone ({type(error).__name__}: {reason}). Give one of edge-seg "
            "train, the state dict that torch.save(net.state_dict(), PATH) writes, or .safetensors."
        ) from None
    tensors = find_tensors(found)
    if not tensors:
        keys = ", ".join(map(str, found)) if isinstance(found, Mapping) else type(found).__name__
        raise ModelError(f"{path} holds no tensors by name, but {keys[:200]}. Give a state dict.")
    if METADATA_KEY in found:
        spec = parse_spec(found[METADATA_KEY])
        return _weight_file(tensors, spec, str(found.get("arch")))
    return WeightFile(tensors, f"weights of {path.name}", f"Unknown: see where the weights of {path.name} came from")


def find_tensors(found: object, depth: int = MOST_NESTED) -> dict[str, Tensor]:
    """The tensors by name in what a file holds, or in the first of NESTS that has some.

    >>> sorted(find_tensors({"epoch": 3, "model": {"head.weight": torch.zeros(1), "head.bias": torch.zeros(1)}}))
    ['head.bias', 'head.weight']
    """
    if not isinstance(found, Mapping) or not depth:
        return {}
    nested = (find_tensors(found.get(key), depth - 1) for key in NESTS)
    own = {str(name): value for name, value in found.items() if isinstance(value, Tensor) and _is_dense(value)}
    return next(filter(None, nested), own)


def _is_dense(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and not tensor.is_meta and not tensor.is_quantized


def _read_onnx(path: Path, asked: Path) -> WeightFile:
    from onnx import numpy_helper

    model = load_onnx(path)
    spec = check_contract(model, str(asked))
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        bundled = f"{asked}-fp32"
        hint = bundled if bundled in BUNDLED else "the FP32 file that it was quantized from"
        raise ModelError(f"{asked} is INT8: its weights are rounded. Give {hint}.")
    values = {tensor.name: torch.tensor(numpy_helper.to_array(tensor)) for tensor in model.graph.initializer}
    tensors = {name.removeprefix("net."): value for name, value in values.items() if name.startswith("net.")}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    for node in convolutions:
        names = (f"{module_path(node.name)}.{kind}" for kind in ("weight", "bias"))
        tensors |= {name: values[key] for name, key in zip(names, node.input[1:], strict=False) if key in values}
    folded = tuple(module_path(node.name) for node in convolutions)
    return _weight_file(tensors, spec, spec.name, folded)


def _weight_file(tensors: dict[str, Tensor], spec: ModelSpec, arch: str, folded: tuple[str, ...] = ()) -> WeightFile:
    names = tuple(c.name for c in spec.classes)
    return WeightFile(tensors, spec.dataset, spec.licence, arch=arch, class_names=names, folded=folded)


def module_path(node: str) -> str:
    """The module that PyTorch's exporter named a node after; a module's part repeats that of the container around it.

    >>> module_path("/net/stages.0/stages.0.0/body/body.0/body.0.0/Conv"), module_path("/net/head/Conv")
    ('stages.0.0.body.0.0', 'head')
    """
    parts: list[str] = []
    for part in node.split("/")[2:-1]:
        if parts and part.startswith(f"{parts[-1]}."):
            parts[-1] = part
        else:
            parts.append(part)
    return ".".join(parts)
