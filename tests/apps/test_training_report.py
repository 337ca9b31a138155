"""The picture that a training run leaves beside its checkpoint."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edge_seg.errors import SinkError
from edge_seg.evaluate import Scores
from edge_seg.spec import CAMVID_CLASSES, ModelSpec
from edge_seg.types import VOID, Frame, SegClass

pytest.importorskip("lightning")
pytest.importorskip("matplotlib")

from edge_seg.apps.cli import app
from edge_seg.apps.training_curves import LOSS, RATE, VAL, Curves, read_curves
from edge_seg.apps.training_report import WIDTH_PX, draw_report, write_training_report
from edge_seg.training.progress import EpochLines

SIZE = "size=96x72"


def run(folder: Path, *options: str, code: int | None = 0) -> tuple[str, str]:
    """Standard output and errors of a short training from the command line."""
    common = ["--arch", "edge-seg-n", "--size", "96x72", "--batch", "4", "--workers", "0", "--precision", "fp32"]
    sets = ["--data", f"drive:frames=8,{SIZE}", "--test", f"drive:seed=3,frames=4,{SIZE}", "--out", f"{folder}/net.pt"]
    result = CliRunner().invoke(app, ["train", *sets, *common, *options])
    assert code in (None, result.exit_code), result.output
    return result.stdout, result.stderr


def told_losses(stderr: str) -> dict[int, float]:
    """The loss of each epoch in the lines for people."""
    lines = [line for line in stderr.splitlines() if line.startswith("epoch ")]
    return {int(line[6:].split("/")[0]): float(line.split("'loss': '")[1].split("'")[0]) for line in lines}


def decode(content: bytes) -> np.ndarray:
    """The picture of a PNG file's content."""
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image


def test_a_run_leaves_its_report(tmp_path: Path) -> None:
    stdout, stderr = run(tmp_path, "--epochs", "3", "--json")

    assert json.loads(stdout)["images"] == 4
    assert stderr.splitlines()[-1].startswith(f"{tmp_path}/report.png: ")
    report = decode((tmp_path / "report.png").read_bytes())
    assert report.shape == (2150, WIDTH_PX, 3)
    assert all(part.std() > 20 for part in np.array_split(report, 3))
    curves = read_curves(tmp_path)
    assert curves.keys() == {LOSS, RATE}
    assert curves[LOSS] == pytest.approx(told_losses(stderr), rel=1e-3)
    assert list(curves[RATE]) == [1, 2, 3]
    assert 2e-3 > curves[RATE][1] > curves[RATE][2] > curves[RATE][3] > 0


def test_a_resumed_run_shows_each_epoch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = EpochLines.on_train_epoch_end

    def interrupt(self: EpochLines, trainer: object, pl_module: object) -> None:
        told(self, trainer, pl_module)  # type: ignore[arg-type]
        if trainer.current_epoch == 2:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EpochLines, "on_train_epoch_end", interrupt)
        run(tmp_path, "--epochs", "10", "--val", f"drive:seed=9,frames=2,{SIZE}", code=None)
    first = read_curves(tmp_path)[LOSS]
    _, stderr = run(tmp_path, "--epochs", "10", "--val", f"drive:seed=9,frames=2,{SIZE}", "--resume")

    later, curves = told_losses(stderr), read_curves(tmp_path)
    assert len(list((tmp_path / "tensorboard").glob("*tfevents*"))) == 2
    assert list(first) == [1, 2]
    assert list(curves[LOSS]) == list(range(1, 11))
    assert curves[LOSS] == pytest.approx(first | later, rel=1e-3)
    assert list(curves[VAL]) == [10]


def test_a_folder_without_logs_has_no_curves(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "events.out.tfevents.1").write_bytes(b"")

    assert read_curves(tmp_path) == {}


def test_a_report_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "report.png").mkdir()

    stdout, stderr = run(tmp_path, "--epochs", "1", "--json", code=1)

    assert json.loads(stdout)["images"] == 4
    assert f"Deploy it: edge-seg export {tmp_path}/net.pt" in stderr
    assert (tmp_path / "net.pt").is_file()


def draw(names: list[str], curves: Curves, *, miou: float | None = 0.5) -> np.ndarray:
    """A report of classes that never occur but for the first, on frames of which one has no truth."""
    classes = tuple(SegClass(name, (index, 40, 200)) for index, name in enumerate(names))
    ious = dict.fromkeys(names) | {names[0]: miou}
    scores = Scores("tiny", "torch", "FP32", 2, miou, ious, ious, miou, miou, miou, miou)
    truths = [np.zeros((72, 96), np.uint8), np.full((72, 96), VOID, np.uint8)]
    samples = [
        (Frame(np.full((72, 96, 3), 90, np.uint8), i, 0.0, t), np.zeros((72, 96), np.uint8))
        for i, t in enumerate(truths)
    ]
    spec = ModelSpec("tiny", classes, 96, 72, "nothing")
    return decode(draw_report(spec, scores, curves, test_name="the test set", samples=samples))


NAN = float("nan")


@pytest.mark.parametrize(
    ("names", "curves", "miou"),
    [
        ([c.name for c in CAMVID_CLASSES], {LOSS: {1: 2.0}, RATE: {1: 1e-3}, VAL: {1: 0.2}}, 0.5),
        ([f"a_long_name_of_class_{i}" for i in range(32)], {LOSS: {1: NAN, 2: NAN}, VAL: {1: NAN}}, 0.5),
        (["_back$ground", "$x$", "été 道路"], {}, None),
        ([str(i) for i in range(255)], {LOSS: {e: 1 / e for e in range(1, 201)}}, 0.0),
    ],
    ids=["one epoch", "nan", "odd names, no logs", "255 classes"],
)
def test_every_run_can_be_drawn(names: list[str], curves: Curves, miou: float | None) -> None:
    report = draw(names, curves, miou=miou)

    assert report.shape[1] == WIDTH_PX
    first_class = (report == (200, 40, 0)).all(axis=2).sum()  # the truth of one frame, and both predictions
    assert first_class > 3 * 400 * 300


def test_the_watched_curve_is_drawn_where_it_is_watched() -> None:
    loss = {LOSS: {1: 2.0, 2: 1.0}}
    green = [
        (np.abs(draw(["a", "b"], curves).astype(int) - (95, 138, 15)).max(axis=2) < 3).sum()
        for curves in (loss, {**loss, VAL: {1: 0.1, 2: 0.4}})
    ]

    assert green[0] == 0
    assert green[1] > 300


def test_a_report_is_written_whole_or_not(tmp_path: Path, tiny_checkpoint: Path) -> None:
    scores = Scores("tiny", "torch", "FP32", 1, 0.1, dict.fromkeys([c.name for c in CAMVID_CLASSES]), {}, *[None] * 4)
    with pytest.raises(SinkError, match=r"report\.png cannot be written"):
        write_training_report(
            tmp_path / "nowhere" / "report.png", tmp_path, scores, model=tiny_checkpoint, test=f"drive:frames=1,{SIZE}"
        )
