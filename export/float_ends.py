"""The ends of a graph as TensorRT takes them: UINT8 at the input and the output alone, cast from and to float.

TensorRT converts UINT8 to FP32 and FP16 and from them, and nothing else (a Transpose of bytes, or a Cast of ArgMax's
integers to bytes, is refused).
"""

import onnx
from onnx import TensorProto, helper

from edge_seg.export.graph import LAYOUT, Graph, attribute_of
from edge_seg.export.tidy import drop_unused


def use_float_ends(model: onnx.ModelProto) -> None:
    """Cast the ends, and drop what is then of no use."""
    cast_ends(model)
    drop_unused(model.graph)


def cast_ends(model: onnx.ModelProto) -> None:
    """Cast bytes at the inputs to float before all else, and labels by way of float, which holds both exactly."""
    graph = Graph(model)
    for value in model.graph.input:
        if value.type.tensor_type.elem_type == TensorProto.UINT8:
            _cast_first(graph, value.name)
    for node in graph.of("Cast"):
        if node.output[0] in graph.outputs and attribute_of(node, "to", 0) == TensorProto.UINT8:
            _cast_by_way_of_float(graph, node)


def _cast_first(graph: Graph, image: str) -> None:
    """Turn `image -> Transpose -> ... -> Cast` into `image -> Cast -> Transpose -> ...`."""
    nodes, notes = graph.model.graph.node, graph.model.graph.value_info
    moving = []
    tensor = image
    while len(readers := graph.readers_of(tensor)) == 1 and readers[0].op_type in LAYOUT:
        moving.append(readers[0])
        tensor = readers[0].output[0]
    ends_well = len(readers) == 1 and readers[0].op_type == "Cast" and tensor not in graph.outputs
    if not moving or not ends_well or attribute_of(readers[0], "to", 0) not in (TensorProto.FLOAT, TensorProto.FLOAT16):
        return
    name = f"{image}/float"
    cast = helper.make_node("Cast", [image], [name], readers[0].name or name, to=attribute_of(readers[0], "to", 0))
    moving[0].input[0], moving[-1].output[0] = name, readers[0].output[0]
    nodes.remove(readers[0])
    nodes.insert(list(nodes).index(moving[0]), cast)
    for note in [note for note in notes if any(note.name in node.output for node in moving[:-1])]:
        notes.remove(note)  # it says bytes


def _cast_by_way_of_float(graph: Graph, cast: onnx.NodeProto) -> None:
    """Put a Cast to float before that of an ArgMax or a comparison to uint8; other integers might not fit uint8."""
    tensor = cast.input[0]
    while (maker := graph.maker.get(tensor)) is not None and maker.op_type in LAYOUT:
        tensor = maker.input[0]
    is_label = maker is not None and maker.op_type in ("ArgMax", "ArgMin")
    if is_label or graph.types.get(cast.input[0]) == TensorProto.BOOL:
        name = f"{cast.input[0]}/float"
        floats = helper.make_node("Cast", [cast.input[0]], [name], name, to=TensorProto.FLOAT)
        graph.model.graph.node.insert(list(graph.model.graph.node).index(cast), floats)
        cast.input[0] = name
