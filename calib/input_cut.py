"""The camera's uint8 is a quantized tensor already: take the normalisation out of a Q/DQ graph.

The FP32 graph starts `image -> Transpose -> Cast -> Sub 128 -> Div 64 -> Conv`. With scale 1/64 the int8 behind Div is
the camera's byte less 128, exactly, so the INT8 graph starts `image -> Transpose -> DequantizeLinear (uint8, zero point
128) -> QuantizeLinear (int8, zero point 0) -> DequantizeLinear -> Conv`: a flipped bit instead of float arithmetic at
full size, and with zero point 0 the convolution's zero padding is exact, without which OpenVINO runs it in float.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edge_seg.calib.qdq import Steps
from edge_seg.errors import ModelError
from edge_seg.export.graph import Graph
from edge_seg.export.tidy import drop_unused
from edge_seg.spec import INPUT_MIDDLE, INPUT_SCALE

CHAIN = ("Transpose", "Cast", "Sub", "Div")


def find_input_chain(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes from `image` to the first convolution; ModelError where they are not those of `edge-seg export`."""
    graph, tensor = Graph(model), "image"
    chain: list[onnx.NodeProto] = []
    for wanted in CHAIN:
        readers = graph.readers_of(tensor)
        if len(readers) != 1 or readers[0].op_type != wanted:
            raise ModelError(f"Expected the input to go through {' -> '.join(CHAIN)}. Write the file: edge-seg export")
        chain += readers
        tensor = readers[0].output[0]
    numbers = [graph.value(node.input[1]) for node in chain[-2:]]
    wanted_numbers = (INPUT_MIDDLE, INPUT_SCALE)
    if not all(n is not None and n.size == 1 and n.item() == w for n, w in zip(numbers, wanted_numbers, strict=True)):
        raise ModelError(f"Expected (byte - {INPUT_MIDDLE}) / {INPUT_SCALE} as input. Write the file: edge-seg export")
    return chain


def input_steps(model: onnx.ModelProto) -> dict[str, Steps]:
    """The steps of the normalised input by its name: int8, scale 1/64, zero point 0.

    Adopted nets add a plane of ones by a Pad (export.adopt_input), and 1 is 64 of the steps.
    """
    image = find_input_chain(model)[-1].output[0]
    padded = [node.output[0] for node in Graph(model).readers_of(image) if node.op_type == "Pad"]
    return dict.fromkeys([image, *padded], Steps(np.float32(1 / INPUT_SCALE), np.int8(0)))


def cut_input(model: onnx.ModelProto) -> None:
    """Replace Cast, Sub and Div by one DequantizeLinear of the camera's bytes."""
    transpose, *arithmetic = find_input_chain(model)
    nodes = model.graph.node
    place = list(nodes).index(arithmetic[0])
    scale = numpy_helper.from_array(np.array(1 / INPUT_SCALE, np.float32), "camera/scale")
    middle = numpy_helper.from_array(np.array(INPUT_MIDDLE, np.uint8), "camera/zero_point")
    model.graph.initializer.extend([scale, middle])
    inputs = [transpose.output[0], scale.name, middle.name]
    nodes.insert(place, helper.make_node("DequantizeLinear", inputs, arithmetic[-1].output, "camera/bytes"))
    for node in arithmetic:
        nodes.remove(node)
    drop_unused(model.graph)
