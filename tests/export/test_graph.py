"""The one view of a graph: its tables, what it says of constants, and that making it never fails."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from edge_seg.errors import ModelError
from edge_seg.export.float_ends import use_float_ends
from edge_seg.export.graph import Graph, read_graph, weight_source
from edge_seg.export.tidy import drop_aliases, tidy

NET = """<ir_version: 8, opset_import: ["" : 17]>
    net (float[N, 3, 8, 8] x, float[1, 3, 8, 8] mask) => (float[N, 3, 8, 8] y, float[N, 2, 8, 8] z)
    <float[2, 3, 1, 1] kernel = {1, 2, 3, 4, 5, 6}> {
        twice = Add (x, x)
        w = Constant <value = float[2, 3, 1, 1] {6, 5, 4, 3, 2, 1}> ()
        c = Conv (twice, w)
        d = Conv (c_in, kernel)
        c_in = Relu (x)
        product = MatMul (x, mask)
        y = Relu (product)
        z = Add (c, d)
    }"""


@pytest.fixture
def net() -> onnx.ModelProto:
    return parser.parse_model(NET)


def test_a_node_that_reads_a_tensor_twice_is_one_reader_at_two_places(net: onnx.ModelProto) -> None:
    graph = Graph(net)

    assert [node.output[0] for node in graph.readers_of("x")] == ["twice", "c_in", "product"]
    assert [place for node, place in graph.readers["x"] if node.op_type == "Add"] == [0, 1]
    assert graph.only_reader("x") is None
    assert graph.only_reader("c") is graph.maker["z"]
    assert graph.only_reader("y") is None  # an output is read by whoever runs the graph
    assert graph.readers_of("nothing") == []


def test_constants_are_initializers_and_what_constant_nodes_give(net: onnx.ModelProto) -> None:
    graph = Graph(net)

    assert set(graph.constants) == {"kernel", "w"}
    assert [graph.has_weights(node) for node in graph.of("Conv", "MatMul")] == [True, True, False]
    values = graph.value("w")
    assert values is not None
    assert values.ravel().tolist() == [6, 5, 4, 3, 2, 1]
    assert graph.value("x") is None


def test_the_source_of_weights_is_behind_what_quantizes_and_casts_them() -> None:
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> net (float[1, 3, 8, 8] x) => (float[1, 1, 8, 8] y)
        <float[1, 3, 1, 1] kernel = {1, 2, 3}, float scale = {1}, int8 zero = {0}> {
            half = Cast <to = 10> (kernel)
            whole = Cast <to = 1> (half)
            q = QuantizeLinear (whole, scale, zero)
            dq = DequantizeLinear (q, scale, zero)
            y = Conv (x, dq)
        }"""
    )

    assert weight_source(Graph(model), model.graph.node[-1]) == "kernel"
    model.graph.node[0].input[0] = "dq"  # round and round
    assert weight_source(Graph(model), model.graph.node[-1]) in {"half", "whole", "q", "dq"}


def test_only_what_is_asked_for_can_fail(net: onnx.ModelProto) -> None:
    """The tables of a damaged file can be made; its constants and shapes cannot be read."""
    net.graph.initializer[0].raw_data = b"1"
    del net.graph.initializer[0].float_data[:]
    graph = Graph(net)

    with pytest.raises(ModelError, match="The constant kernel cannot be read"):
        graph.value("kernel")
    with pytest.raises(ModelError, match="cannot be"):
        read_graph(net)


def test_a_constant_in_another_file_has_no_value(net: onnx.ModelProto) -> None:
    net.graph.initializer[0].data_location = TensorProto.EXTERNAL

    assert Graph(net).value("kernel") is None
    assert Graph(net).has_weights(net.graph.node[3])


def test_sizes_that_are_not_known_are_none(net: onnx.ModelProto) -> None:
    graph = Graph(net)

    assert graph.shapes["c"] == (None, 2, 8, 8)
    assert graph.shapes["kernel"] == (2, 3, 1, 1)
    assert graph.types["z"] == TensorProto.FLOAT


def test_aliases_of_aliases_go_but_that_of_an_output_stays() -> None:
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> net (float[1] x) => (float[1] y)
        { a = Identity (x) b = Identity (a) c = Neg (b) y = Identity (c) }"""
    )

    drop_aliases(model.graph)

    assert [(node.op_type, list(node.input), list(node.output)) for node in model.graph.node] == [
        ("Neg", ["x"], ["c"]),
        ("Identity", ["c"], ["y"]),
    ]


def test_a_resize_of_sizes_that_are_not_known_stays() -> None:
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        net (float[N, 3, 4, 4] x, int64[4] sizes) => (float[N, 3, H, W] y)
        { y = Resize <mode = "linear"> (x, , , sizes) }"""
    )

    assert list(tidy(model).graph.node[0].input) == ["x", "", "", "sizes"]


def test_what_stands_between_the_bytes_and_their_cast_moves_behind_it() -> None:
    model = onnx.shape_inference.infer_shapes(
        parser.parse_model(
            """<ir_version: 8, opset_import: ["" : 17]> net (uint8[1, 2, 2, 3] image) => (float[3, 2, 2] y)
            <int64[1] first = {0}> {
                p = Transpose <perm = [0, 3, 1, 2]> (image)
                s = Squeeze (p, first)
                f = Cast <to = 1> (s)
                y = Neg (f)
            }"""
        )
    )

    use_float_ends(model)

    assert [node.op_type for node in model.graph.node] == ["Cast", "Transpose", "Squeeze", "Neg"]
    onnx.checker.check_model(model, full_check=True)


def test_labels_behind_a_squeeze_are_cast_by_way_of_float() -> None:
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=1),
                helper.make_node("Squeeze", ["best", "one"], ["labels_64"]),
                helper.make_node("Cast", ["labels_64"], ["labels"], to=TensorProto.UINT8),
            ],
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
            [helper.make_tensor_value_info("labels", TensorProto.UINT8, ["N", 8, 8])],
            [numpy_helper.from_array(np.array([1]), "one")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )

    use_float_ends(model)

    assert [node.op_type for node in model.graph.node] == ["ArgMax", "Squeeze", "Cast", "Cast"]
    assert model.graph.node[2].attribute[0].i == TensorProto.FLOAT
