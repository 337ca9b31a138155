"""The sheet of the worst images."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edge_seg.apps.cli import app
from edge_seg.apps.sheet import RED, WIDTH_PX, WorstImages
from edge_seg.errors import SinkError
from edge_seg.runners.contract import read_onnx_spec
from edge_seg.spec import CAMVID_CLASSES, ModelSpec
from edge_seg.types import VOID, Frame

SPEC = ModelSpec("tiny", CAMVID_CLASSES, 96, 72, "nothing")
SIZE = (60, WIDTH_PX)


def look_at(worst: WorstImages, index: int, wrong_columns: int) -> None:
    """An image whose brightness is its number, with so many columns labelled wrongly."""
    truth = np.zeros(SIZE, np.uint8)
    truth[:, 200:] = 1
    labels = truth.copy()
    labels[:, :wrong_columns] = 1
    worst.look(Frame(np.full((*SIZE, 3), 10 * index, np.uint8), index, 0.0, truth, f"image {index}"), labels)


def test_it_keeps_the_worst_rows_and_the_worst_stands_first(tmp_path: Path) -> None:
    worst = WorstImages(SPEC, rows=2)
    for index, wrong in enumerate([30, 5, 120, 60, 0]):
        look_at(worst, index, wrong)
    worst.write(tmp_path / "worst.png")

    sheet = cv2.imread(str(tmp_path / "worst.png"))
    assert sheet is not None and sheet.shape == (2 * SIZE[0], 4 * WIDTH_PX, 3)
    assert [int(sheet[row, 300, 0]) for row in (50, 110)] == [20, 30]  # images 2 and 3, below their line of text
    wrong = (sheet[50:60, 3 * WIDTH_PX :] == RED).all(axis=(0, 2))
    assert (wrong.sum(), wrong[:120].all()) == (120, True)


def test_images_without_truth_make_no_sheet(tmp_path: Path) -> None:
    worst = WorstImages(SPEC)
    worst.look(Frame(np.zeros((*SIZE, 3), np.uint8), 0, 0.0, np.full(SIZE, VOID, np.uint8)), np.zeros(SIZE, np.uint8))

    with pytest.raises(SinkError, match=r"worst\.png is not written: no image has a pixel with truth"):
        worst.write(tmp_path / "worst.png")


def test_eval_writes_a_sheet_beside_its_scores(tiny_model: Path, tmp_path: Path) -> None:
    command = ["eval", str(tiny_model), "--data", "drive:frames=3,size=96x72", "--json", "--sheet"]
    result = CliRunner().invoke(app, [*command, str(tmp_path / "worst.png")], catch_exceptions=False)

    assert result.exit_code == 0
    assert {"boundary_f1", "dice"} < set(json.loads(result.stdout))
    sheet = cv2.imread(str(tmp_path / "worst.png"))
    assert sheet is not None and sheet.shape == (3 * 300, 4 * WIDTH_PX, 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("worst.gif", r"worst\.gif is no name of a sheet: expected one ending in \.png"),
        ("nowhere/worst.png", r"worst\.png cannot be written: No such file or directory\. Choose a folder that exists"),
        ("folder.png", r"folder\.png cannot be written: it is no ordinary file"),
    ],
)
def test_a_sheet_that_cannot_be_written_is_told_before_any_work(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    command = ["eval", "nowhere.onnx", "--data", "camvid:nowhere", "--sheet", str(tmp_path / name)]

    with pytest.raises(SinkError, match=message):
        CliRunner().invoke(app, command, catch_exceptions=False)


def test_a_sheet_that_fails_costs_no_scores(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, content: bytes) -> None:
        raise SinkError(f"{path} cannot be written: No space left on device.")

    monkeypatch.setattr("edge_seg.apps.sheet.write_whole", fail)
    path = tmp_path / "mine.onnx"
    path.write_bytes(tiny_model.read_bytes())
    command = ["eval", str(path), "--data", "drive:frames=2,size=96x72", "--json", "--record", "--sheet"]
    result = CliRunner().invoke(app, [*command, str(tmp_path / "worst.png")])

    assert isinstance(result.exception, SinkError)
    assert read_onnx_spec(path).scores["drive seed 1 mIoU"] == json.loads(result.stdout)["miou"]
