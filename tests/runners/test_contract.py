"""A dynamic height or width is told by its name, with what fixes it."""

import re
from pathlib import Path

import onnx
import pytest

from edge_seg.errors import ModelError
from edge_seg.runners.contract import read_onnx_spec

OPEN: list[tuple[int, str, str, str]] = [
    (1, "H", "image: uint8 [N, H, 96, 3] -> labels: uint8 [N, H, 96]", "H"),
    (2, "", "image: uint8 [N, 72, ?, 3] -> labels: uint8 [N, 72, ?]", "?"),
    (1, "72", "image: uint8 [N, 72, 96, 3] -> labels: uint8 [N, 72, 96]", "72"),  # a name, and so no size
]


@pytest.mark.parametrize(("axis", "name", "found", "told"), OPEN, ids=[case[-1] for case in OPEN])
def test_an_open_size_is_told(axis: int, name: str, found: str, told: str, tiny_model: Path, tmp_path: Path) -> None:
    model = onnx.load(tiny_model)
    for value in (*model.graph.input, *model.graph.output):
        size = value.type.tensor_type.shape.dim[axis]
        size.Clear()
        if name:
            size.dim_param = name
    onnx.save(model, tmp_path / "open.onnx")

    message = (
        f"  found:    {found}\n  expected: image: uint8 [N, 72, 96, 3] -> labels: uint8 [N, 72, 96]\n"
        f"{told} is dynamic; height and width must be fixed. Export it again: edge-seg export CHECKPOINT.pt "
        "--size 96x72, or of another tool's net: edge-seg adopt NET.onnx --size 96x72"
    )
    with pytest.raises(ModelError, match=re.escape(message)):
        read_onnx_spec(tmp_path / "open.onnx")


def test_a_batch_may_have_any_name_and_must_have_one(tiny_model: Path, tmp_path: Path) -> None:
    model = onnx.load(tiny_model)
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    batch.dim_param = "pictures"
    onnx.save(model, tmp_path / "named.onnx")
    batch.Clear()
    onnx.save(model, tmp_path / "unnamed.onnx")

    assert read_onnx_spec(tmp_path / "named.onnx") == read_onnx_spec(tiny_model)
    with pytest.raises(ModelError, match=r"found:    image: uint8 \[\?, 72, 96, 3\]"):
        read_onnx_spec(tmp_path / "unnamed.onnx")
