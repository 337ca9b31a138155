"""The run loop of rows in turns: in which order, how often, and which turn counts."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_seg.apps.profile import in_loop, loops
from edge_seg.apps.profile.in_loop import measure_loop
from edge_seg.apps.profile.loops import loop_rows
from edge_seg.apps.profile.rows import LoopSpeed, Row
from edge_seg.devices.watch import Watch
from edge_seg.errors import ModelError, SourceError
from edge_seg.metrics import Percentiles

ROWS = [Row(name, name, "onnxruntime") for name in "abc"]
DATA = "drive:seed=3,frames=4,size=96x72"
Turn = tuple[float, str | None]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[str, int]]]:
    """A function that says what the turns of rows give, (FPS, what disturbed); it returns which were taken."""

    def play(**turns: list[Turn]) -> list[tuple[str, int]]:
        taken: list[tuple[str, int]] = []
        left: dict[str, Iterator[Turn]] = {name: iter(found) for name, found in turns.items()}

        def run(row: Row, source: str, frames: int) -> LoopSpeed:
            taken.append((row.model, frames))
            fps, reason = next(left.get(row.model, iter([(30.0, None)])))
            if not fps:
                raise ModelError("Its process was killed.")
            return LoopSpeed(source, fps, Percentiles(1.0, 2.0, 3.0), {}, reason)

        monkeypatch.setattr(loops, "run_loop_of", run)
        return taken

    return play


def test_the_second_pass_goes_backwards_and_both_share_the_frames(script: Callable[..., list[tuple[str, int]]]) -> None:
    taken, turns = script(a=[(30.0, None), (31.0, None)]), []

    found = list(loop_rows(ROWS, "film", 201, on_turn=lambda: turns.append(None)))

    assert "".join(name for name, _ in taken) == "abccba"
    assert {frames for _, frames in taken} == {101}
    assert len(turns) == 6
    assert [(row.model, row.fps) for row in found] == [("c", 30.0), ("b", 30.0), ("a", 31.0)]


def test_a_disturbed_turn_is_taken_once_more(script: Callable[..., list[tuple[str, int]]]) -> None:
    taken, turns = script(b=[(40.0, "other work"), (20.0, None), (22.0, None)]), []

    found = list(loop_rows(ROWS, "film", 200, on_turn=lambda: turns.append(None)))

    assert "".join(name for name, _ in taken) == "abccbab"
    assert len(turns) == 6
    assert found[-1].fps == 22.0  # not 40.0: what disturbed may have raised the clock, too
    assert found[-1].remarks == ()


def test_a_row_that_was_always_disturbed_keeps_the_fastest_turn_and_is_marked(
    script: Callable[..., list[tuple[str, int]]],
) -> None:
    taken = script(a=[(20.0, "x"), (24.0, "other work took 0.9 cores"), (22.0, "y")])

    (found,) = loop_rows(ROWS[:1], "film", 200)

    assert len(taken) == 3
    assert found.fps == 24.0
    assert found.remarks == ("The loop was disturbed: other work took 0.9 cores.",)


def test_a_row_that_fails_takes_no_more_turns(script: Callable[..., list[tuple[str, int]]]) -> None:
    taken = script(b=[(0.0, None)])

    found = {row.model: row for row in loop_rows(ROWS, "film", 200)}

    assert "".join(name for name, _ in taken) == "abcca"
    assert found["b"].loop is None
    assert found["b"].notes == ("Not run in the loop: Its process was killed.",)


def test_the_loop_runs_without_truth(tiny_model: Path, write_camvid: Callable[..., None], tmp_path: Path) -> None:
    write_camvid(tmp_path, "val")
    for path in (tmp_path / "valannot").iterdir():
        path.write_bytes(b"damaged")

    found = measure_loop(tiny_model, "onnxruntime", f"camvid:{tmp_path}/val", threads=1, frames=2)

    assert found.fps > 0


@pytest.mark.parametrize("frames", [1, 0])
def test_a_source_that_gives_no_rate_is_told(
    frames: int, tiny_model: Path, write_camvid: Callable[..., None], tmp_path: Path
) -> None:
    write_camvid(tmp_path, "val", names=["a"])
    if not frames:
        (tmp_path / "val" / "a.png").write_bytes(b"damaged")

    with pytest.raises(SourceError, match=rf"gave {frames} of the 2 frames that a rate takes \({1 - frames} could"):
        measure_loop(tiny_model, "onnxruntime", str(tmp_path / "val"), threads=1, frames=2)


def test_the_processes_of_the_profile_are_not_others(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours: list[tuple[int, ...]] = []

    def watch(pids: tuple[int, ...]) -> Watch:
        ours.append(pids)
        return Watch(pids=pids)

    monkeypatch.setattr(in_loop, "Watch", watch)
    monkeypatch.setattr(in_loop, "told", lambda watch: f"other work: {watch.others_cpu is not None}")
    monkeypatch.setattr(in_loop, "LEAST_WATCHED_S", 0.0)

    found = measure_loop(tiny_model, "onnxruntime", DATA, threads=1, frames=4)

    assert ours == [(os.getpid(), os.getppid())]
    assert found.disturbed == "other work: True"


def test_a_loop_too_short_to_watch_claims_nothing(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_loop, "told", lambda watch: "other work took 0.9 cores")
    monkeypatch.setattr(in_loop, "LEAST_WATCHED_S", float("inf"))

    assert measure_loop(tiny_model, "onnxruntime", DATA, threads=1, frames=4).disturbed is None
