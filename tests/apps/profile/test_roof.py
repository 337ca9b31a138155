"""The roof: what is measured really runs in the precisions that it stands for."""

from pathlib import Path

import onnx
import pytest

from edge_seg.apps.profile import layers
from edge_seg.apps.profile.layers import profile_layers
from edge_seg.apps.profile.roof import copy_speed, dense_model, int8_model, measure_roof, roof_here
from edge_seg.apps.profile.rows import Roof
from edge_seg.errors import ModelError
from edge_seg.export.graph import Graph, multiplications


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_roof_has_floats_and_int8(runtime: str) -> None:
    found = roof_here(runtime, 1)

    assert set(found.gmacs_per_s) == {"f32", "int8"}
    assert all(0.01 < speed < 1e5 for speed in found.gmacs_per_s.values())


def test_its_graphs_are_whole_and_dense() -> None:
    for model in (dense_model(), int8_model()):
        onnx.checker.check_model(model)
    graph = Graph(dense_model())

    assert {multiplications(graph, node) for node in graph.of("Conv")} == {128 * 128 * 9 * 32 * 32}
    assert Graph(int8_model()).is_quantized()


def test_memory_is_copied_by_several_threads() -> None:
    assert 0.01 < copy_speed(2) < 1e4


def test_a_profile_measures_the_roof_once(tiny_model: Path) -> None:
    layers._roof_of.cache_clear()
    one = profile_layers(tiny_model, "onnxruntime", threads=1, label="one")
    other = profile_layers(tiny_model, "onnxruntime", threads=1, label="other")

    assert isinstance(one.roof, Roof) and one.roof is other.roof


def test_a_run_time_without_layers_has_no_roof() -> None:
    with pytest.raises(ModelError, match="not on torch"):
        measure_roof("torch", 1)
