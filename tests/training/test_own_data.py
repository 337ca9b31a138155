"""Trainings on pictures and classes of one's own, and what is refused before their first step."""

import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")

from lightning.pytorch.utilities import rank_zero_only

from edge_seg.checkpoint import read_checkpoint
from edge_seg.data import open_dataset
from edge_seg.data.checks import check_apart
from edge_seg.errors import DataError, EdgeSegError, ModelError, SinkError
from edge_seg.train import train, train_and_evaluate
from edge_seg.training.batches import read_sets
from edge_seg.training.folder import owned_folder
from edge_seg.training.options import TrainOptions

ShortRun = Callable[..., TrainOptions]


@pytest.fixture
def two_classes(tmp_path: Path) -> Path:
    """Folders `train` and `test` of pictures of 60x40, dark on the left and bright on the right, and their table."""
    rng = np.random.default_rng(0)
    labels = np.zeros((40, 60), np.uint8)
    labels[:, 30:] = 1
    for split in ("train", "test"):
        for name in ("images", "labels"):
            (tmp_path / "mine" / split / name).mkdir(parents=True)
        for number in range(8):
            image = (labels * 150 + rng.integers(0, 60, labels.shape)).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "mine" / split / "images" / f"{number}.png"), cv2.merge([image] * 3))
            cv2.imwrite(str(tmp_path / "mine" / split / "labels" / f"{number}.png"), labels)
    (tmp_path / "mine" / "classes.csv").write_text("dark,0,0,0\nbright,255,255,255\n")
    return tmp_path / "mine"


def test_a_whole_net_is_taken_but_for_its_output(
    short_run: ShortRun, tmp_path: Path, tiny_checkpoint: Path, two_classes: Path
) -> None:
    options = short_run(tmp_path / "run", data=f"folder:{two_classes}/train", init=tiny_checkpoint, epochs=1)
    trained = train(options)

    lines = (tmp_path / "run" / "init.txt").read_text().splitlines()
    assert lines[0].startswith("--init tiny.pt: 125 of 131 tensors taken; head.weight is [11, 48, 1, 1] there")
    assert "anew      head.bias [2]: [11] in the file" in lines
    assert trained is not None
    assert (trained.dataset, trained.licence) == ("train and nothing", "")


def test_a_net_learns_classes_of_ones_own_from_pictures_of_another_size(
    short_run: ShortRun, tmp_path: Path, two_classes: Path
) -> None:
    data, test = f"folder:{two_classes}/train", f"folder:{two_classes}/test"
    scores = train_and_evaluate(short_run(tmp_path, data=data, val=data, epochs=12, lr=5e-3, ema=0.5), test)

    _, spec, _ = read_checkpoint(tmp_path / "net.pt")
    assert (spec.class_names, spec.dataset, spec.licence) == (("dark", "bright"), "train", "")
    assert (spec.width, spec.height) == (96, 72)
    assert scores is not None and scores.miou is not None and scores.miou > 0.7


@pytest.mark.parametrize(
    ("changes", "test", "message"),
    [
        (
            {},
            "drive:frames=2",
            r"drive seed 1 has other classes than the training set: label 0 is Sky there, but dark in the training "
            r"set\. Give a --test of the same classes\.",
        ),
        ({"val": "drive:frames=2"}, "", r"drive seed 1 has other .* Give a --val of the same classes, or none\."),
        (
            {"drive_share": 0.5},
            "",
            r"mixes in drive frames \(drive_share 0\.5\), which have CamVid's classes; those of train are others\. "
            r"Type --drive-share 0\.",
        ),
    ],
)
def test_other_classes_are_told_before_training(
    short_run: ShortRun, changes: dict[str, object], test: str, message: str, tmp_path: Path, two_classes: Path
) -> None:
    with pytest.raises(DataError, match=message):
        train_and_evaluate(
            short_run(tmp_path, data=f"folder:{two_classes}/train", **changes), test or f"folder:{two_classes}/test"
        )

    assert not (tmp_path / "net.pt").exists()


@pytest.mark.parametrize("form", ["the set itself", "a link to its folder", "hard links", "a union"])
def test_a_test_set_that_is_learned_from_is_refused(
    short_run: ShortRun, form: str, tmp_path: Path, two_classes: Path
) -> None:
    data = test = f"folder:{two_classes}/train"
    if form == "a link to its folder":
        (two_classes / "again").symlink_to(two_classes / "train")
        test = f"folder:{two_classes}/again"
    elif form == "hard links":
        shutil.copytree(two_classes / "train", two_classes / "again", copy_function=os.link)
        test = f"folder:{two_classes}/again"
    elif form == "a union":
        inner, outer = (tmp_path / f"{name}.toml" for name in ("inner", "outer"))
        for path, part in ((inner, data), (outer, f"union:{inner}")):
            sets = f'[[set]]\ndata = "folder:{two_classes}/test"\n[[set]]\ndata = "{part}"\n'
            path.write_text(f'classes = "mine/classes.csv"\n{sets}')
        data = f"union:{outer}"

    with pytest.raises(
        DataError,
        match=r"8 of the 8 pictures of the test set are training pictures too, the first .*/0\.png\. .* --test",
    ):
        train_and_evaluate(short_run(tmp_path, data=data), test)
    assert not (tmp_path / "last.ckpt").exists()


def test_drive_frames_that_a_union_learns_from_are_refused(tmp_path: Path) -> None:
    """On its own `drive:` is trained by streets picked anew; in a union its frames are pictures like others."""
    (tmp_path / "classes.csv").write_text("Road,128,64,128\nCar,64,0,128\n")
    for name, frames in (("learned", 8), ("judged", 2)):
        drive = f'[[set]]\ndata = "drive:seed=1,size=96x72,frames={frames}"\n'
        (tmp_path / f"{name}.toml").write_text(f'classes = "classes.csv"\n{drive}')
    learned, judged = (open_dataset(f"union:{tmp_path}/{name}.toml") for name in ("learned", "judged"))

    for test in (judged, open_dataset("drive:seed=1,size=96x72,frames=2")):
        with pytest.raises(DataError, match=r"2 of the 2 pictures .* too, the first frame 0 of drive seed 1\."):
            check_apart(learned, test)
    for test in ("drive:seed=2,size=96x72,frames=2", "drive:seed=1,size=128x72,frames=2"):
        check_apart(learned, open_dataset(test))
    check_apart(open_dataset("drive:seed=1,size=96x72,frames=8"), judged)


@pytest.mark.parametrize("as_union", [False, True])
@pytest.mark.parametrize("where", ["test", "val"])
def test_bad_labels_are_told_before_the_first_epoch(
    short_run: ShortRun,
    where: str,
    as_union: bool,
    tmp_path: Path,
    two_classes: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """They are read again at the end, or in the tenth epoch."""
    shutil.copytree(two_classes / "test", two_classes / "bad")
    cv2.imwrite(str(two_classes / "bad" / "labels" / "7.png"), np.full((40, 60), 9, np.uint8))
    (tmp_path / "bad.toml").write_text(f'classes = "mine/classes.csv"\n[[set]]\ndata = "folder:{two_classes}/bad"\n')
    sets = {"test": f"folder:{two_classes}/test", "val": None}
    sets[where] = f"union:{tmp_path}/bad.toml" if as_union else f"folder:{two_classes}/bad"
    options = short_run(tmp_path, data=f"folder:{two_classes}/train", val=sets["val"], epochs=1)

    with pytest.raises(DataError, match=r"bad/labels/7\.png holds the values \[9\]"):
        train_and_evaluate(options, str(sets["test"]))
    assert "epoch" not in capsys.readouterr().err
    assert not (tmp_path / "last.ckpt").exists()


@pytest.fixture
def bad_labels(two_classes: Path) -> str:
    """A test set of which nothing can be read."""
    for path in (two_classes / "test" / "labels").iterdir():
        path.write_bytes(b"no picture")
    return f"folder:{two_classes}/test"


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"devices": 3}, DataError, r"batch of 4 cannot be shared by 3 processes"),
        ({"resume": True}, DataError, r"There is no run to resume"),
        ({"arch": "edge-seg-x"}, ModelError, r"Unknown model 'edge-seg-x'"),
        ({"init": Path("nowhere.pt")}, ModelError, r"No model 'nowhere\.pt'"),
        ({"teacher": Path("nowhere.pt")}, ModelError, r"No model 'nowhere\.pt'"),
        ({"init": Path("edge-seg-s")}, ModelError, "edge-seg-s is INT8: its weights are rounded. Give edge-seg-s-fp32"),
        ({"teacher": Path("edge-seg-s-fp32")}, DataError, "the teacher edge-seg-s-fp32"),
        ({"val": "drive:frames=2"}, DataError, r"Give a --val of the same classes, or none"),
        ({"out": Path(__file__) / "net.pt"}, SinkError, r"cannot be written: .*Choose another --out"),
        ({}, DataError, r"last\.ckpt is of an earlier run"),
        ({}, SinkError, r"Another training is at work"),
    ],
)
def test_what_costs_nothing_to_tell_is_told_before_pictures_are_read(
    changes: dict[str, object],
    kind: type[EdgeSegError],
    message: str,
    short_run: ShortRun,
    tmp_path: Path,
    two_classes: Path,
    bad_labels: str,
) -> None:
    for path in (two_classes / "train" / "labels").iterdir():
        path.write_bytes(b"no picture")
    given = {"data": f"folder:{two_classes}/train", "val": bad_labels} | changes
    options = short_run(tmp_path / "run", **given)
    if "earlier" in message:
        options.last.parent.mkdir()
        options.last.touch()
    other = owned_folder(options) if "Another" in message else nullcontext()

    with other, pytest.raises(kind, match=message):
        train_and_evaluate(options, bad_labels)
    assert options.run_dir.exists() == ("earlier" in message)  # what nothing was written to is gone again


def test_a_training_tells_what_it_reads_each_set_once(
    short_run: ShortRun, tmp_path: Path, two_classes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, test = f"folder:{two_classes}/train", f"folder:{two_classes}/test"
    train(short_run(tmp_path, data=data, val=test, epochs=1), test=test)

    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Reading ")]
    assert lines == [f"Reading the 8 pictures of {name} and their labels." for name in ("train", "test")]


def test_sets_are_read_once_by_the_first_process(
    bad_labels: str, two_classes: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = f"folder:{two_classes}/train"
    read_sets(good, good)
    read_sets(None, "drive:frames=2")
    assert capsys.readouterr().err == "Reading the 8 pictures of train and their labels.\n"

    with pytest.raises(DataError, match=r"test/labels/0\.png is damaged"):
        read_sets(good, bad_labels)
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    read_sets(bad_labels)
