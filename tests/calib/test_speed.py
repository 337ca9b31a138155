"""Paired timing: the order of two artefacts does not matter, and one that cannot be opened is told."""

from pathlib import Path

import pytest

from edge_seg.calib.speed import compare_speed
from edge_seg.errors import ModelError


def test_both_are_timed_and_the_ratio_is_of_the_rounds(tiny_model: Path, tiny_int8_model: Path) -> None:
    found = compare_speed((tiny_model, "onnxruntime"), (tiny_int8_model, "onnxruntime"), rounds=2)

    assert found.first_ms > 0 and found.second_ms > 0
    assert found.least <= found.speedup <= found.most


def test_an_artefact_that_cannot_be_opened_is_told(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be timed: No model .*nowhere\.onnx"):
        compare_speed((tiny_model, "onnxruntime"), (tmp_path / "nowhere.onnx", "onnxruntime"), rounds=1)
