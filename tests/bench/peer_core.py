"""The float core of a contract graph: from the normalised picture to the logits, without the ends in bytes.

Some quantizers do not take a graph of bytes in and labels out. Its core is cut at the input of the first convolution
and at the logits before their last up-sampling, quantized, and put back between the two ends, which stay as they are.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import compose
from onnx.utils import Extractor

from edge_seg.errors import ModelError

PREFIX = "core/"
"""Before the names of the core that was put back, so that none is one of the ends'."""


def core_ends(model: onnx.ModelProto) -> tuple[str, str]:
    """The tensors where the core begins and ends; ModelError for a graph that does not end in an ArgMax."""
    makers = {name: node for node in model.graph.node for name in node.output}
    source = next((node.input[0] for node in model.graph.node if node.op_type == "Conv"), None)
    target = next((node.input[0] for node in model.graph.node if node.op_type == "ArgMax"), None)
    if source is None or target is None:
        raise ModelError("The graph has no convolution, or no ArgMax at its end: it has no core to cut out.")
    while target in makers and makers[target].op_type == "Resize":
        target = makers[target].input[0]
    return source, target


def cut_core(model: onnx.ModelProto, out: Path) -> None:
    """Write the core alone."""
    source, target = core_ends(model)
    onnx.save(_extractor(model).extract_model([source], [target]), out)


def core_pictures(model: onnx.ModelProto, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The core's input for each of `pictures`."""
    source, _ = core_ends(model)
    head = _extractor(model).extract_model([model.graph.input[0].name], [source])
    session = onnxruntime.InferenceSession(head.SerializeToString(), providers=["CPUExecutionProvider"])
    name = head.graph.input[0].name
    return np.concatenate([session.run(None, {name: picture[None]})[0] for picture in pictures])


def put_back(model: onnx.ModelProto, core: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with `core` in place of its own; opset and IR version are the core's."""
    source, target = core_ends(model)
    before, until = (_needed_for(name, model) for name in (source, target))
    core = compose.add_prefix(core, PREFIX)
    start, end = core.graph.input[0].name, core.graph.output[0].name
    head = [node for node in model.graph.node if _key(node) in before]
    # A constant that the core shares with the end is needed by both.
    tail = [node for node in model.graph.node if _key(node) not in until or node.op_type == "Constant"]
    tail = [node for node in tail if _key(node) not in before]
    nodes = [*_renamed(head, source, start), *core.graph.node, *_renamed(tail, target, end)]
    used = {name for node in (*head, *tail) for name in node.input}
    values = [tensor for tensor in model.graph.initializer if tensor.name in used]
    graph = onnx.helper.make_graph(
        nodes, model.graph.name, model.graph.input, model.graph.output, [*values, *core.graph.initializer]
    )
    return onnx.helper.make_model(graph, opset_imports=core.opset_import, ir_version=core.ir_version)


def _extractor(model: onnx.ModelProto) -> Extractor:
    return Extractor(onnx.shape_inference.infer_shapes(model))


def _key(node: onnx.NodeProto) -> str:
    return str(node.output[0])


def _needed_for(tensor: str, model: onnx.ModelProto) -> set[str]:
    """The first output of every node on the way to `tensor`."""
    makers = {name: node for node in model.graph.node for name in node.output}
    wanted, found = [tensor], set()
    while wanted:
        node = makers.get(wanted.pop())
        if node is not None and _key(node) not in found:
            found.add(_key(node))
            wanted += node.input
    return found


def _renamed(nodes: list[onnx.NodeProto], old: str, new: str) -> list[onnx.NodeProto]:
    result = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for names in (copy.input, copy.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
        result.append(copy)
    return result
