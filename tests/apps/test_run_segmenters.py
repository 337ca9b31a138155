"""How many segmenters a run has."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edge_seg.apps.cli import app
from edge_seg.segmenter import Segmenter, open_segmenter

DRIVE = "drive:seed=1,size=96x72,frames=6"


class Camera:
    """Four pictures, then nothing."""

    count = 0

    def isOpened(self) -> bool:
        return True

    def get(self, key: int) -> float:
        return 25.0

    def set(self, key: int, value: float) -> bool:
        return True

    def grab(self) -> bool:
        self.count += 1
        return self.count < 5

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.zeros((72, 96, 3), np.uint8)

    def release(self) -> None: ...


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--source", DRIVE], 4),
        (["--source", DRIVE, "--frames", "2"], 2),
        (["--source", DRIVE, "--threads", "1"], 1),
        (["--camera", "0"], 1),
    ],
)
def test_films_have_several_segmenters_and_cameras_one(
    options: list[str], count: int, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []

    def counting(model: Path, runtime: str, *, threads: int) -> Segmenter:
        opened.append(threads)
        return open_segmenter(model, runtime, threads=threads)

    monkeypatch.setattr("edge_seg.segmenter.open_segmenter", counting)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.setattr("cv2.VideoCapture", lambda number: Camera())

    command = ["run", "--model", str(tiny_model), "--headless", *options]
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0

    assert len(opened) == count
