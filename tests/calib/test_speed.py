"""Paired timing: the order of two artefacts does not matter, and one that cannot be opened is told."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_seg.calib.speed import Speed, compare_speed
from edge_seg.errors import ModelError
from edge_seg.runners.timed import Round


def test_both_are_timed_and_the_ratio_is_of_the_rounds(tiny_model: Path, tiny_int8_model: Path) -> None:
    found = compare_speed((tiny_model, "onnxruntime"), (tiny_int8_model, "onnxruntime"), rounds=2)

    assert found.first_ms > 0 and found.second_ms > 0
    assert found.least <= found.speedup <= found.most


def test_the_second_is_told_against_the_first_and_each_begins_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []

    class Known:
        def __init__(self, path: Path) -> None:
            self.path = path

        def round(self, seconds: float) -> Round:
            turns.append(self.path.name)
            return Round({"slow": (12.0, 10.0, 8.0), "fast": (4.0, 90.0, 2.0)}[self.path.name], None)

    @contextmanager
    def known(path: Path, runtime: str, *, program: tuple[str, ...]) -> Iterator[Known]:
        yield Known(path)

    monkeypatch.setattr("edge_seg.calib.speed.timed_process", known)

    found = compare_speed((Path("slow"), "onnxruntime"), (Path("fast"), "onnxruntime"), rounds=3)

    assert found == Speed(first_ms=10.0, second_ms=4.0, speedup=2.5, least=2.5, most=2.5)
    assert turns == ["slow", "fast", "fast", "slow", "slow", "fast"]


def test_an_artefact_that_cannot_be_opened_is_told(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be timed: No model .*nowhere\.onnx"):
        compare_speed((tiny_model, "onnxruntime"), (tmp_path / "nowhere.onnx", "onnxruntime"), rounds=1)
