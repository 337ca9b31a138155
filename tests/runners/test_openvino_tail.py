"""OpenVINO's order of the integer tail, as the runner compiles it."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openvino")

from edge_seg.data.drive import Drive
from edge_seg.runners import open_runner
from edge_seg.runners.contract import read_onnx_spec
from edge_seg.runners.openvino_runner import compile_graph, cpu_config


def test_the_runner_compiles_the_tail_by_pixels_and_leaves_other_files(tiny_model: Path, tiny_int8_model: Path) -> None:
    spec = read_onnx_spec(tiny_int8_model)
    layers = {}
    for path in (tiny_model, tiny_int8_model):
        compiled = compile_graph(path, [1, spec.height, spec.width, 3], cpu_config(1, "f32"))
        layers[path] = {node.friendly_name for node in compiled.get_runtime_model().get_ops()}

    assert "tail/by_pixel" in layers[tiny_int8_model]
    assert not {"tail/planes", "tail/pixels"} & layers[tiny_int8_model]
    assert not any(name.startswith("tail/") for name in layers[tiny_model])


@pytest.mark.parametrize("name", ["edge-seg-n", "edge-seg-s"])
def test_bundled_files_label_alike_on_both_run_times_but_for_rounding(name: str) -> None:
    images = np.stack([frame.image for frame in Drive(7, 480, 360, 2)])
    with open_runner(name, "openvino") as by_pixels, open_runner(name, "onnxruntime") as by_planes:
        assert (by_pixels.infer(images) == by_planes.infer(images)).mean() > 0.99
