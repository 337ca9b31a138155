"""What an interrupted profile goes on with, and that each file is judged once."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edge_seg.apps.profile import loops
from edge_seg.apps.profile.combinations import combine, describe
from edge_seg.apps.profile.measure import Plan, measure, resume
from edge_seg.apps.profile.rows import Accuracy, Latency, LoopSpeed, Row
from edge_seg.metrics import Percentiles

DATA = "drive:seed=3,frames=2,size=96x72"
PLAN = Plan(1, 0.01, DATA, 2, DATA)


def rows_of(*paths: Path) -> list[Row]:
    named = [(f"model {number}", path) for number, path in enumerate(paths)]
    return [describe(row) for row in combine(named, ["onnxruntime"], batches=[1], threads=[1])]


def test_two_files_of_one_content_are_two_rows(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_model, tmp_path / "copy.onnx")
    saved: list[int] = []
    steps: list[None] = []
    rows = rows_of(tiny_model, tmp_path / "copy.onnx")

    found = measure(
        rows,
        PLAN,
        on_step=lambda: steps.append(None),
        save=lambda new: saved.append(sum(row.latency_ms is not None for row in new)),
    )

    assert [row.model for row in found] == ["model 0", "model 1"]
    assert all(row.latency_ms and row.loop and row.accuracy for row in found)
    assert found[0].accuracy is found[1].accuracy  # judged once
    assert saved[:2] == [1, 2]
    assert len(steps) == PLAN.steps(rows)


def test_steps_are_those_of_what_is_left(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = rows_of(tiny_model)
    accuracy = Accuracy("drive", 2, 0.5, {})
    looped = LoopSpeed(DATA, 30.0, Percentiles(1.0, 1.0, 1.0), {})
    timed = replace(row, latency_ms=Latency(1.0, 1.0, 1.0, 1.0, (1.0,)))
    rows = [
        replace(timed, loop=looped),
        replace(timed, threads=2, accuracy=accuracy),  # of the same file: none of them is judged
        replace(timed, batch=4),
        replace(row, path="gone", error="gone"),
    ]
    steps: list[None] = []
    monkeypatch.setattr(loops, "run_loop_of", lambda *_: looped)

    found = measure(rows, PLAN, on_step=lambda: steps.append(None), save=lambda new: None)

    assert len(steps) == PLAN.steps(rows) == loops.PASSES
    assert [row.loop for row in found] == [looped, looped, None, None]
    assert [row.accuracy for row in found] == [accuracy, accuracy, accuracy, None]


def test_what_failed_is_tried_again_and_what_is_known_is_kept(tiny_model: Path) -> None:
    (row,) = rows_of(tiny_model)
    kept = replace(row, model="old name", load_ms=5.0, notes=("Not run in the loop: gone",), error="crashed")

    (found,) = resume([row], [kept])

    assert (found.model, found.load_ms, found.notes, found.error) == ("model 0", 5.0, (), None)
    assert resume([replace(row, sha256="other")], [kept]) == [replace(row, sha256="other")]
