"""Layers as run-times ran them: their precision, their work, and what follows from their times."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_seg.apps.profile import ort_layers
from edge_seg.apps.profile.kernels import is_convolution
from edge_seg.apps.profile.layers import profile_layers, tail_share
from edge_seg.apps.profile.layers_worker import TIMERS, ask, serve
from edge_seg.apps.profile.rows import Layer, Layers, Roof
from edge_seg.apps.report.findings import float_islands, position, shares, top_layers
from edge_seg.errors import ModelError
from edge_seg.export.graph import CONVOLUTIONS, Graph, multiplications
from edge_seg.runners.openvino_runner import compile_graph, cpu_config
from edge_seg.runners.ort_runner import session_options
from edge_seg.weights import find_model

IMAGE = np.random.default_rng(0).integers(0, 256, (1, 72, 96, 3), np.uint8)
RUNTIMES = ("onnxruntime", "openvino")


def layers_of(path: Path, runtime: str) -> Layers:
    """The layers of a tiny file, timed in this process."""
    return Layers(path.name, tuple(timed.layer for timed in TIMERS[runtime](path, IMAGE, 1)))


def gmacs_of(path: Path) -> float:
    """Multiply-accumulates of a file's convolutions, from its shapes."""
    graph = Graph(onnx.load(path))
    return sum(multiplications(graph, node) for node in graph.of(*CONVOLUTIONS)) / 1e9


def gmacs(layers: Layers) -> float:
    return sum(layer.gmacs or 0.0 for layer in layers.layers)


@pytest.mark.parametrize("runtime", [*RUNTIMES, "openvino-bf16"])
def test_the_layers_of_an_fp32_file_are_floats(runtime: str, tiny_model: Path) -> None:
    found = layers_of(tiny_model, runtime)

    convolutions = [layer for layer in found.layers if is_convolution(layer.kind)]
    assert {layer.role for layer in convolutions} == {"compute"}
    assert {layer.precision for layer in convolutions} <= ({"f32"} if runtime in RUNTIMES else {"bf16", "f32"})
    assert shares(found).int8 == shares(found).quantize == 0.0
    assert float_islands(found.layers) == []
    assert gmacs(found) == pytest.approx(gmacs_of(tiny_model))
    assert 0 < tail_share(found) < 1


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_convolutions_of_an_int8_file_are_told_as_int8(runtime: str, tiny_int8_model: Path) -> None:
    found = layers_of(tiny_int8_model, runtime)

    convolutions = [layer for layer in found.layers if is_convolution(layer.kind) and "tail/" not in layer.name]
    assert convolutions and {layer.precision for layer in convolutions} == {"int8"}
    part = shares(found)
    assert part.int8 > 0
    assert part.int8 + part.floats + part.other + part.reformat + part.quantize == pytest.approx(1)
    assert {layer.role for layer in convolutions} == {"compute"}
    # OpenVINO leaves out convolutions of weights that are zero, as some of a net without training are.
    assert 0 < gmacs(found) <= gmacs_of(tiny_int8_model) * 1.0001
    assert 0 < tail_share(found) < 1


def test_the_work_of_a_net_is_that_which_pytorch_counts(tiny_checkpoint: Path, tiny_model: Path) -> None:
    from edge_seg.checkpoint import read_checkpoint
    from edge_seg.models.edge_seg import count_gmacs

    _, spec, net = read_checkpoint(tiny_checkpoint)

    for runtime in RUNTIMES:
        assert gmacs(layers_of(tiny_model, runtime)) == pytest.approx(count_gmacs(net, spec.width, spec.height))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_times_are_milliseconds_of_one_call(runtime: str, tiny_model: Path) -> None:
    start = time.perf_counter()
    found = TIMERS[runtime](tiny_model, IMAGE, 1)
    passed_ms = (time.perf_counter() - start) * 1e3

    # What the quicker half took is below the mean, and 16 calls at least were within the time that passed.
    assert 0 < sum(timed.layer.ms for timed in found) < passed_ms / 16
    assert all(timed.least_ms <= timed.layer.ms for timed in found)
    slow = max((timed.layer for timed in found if timed.layer.gmacs), key=lambda layer: layer.gmacs or 0.0)
    assert (slow.gmacs or 0.0) / slow.ms * 1e3 < 1e4  # GMAC/s that no CPU does


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_bundled_int8_net_is_profiled_in_a_process_of_its_own(runtime: str, request: pytest.FixtureRequest) -> None:
    if runtime == "openvino":
        request.getfixturevalue("vnni")
    path = find_model("edge-seg-n")

    found = profile_layers(path, runtime, threads=1, label="n", roof=False)

    assert (found.label, found.roof) == ("n", None)
    assert gmacs(found) == pytest.approx(gmacs_of(path))
    assert shares(found).int8 > 0
    assert 0 < tail_share(found) < 1
    assert len(top_layers(found)) == 10
    assert all(layer.mb is None or layer.mb > 0 for layer in found.layers)
    resized = {f"/net/Resize{number}" for number in ("", "_1", "_2")}
    islands = {layer.name for island in float_islands(found.layers) for layer in island}
    assert islands == resized or (runtime == "onnxruntime" and not islands)  # older ones resize bytes


def test_what_the_process_serves_is_what_layers_are_made_of(tiny_model: Path) -> None:
    found = [Layer(**layer) for layer in serve("layers", str(tiny_model), "onnxruntime", "1")]

    expected = layers_of(tiny_model, "onnxruntime").layers
    assert {replace(layer, ms=0.0) for layer in found} == {replace(layer, ms=0.0) for layer in expected}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_weights_may_lie_beside_the_model(runtime: str, tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "outside.onnx"
    onnx.save(onnx.load(tiny_model), path, save_as_external_data=True, location="weights.bin", size_threshold=64)

    assert (tmp_path / "weights.bin").stat().st_size > 64
    assert gmacs(layers_of(path, runtime)) == pytest.approx(gmacs_of(tiny_model))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_nodes_without_names_are_told_apart(runtime: str, tiny_model: Path, tmp_path: Path) -> None:
    model = onnx.load(tiny_model)
    for node in model.graph.node:
        node.name = ""
    onnx.save(model, tmp_path / "unnamed.onnx")

    assert gmacs(layers_of(tmp_path / "unnamed.onnx", runtime)) == pytest.approx(gmacs_of(tiny_model))


def _node(kind: str, inputs: list[str], output: str, **options: int | list[int]) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], output, **options)


PRODUCTS: dict[str, tuple[list[int], list[int], Callable[[], onnx.NodeProto], int]] = {
    "matrix": ([1, 20, 32], [32, 24], lambda: _node("MatMul", ["given", "weights"], "made"), 20 * 32 * 24),
    "grouped": (
        [1, 32, 10, 12],
        [64, 2, 3, 3],
        lambda: _node("Conv", ["given", "weights"], "made", group=16),
        64 * 2 * 9 * 8 * 10,
    ),
    "transposed": (
        [1, 16, 10, 12],
        [16, 24, 2, 2],
        lambda: _node("ConvTranspose", ["given", "weights"], "made", strides=[2, 2]),
        16 * 24 * 4 * 10 * 12,
    ),
}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("product", PRODUCTS)
def test_work_and_bytes_of_every_product_come_from_its_shapes(product: str, runtime: str, tmp_path: Path) -> None:
    given, weights, node, macs = PRODUCTS[product]
    values = np.random.default_rng(0).normal(size=weights).astype(np.float32)
    ends = [
        helper.make_tensor_value_info("given", TensorProto.FLOAT, given),
        helper.make_tensor_value_info("made", TensorProto.FLOAT, None),
    ]
    graph = helper.make_graph([node()], "product", ends[:1], ends[1:], [numpy_helper.from_array(values, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "product.onnx")

    found = TIMERS[runtime](tmp_path / "product.onnx", np.ones(given, np.float32), 1)

    (layer,) = [timed.layer for timed in found if timed.layer.gmacs]
    assert (layer.gmacs, layer.precision, layer.role) == (pytest.approx(macs / 1e9), "f32", "compute")
    made = {"matrix": 20 * 24, "grouped": 64 * 8 * 10, "transposed": 24 * 20 * 24}[product]
    assert layer.mb == pytest.approx(4 * (np.prod(given) + np.prod(weights) + made) / 1e6, rel=0.02)


def test_the_trace_is_removed(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    assert layers_of(tiny_model, "onnxruntime").layers
    assert list(tmp_path.iterdir()) == []


def test_threads_are_kept(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(ort_layers, "session_options", lambda threads: asked.append(threads) or session_options(1))

    TIMERS["onnxruntime"](tiny_model, IMAGE, 2)

    assert asked == [2]
    assert session_options(2).intra_op_num_threads == 2
    assert "INFERENCE_NUM_THREADS" not in cpu_config(0, "f32")
    compiled = compile_graph(tiny_model, IMAGE.shape, cpu_config(1, "f32"))
    assert int(compiled.get_property("INFERENCE_NUM_THREADS")) == 1


def test_a_run_time_without_layers_says_which_have_them(tiny_model: Path) -> None:
    with pytest.raises(
        ModelError, match=r"on onnxruntime, openvino, openvino-bf16 and tensorrt, not on torch\. .*edge-seg export"
    ):
        profile_layers(tiny_model, "torch", threads=1, label="tiny")


def test_what_the_process_refuses_is_told_in_one_line(tiny_int8_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^tiny\.int8\.onnx keeps its labels in whole numbers[^\n]*openvino\.$"):
        profile_layers(tiny_int8_model, "openvino-bf16", threads=1, label="tiny")

    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"broken\.onnx is no ONNX model[^\n]*$"):
        profile_layers(tmp_path / "broken.onnx", "onnxruntime", threads=1, label="broken")


def test_a_process_that_ends_without_an_answer_is_told_in_one_line() -> None:
    with pytest.raises(ModelError, match=r"^roof onnxruntime two cannot be measured: .* code 1\. ValueError[^\n]*$"):
        ask("roof", "onnxruntime", "two")


@pytest.mark.parametrize(
    ("layer", "share", "memory_bound"),
    [
        (Layer("a", "Conv", "int8", "compute", 2.0, gmacs=0.2, mb=1.0), 0.5, False),
        (Layer("b", "Conv", "int8", "compute", 2.0, gmacs=0.01, mb=5.0), 0.25, True),
        (Layer("c", "Conv", "f16", "compute", 2.0, gmacs=0.2, mb=1.0), None, False),
    ],
)
def test_the_roof_is_the_slower_of_computing_and_memory(layer: Layer, share: float | None, memory_bound: bool) -> None:
    found = position(layer, Roof({"int8": 200.0}, 10.0))

    assert found is not None
    assert (found.share, found.memory_bound) == (pytest.approx(share), memory_bound)


@pytest.mark.parametrize(
    "layer",
    [
        Layer("a", "Add", "f32", "compute", 1.0, mb=5.0),
        Layer("b", "Conv", "int8", "compute", 2.0, gmacs=0.2),
        Layer("c", "Conv", "int8", "compute", 0.0, gmacs=0.2, mb=1.0),
    ],
    ids=["no work", "no bytes", "no time"],
)
def test_what_is_not_known_has_no_place_under_the_roof(layer: Layer) -> None:
    assert position(layer, Roof({"int8": 200.0}, 10.0)) is None


def test_nothing_has_no_shares() -> None:
    nothing = Layers("nothing", ())

    assert shares(nothing).int8 == shares(nothing).floats == tail_share(nothing) == 0.0
