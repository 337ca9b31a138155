"""An ONNX graph as a PyTorch module: run node by node, so that gradients reach what is fed into it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from edge_seg.calib.torch_ops import OPERATORS
from edge_seg.errors import ModelError


@dataclass(frozen=True, slots=True)
class Node:
    """A node as it is run: of its outputs the first, which alone our operators give."""

    operator: str
    name: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]


class TorchGraph(nn.Module):
    """What computes the tensors `outputs` of an ONNX graph; ModelError names an operator that is not in OPERATORS."""

    def __init__(self, model: onnx.ModelProto, outputs: Sequence[str]) -> None:
        super().__init__()
        self.outputs = tuple(outputs)
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.nodes: list[Node] = []
        needed = set(outputs)
        for node in reversed(model.graph.node):
            if node.output[0] in needed and node.op_type == "Constant":
                constants[node.output[0]] = _value(node)
            elif needed & set(node.output):
                self.nodes.insert(0, _checked(node))
                needed.update(node.input)
        self.constants: dict[str, str] = {}
        for number, name in enumerate(sorted(needed & set(constants))):
            self.constants[name] = f"constant_{number}"
            self.register_buffer(self.constants[name], _tensor(constants[name]), persistent=False)

    def forward(self, given: Mapping[str, Tensor]) -> list[Tensor]:
        """The tensors `outputs`, from the graph's inputs; what else is `given` stands in for what the graph has."""
        values: dict[str, Any] = {"": None}
        values |= {name: getattr(self, buffer) for name, buffer in self.constants.items()}
        values |= given
        for node in self.nodes:
            if node.output in given:
                continue
            inputs = [values[name] for name in node.inputs]
            try:
                values[node.output] = OPERATORS[node.operator](inputs, node.attributes)
            except ModelError as error:
                raise ModelError(f"Node {node.name}: {error}") from None
        return [values[name] for name in self.outputs]


def _checked(node: onnx.NodeProto) -> Node:
    if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
        raise ModelError(
            f"Node {node.name} is a {node.op_type}, which has no gradient here. Known are {', '.join(OPERATORS)}."
        )
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return Node(node.op_type, node.name, tuple(node.input), node.output[0], attributes)


def _value(node: onnx.NodeProto) -> np.ndarray[Any, Any]:
    """What a Constant holds."""
    value = helper.get_attribute_value(node.attribute[0])
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def _tensor(values: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(np.array(values))  # a copy: what ONNX gives cannot be written to
