"""An artefact timed in a process of its own: what it answers, and what is told where it cannot."""

import os
import signal
from pathlib import Path

import pytest

from edge_seg.errors import ModelError
from edge_seg.runners.timed import go_first, peak_memory_mb, priority, timed_process


def test_a_round_is_as_long_as_asked_for(tiny_model: Path) -> None:
    with timed_process(tiny_model, "onnxruntime", threads=1, batch=3) as process:
        found = process.round(0.05)
        short = process.round(0)

    assert process.load_ms > 0
    assert sum(found.times_ms) >= 50 > sum(found.times_ms[:-1])
    assert len(short.times_ms) == 2
    assert found.memory_mb is not None and short.memory_mb is not None
    assert 10 < found.memory_mb <= short.memory_mb


def test_leaving_ends_the_process(tiny_model: Path) -> None:
    with timed_process(tiny_model, "onnxruntime") as process:
        os.kill(process.pid, 0)

    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_what_is_timed_goes_before_others_where_it_may(tiny_model: Path) -> None:
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    with timed_process(tiny_model, "onnxruntime") as process:
        found = os.getpriority(os.PRIO_PROCESS, process.pid)
        session = os.getsid(process.pid)

    may = priority().startswith("before all other")
    assert found == (-20 if may else mine)
    assert session == (process.pid if may else os.getsid(0))
    assert os.getpriority(os.PRIO_PROCESS, 0) == mine


def test_what_may_not_go_first_is_timed_beside_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "setpriority", refuse)

    assert not go_first()
    assert priority() == "beside other processes: only root may go first"


def test_a_process_that_is_killed_is_told(tiny_model: Path) -> None:
    with timed_process(tiny_model, "onnxruntime") as process:
        os.kill(process.pid, signal.SIGKILL)

        with pytest.raises(ModelError, match=r"tiny.*on onnxruntime cannot be timed: its process was killed, as it is"):
            process.round(0.1)


def test_a_process_that_ends_by_itself_is_told(tiny_model: Path) -> None:
    with (
        pytest.raises(ModelError, match="its process ended with 3"),
        timed_process(tiny_model, "onnxruntime", program=("-c", "raise SystemExit(3)")),
    ):
        pass


def test_peak_memory_is_the_kernels_high_water_mark(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t  2048 kB\nVmRSS:\t 1024 kB\n")

    assert peak_memory_mb(tmp_path / "status") == pytest.approx(2.097152)
    (tmp_path / "status").write_text("Name:\tpython\n")
    assert peak_memory_mb(tmp_path / "status") is None
    assert peak_memory_mb(tmp_path / "nowhere") is None


def test_what_a_runtime_prints_does_not_mix_with_answers(tiny_model: Path, tmp_path: Path) -> None:
    chatty = tmp_path / "chatty.py"
    chatty.write_text(
        "import os, sys\n"
        "from edge_seg.runners import timed\n"
        "alone = timed.answers_alone\n"
        "def answers():\n"
        "    found = alone()\n"
        "    os.write(1, b'INFO: a delegate was created\\n')\n"
        "    return found\n"
        "timed.answers_alone = answers\n"
        "timed._main(sys.argv[1:])\n"
    )
    with timed_process(tiny_model, "onnxruntime", program=(str(chatty),)) as process:
        assert len(process.round(0).times_ms) == 2


def test_an_error_of_the_runtime_itself_is_told(tiny_model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text(
        "import sys\n"
        "from edge_seg.runners import timed\n"
        "def serve(*options):\n"
        "    raise RuntimeError('bad allocation')\n"
        "timed._serve = serve\n"
        "timed._main(sys.argv[1:])\n"
    )
    with (
        pytest.raises(ModelError, match="cannot be timed: RuntimeError: bad allocation"),
        timed_process(tiny_model, "onnxruntime", program=(str(broken),)),
    ):
        pass
