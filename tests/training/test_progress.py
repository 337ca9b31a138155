"""What a terminal shows of a training."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")

import rich

from edge_seg.train import train
from edge_seg.training.options import TrainOptions


@pytest.fixture(autouse=True)
def console_of_others() -> Iterator[None]:
    """Lightning changes rich's console of all."""
    yield
    rich.reconfigure()


def test_a_terminal_is_told_the_epoch_of_all_and_the_time_of_the_whole_run(
    short_run: Callable[..., TrainOptions],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    train(short_run(tmp_path, epochs=3, data="drive:frames=4,size=96x72", val="drive:seed=9,frames=2,size=96x72"))

    told = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    for part in ("Epoch 1 of 3", "Epoch 3 of 3", "loss: ", "val_miou: ", " 0 s left"):
        assert part in told
    for part in ("v_num", "Epoch 0", "Epoch 4"):
        assert part not in told
