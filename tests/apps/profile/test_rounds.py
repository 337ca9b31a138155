"""Latency in turns: real processes, and what counts of rounds that were disturbed."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from edge_seg.apps.profile import rounds
from edge_seg.apps.profile.combinations import describe
from edge_seg.apps.profile.rounds import Timed, _time_group, compare_rounds, summarise, time_rows
from edge_seg.apps.profile.rows import Row
from edge_seg.runners.timed import Round, TimedProcess, timed_process


def test_rows_are_timed_in_turns_and_a_broken_one_does_not_stop_them(tiny_model: Path, tmp_path: Path) -> None:
    broken = Row("broken", str(tmp_path / "nowhere.onnx"), "onnxruntime")
    good = describe(Row("tiny", str(tiny_model), "onnxruntime", threads=1))
    passed: list[None] = []

    found = {
        (row.model, row.batch): row
        for row in time_rows(
            [good, broken, replace(good, batch=2)], rounds=3, seconds=0.02, on_round=lambda: passed.append(None)
        )
    }

    assert "nowhere.onnx" in (found["broken", 1].error or "")
    for batch in (1, 2):
        row = found["tiny", batch]
        assert row.error is None
        assert row.latency_ms is not None
        assert row.latency_ms.min <= row.latency_ms.p50 <= row.latency_ms.p95 <= row.latency_ms.p99
        assert len(row.latency_ms.rounds) >= 2
        assert row.load_ms is not None and row.load_ms > row.latency_ms.p50
        assert row.memory_mb is not None and row.memory_mb > 10
        assert row.images_per_s is not None
        assert batch * 1e3 / row.latency_ms.min >= row.images_per_s > 0
    assert len(passed) == 6


def test_a_process_that_dies_between_rounds_is_an_error_of_its_row(tiny_model: Path) -> None:
    row = describe(Row("tiny", str(tiny_model), "onnxruntime"))
    with timed_process(tiny_model, "onnxruntime") as process:
        timed = Timed(row, process)
        timed.time(0.01, [process.pid])
        os.kill(process.pid, signal.SIGKILL)
        timed.time(0.01, [process.pid])
        timed.time(0.01, [process.pid])

    assert len(timed.times_ms) == 1
    assert "its process was killed" in (summarise(timed, 3).error or "")


def timed_by_hand(rounds: list[tuple[float, str | None, float | None]]) -> Timed:
    """Rounds of three equal calls: milliseconds, what disturbed, joules."""
    process = TimedProcess.__new__(TimedProcess)  # none is asked for a round
    timed = Timed(Row("net", "net.onnx", "onnxruntime", batch=2), process, memory_mb=5.0)
    for ms, reason, joules in rounds:
        timed.times_ms.append((ms, ms, ms))
        timed.disturbed.append(reason)
        timed.joules.append(joules)
        timed.loads.append(0.5)
        timed.clocks.append(None)
        timed.throttled.append(1)
        timed.slowness.append(1.0)
    return timed


def test_disturbed_rounds_do_not_count_where_enough_are_not() -> None:
    row = summarise(timed_by_hand([(1, None, 6.0), (9, "others", 60.0), (2, None, 12.0), (3, None, 12.0)]), 4)

    assert row.latency_ms is not None
    assert (row.latency_ms.min, row.latency_ms.p50, row.latency_ms.rounds) == (1, 2, (1, 2, 3))
    assert row.disturbed is None
    assert row.joules == pytest.approx(30 / 18)
    assert (row.load1, row.mhz, row.throttled) == (0.5, None, 3)
    assert row.images_per_s == pytest.approx(2 * 9 / np.sum([3, 6, 9]) * 1e3)


def test_a_row_disturbed_most_of_the_time_counts_all_and_is_marked() -> None:
    row = summarise(timed_by_hand([(1, None, None), (9, "others used 1.0 cores", 1.0), (8, "others", 1.0)]), 3)

    assert row.latency_ms is not None
    assert row.latency_ms.rounds == (1, 9, 8)
    assert row.disturbed == "others"
    assert row.joules is None


def test_rounds_in_which_all_rows_were_slower_are_told_from_one_row_that_was() -> None:
    quick, other, long = (
        timed_by_hand([(ms * factor, None, None) for factor in (1.0, 1.0, 1.3, 1.3, 1.0, 1.0, last)])
        for ms, last in ((1.0, 1.5), (3.0, 1.0), (20.0, 1.0))
    )

    compare_rounds([(timed, number) for number in range(7) for timed in (quick, other, long)])

    assert all(timed.quiet == [0, 1, 4, 5, 6] for timed in (quick, other, long))
    assert quick.reason(2) == "the machine was 1.30 times as slow"
    row = summarise(quick, 4)
    assert row.latency_ms is not None
    assert row.latency_ms.rounds == (1.0, 1.0, 1.0, 1.0, 1.5)
    assert row.disturbed is None


def test_a_machine_that_was_slower_most_of_the_time_marks_the_rows() -> None:
    rows = [timed_by_hand([(1.0, None, None)] * 2 + [(1.3, None, None)] * 8) for _ in range(3)]

    compare_rounds([(timed, number) for number in range(10) for timed in rows])

    row = summarise(rows[0], 9)
    assert row.latency_ms is not None
    assert len(row.latency_ms.rounds) == 10
    assert row.disturbed == "the machine was 1.30 times as slow"


def test_a_row_alone_keeps_its_slower_rounds() -> None:
    timed = timed_by_hand([(1.0, None, None)] * 4 + [(1.3, None, None)] * 4)

    compare_rounds([(timed, number) for number in range(8)])

    assert timed.quiet == list(range(8))
    assert summarise(timed, 8).disturbed is None


class Turns:
    """A process that notes its name in `taken` and answers as told, with (milliseconds, others' CPU) a round."""

    pid = 0

    def __init__(self, name: str, taken: list[str]) -> None:
        self.name, self.taken = name, taken

    def round(self, seconds: float) -> Round:
        self.taken.append(self.name)
        return Round((1.0, 1.0), None)


def test_odd_passes_go_backwards_and_disturbed_rows_alone_are_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    group = [Timed(Row(name, name, "onnxruntime"), cast(TimedProcess, Turns(name, taken))) for name in "abc"]
    # The second round of b, and no other, is taken beside other work.
    monkeypatch.setattr(
        rounds, "told", lambda watch, usual: "other work" if taken.count("b") == 2 == len(taken) - 3 else None
    )

    _time_group(group, rounds=2, seconds=0.0, on_round=lambda: None)

    assert "".join(taken) == "abccbab"
    assert [len(timed.quiet) for timed in group] == [2, 2, 2]
