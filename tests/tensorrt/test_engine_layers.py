"""The inspector's JSON of each generation, in small: what the parser makes of it.

Keys and words up to 10 are those of NVIDIA's dumps and parser in TensorRT's repository
(tools/experimental/trt-engine-explorer: tests/inputs/mobilenet.qat.onnx.engine.graph.json, trex/activations.py,
trex/parser.py) and of the developer guide's part on the inspector; those of 11 are of "Migrating IEngineInspector Usage
from TensorRT 10.x to 11.x". None of it has been read from an engine of ours.
"""

import json
from typing import Any

import pytest

from edge_seg.apps.profile.engine_layers import EngineLayer, makeup, parse_layers
from edge_seg.apps.profile.rows import Layers
from edge_seg.apps.profile.tensorrt_layers import match
from edge_seg.apps.report.findings import shares
from edge_seg.errors import ModelError

INT8 = "Thirty-two wide channel vectorized row major Int8 format"
FP16 = "Channel major FP16 format where channel % 8 == 0"
FP32 = "Row major linear FP32"
DYNAMIC = "N/A due to dynamic shapes"


def entry(name: str, kind: str, taken: str, given: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """A layer of one tensor in and one out, as TensorRT up to 10 tells it."""
    ends = [
        [{"Name": end, "Location": "Device", "Dimensions": [1, 16, 36, 48], "Format/Datatype": word}]
        for end, word in ((f"{name}.in", taken), (f"{name}.out", given))
    ]
    return {"Name": name, "LayerType": kind, "Inputs": ends[0], "Outputs": ends[1], **more}


def of(*entries: Any) -> tuple[EngineLayer, ...]:  # noqa: ANN401
    """The layers parsed from entries."""
    return parse_layers(json.dumps({"Layers": entries, "Bindings": ["image", "labels"]}))


def test_an_engine_of_8_tells_everything_of_a_layer() -> None:
    (layer,) = of(
        entry(
            *("features.0.weight + QuantizeLinear_8 + Conv_12 + PWN(Clip_16)", "CaskConvolution", INT8, FP16),
            ParameterType="Convolution",
            Weights={"Type": "Int8", "Count": 864},
            TacticName="turing_fp16_i8816cudnn_int8_128x128_ldg16_relu_small_nt_v1",
            TacticValue="0x4e4e6b8f37d71713",
        )
    )

    assert (layer.kind, layer.role, layer.precision) == ("CaskConvolution", "compute", "int8")
    assert [(tensor.precision, tensor.format, tensor.shape) for tensor in (*layer.takes, *layer.gives)] == [
        ("int8", INT8, (1, 16, 36, 48)),
        ("f16", FP16, (1, 16, 36, 48)),
    ]
    assert layer.tactic.startswith("turing_fp16_i8816cudnn_int8")
    assert layer.nodes == ()  # 8.5 has no Metadata


def test_an_engine_of_10_tells_kernels_and_their_nodes() -> None:
    layers = of(
        entry("__myl_Cast_myl0_0", "kgen", "UInt8", "Float", Metadata="[ONNX Layer: /Cast]", StreamId=0),
        entry("signal_0", "signal", "Float", "Float"),
        entry(
            *("/net/Conv\x1e/net/Relu", "CaskConvolution", "Int8", "Int8"),
            Metadata="[ONNX Layer: /net/Conv]\x1f[ONNX Layer: /net/Relu]",
            Weights={"Type": "Int8", "Count": 9},
        ),
        entry("wait_0", "wait", "Float", "Float"),
        entry("__myl_ResTop_myl0_2", "kgen", "Half", "UInt8", Metadata=""),
    )

    assert [layer.name for layer in layers] == ["__myl_Cast_myl0_0", "/net/Conv + /net/Relu", "__myl_ResTop_myl0_2"]
    assert [layer.precision for layer in layers] == ["f32", "int8", "f16"]
    assert layers[1].nodes == ("/net/Conv", "/net/Relu")


@pytest.mark.parametrize("key", ["DataType", "Datatype"])
def test_an_engine_of_11_tells_format_and_type_apart(key: str) -> None:
    tensors = [
        [{"Name": name, "Location": "Device", "Dimensions": [1, 16, 36, 48], "Format": layout, key: kind}]
        for name, layout, kind in (
            ("x", "Row major linear Int8 format (kLINEAR)", "Int8"),
            ("y", "Row major linear FP16 format (kLINEAR)", "Half"),
        )
    ]
    text = json.dumps(
        {
            "ProfilingVerbosity": "DETAILED",
            "Layers": [{"Name": "fc", "LayerType": "gemm", "Inputs": tensors[0], "Outputs": tensors[1]}],
            "I/O Tensors": [{"Name": "x", "IOMode": "Input", "DataType": "Int8", "Dimensions": [1, 16, 36, 48]}],
        }
    )

    (layer,) = parse_layers(text)

    assert (layer.precision, layer.takes[0].precision, layer.gives[0].precision) == ("int8", "int8", "f16")
    assert layer.gives[0].format == "Row major linear FP16 format (kLINEAR)"


def test_names_alone_tell_reformats_and_no_precision() -> None:
    layers = of("Reformatting CopyNode for Input Tensor 0 to /net/Conv", "/net/Conv", "(Unnamed Layer* 3) [Shuffle]")
    made = makeup(layers)

    assert [layer.role for layer in layers] == ["reformat", "compute", "compute"]
    assert (made.precisions, made.reformats, made.int8_share) == ({"": 2}, 1, None)


@pytest.mark.parametrize(
    ("told", "precision"),
    [
        (entry("a", "CaskConvolution", INT8, FP32, Weights={"Type": "Float"}, TacticName="f32f32_tf32f32"), "f32"),
        (entry("a", "CaskConvolution", INT8, FP32, Weights={"Type": "Int8"}), "int8"),
        (entry("a", "CaskConvolution", DYNAMIC, DYNAMIC, Weights={"Type": "Half"}), "f16"),
        (entry("a", "PointWiseV2", INT8, FP16), "f16"),
        (entry("a", "PointWiseV2", INT8, INT8), "int8"),
        (entry("a", "PointWiseV2", FP16, INT8), "f16"),
        (entry("a", "fusion", "Int8", "Half", TacticName="sm80_xmma_gemm_i8f32_i8i32_f32_tn"), "int8"),
        (entry("a", "gemm", DYNAMIC, DYNAMIC, TacticName="sm80_xmma_gemm_i8i8_i8i32_f32_tn"), "int8"),
        (entry("a", "gemm", DYNAMIC, DYNAMIC, TacticName="sm80_xmma_gemm_f16f16_f16f16_f16_nn"), "f16"),
        (entry("a", "Pooling", DYNAMIC, DYNAMIC), ""),
        (entry("a", "kgen", "BFloat16", "BFloat16"), "bf16"),
        ({"Name": "a", "LayerType": "Constant", "Inputs": [], "Outputs": []}, ""),
    ],
)
def test_the_precision_is_the_one_that_multiplies(told: dict[str, Any], precision: str) -> None:
    (layer,) = of(told)

    assert layer.precision == precision


def test_reformats_quantization_and_float_islands_are_counted() -> None:
    weights = {"Weights": {"Type": "Int8", "Count": 9}}
    layers = of(
        entry("QuantizeLinear_2", "Reformat", FP32, INT8, Origin="QDQ"),
        entry("a", "CaskConvolution", INT8, INT8, **weights),
        entry("Reformatting CopyNode for Input Tensor 0 to up", "Reformat", INT8, FP16),
        entry("up", "Resize", FP16, FP16),
        entry("reshape", "NoOp", FP16, FP16),
        entry("b", "CudaDepthwiseConvolution", INT8, INT8, **weights),
        entry("labels", "TopK", FP32, "Row major linear Int32"),
    )
    made = makeup(layers)

    assert made.precisions == {"int8": 2, "f16": 1, "f32": 1}
    assert (made.int8_share, made.reformats, made.quantize, made.islands) == (0.5, 1, 1, [["up"]])


def test_times_find_their_layers_by_name_and_order() -> None:
    layers = of(
        entry("a\x1eb", "CaskConvolution", INT8, INT8),
        entry("twice", "PointWiseV2", FP16, FP16),
        entry("twice", "Reformat", FP16, FP32),
    )
    calls = [
        [("twice", 3.0), ("a\x1eb", 2.0), ("twice", 1.0), ("unknown", 2.0)],
        [("twice", 1.0), ("a\x1eb", 4.0), ("twice", 1.0), ("unknown", 2.0)],
    ]

    found = match(layers, calls)

    assert [(timed.layer.name, timed.layer.precision, timed.layer.role, timed.least_ms) for timed in found] == [
        ("twice", "f16", "compute", 1.0),
        ("a + b", "int8", "compute", 2.0),
        ("twice", "f16", "reformat", 1.0),
        ("unknown", "", "compute", 2.0),
    ]
    part = shares(Layers("engine", tuple(timed.layer for timed in found)))
    assert (part.int8, part.floats, part.reformat, part.other) == tuple(ms / 6 for ms in (2, 1, 1, 2))


@pytest.mark.parametrize(
    "text",
    ["", "no JSON", "[]", '{"Bindings": []}', '{"Layers": [{"LayerType": "gemm"}]}', '{"Layers": 3}', "[" * 100_000],
)
def test_what_is_no_list_of_layers_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match=r"tells no layers as known here .*Build the engine again: edge-seg build"):
        parse_layers(text)
