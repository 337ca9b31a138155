"""Progress of TensorRT's builder on stderr."""

import sys

import pytest

from edge_seg.apps.build_progress import build_progress

TOLD = [("Building", 0, 2), ("Tactics", 0, 9), ("Tactics", 4, 9), ("Tactics", 9, 9), ("Building", 2, 2)]


def test_without_a_terminal_each_phase_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with build_progress() as on_phase:
        for told in TOLD:
            on_phase(*told)

    assert capsys.readouterr().err.splitlines() == ["  Building", "  Tactics"]


def test_on_a_terminal_each_phase_has_a_bar_while_it_lasts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with build_progress() as on_phase:
        for told in TOLD[:3]:
            on_phase(*told)
        print("a line between", file=sys.stderr)
    begun = capsys.readouterr()
    with build_progress() as on_phase:
        for told in TOLD:
            on_phase(*told)
    ended = capsys.readouterr()

    assert "4/9" in begun.err and "0/2" in begun.err and "a line between" in begun.err
    last_frame = ended.err[ended.err.rindex("TensorRT") :]
    assert "Tactics" not in last_frame and "Building" not in last_frame
    assert begun.out == ended.out == ""


def test_a_builder_that_tells_nothing_has_a_bar_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with build_progress():
        pass

    assert "TensorRT" in capsys.readouterr().err
