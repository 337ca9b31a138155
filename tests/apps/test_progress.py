"""Progress of long work on stderr."""

import sys

import pytest

from edge_seg.apps import progress as module
from edge_seg.apps.progress import progress


@pytest.fixture
def now_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock to be set by hand."""
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])  # type: ignore[attr-defined]
    return now


@pytest.mark.parametrize(
    ("total", "lines"),
    [
        (40, ["run: 10 of 40, 33 s left, 0.9 a second", "run: 20 of 40, 21 s left, 1.0 a second"]),
        (None, ["run: 10, 0.9 a second", "run: 20, 1.0 a second"]),
    ],
)
def test_without_a_terminal_a_line_comes_now_and_then(
    now_s: list[float], capsys: pytest.CaptureFixture[str], total: int | None, lines: list[str]
) -> None:
    with progress("run", total) as step:
        for second in (*range(9), 11, *range(12, 21), 21):
            now_s[0] = float(second)
            step()

    assert capsys.readouterr().err.splitlines() == lines


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("run", 3) as step:
        step()

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("total", [5, None])
def test_on_a_terminal_a_bar_comes_and_goes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], total: int | None
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")

    with progress("run", total) as step:
        for _ in range(5):
            step()

    captured = capsys.readouterr()
    assert "run" in captured.err and "5/" in captured.err
    assert captured.out == ""
