"""The samples of a training: how many, what their labels must show, and what a resumed run must find again."""

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")

from lightning.pytorch.utilities import rank_zero_only

from edge_seg.data import Drive, open_dataset
from edge_seg.errors import DataError
from edge_seg.recipe import Samples
from edge_seg.training.batches import fixed_by_data, open_training_set
from edge_seg.training.options import TrainOptions
from edge_seg.training.samples import Pictures, TrainingSet
from edge_seg.types import VOID, Frame, UInt8Array

ShortRun = Callable[..., TrainOptions]

FIRST, SECOND = (np.full((72, 96), label, np.uint8) for label in (0, 1))


def fixed(*truths: UInt8Array, names: tuple[str, ...] = ("road", "rest"), drive_count: int = 0) -> dict[str, object]:
    """What is fixed by pictures with these labels and by drive frames."""
    samples = TrainingSet(truths, Samples(), drive_count=drive_count, size=(96, 72), seed=1)
    return fixed_by_data(names, samples)


def test_the_same_pictures_are_the_same_data() -> None:
    assert fixed(FIRST, SECOND) == fixed(FIRST.copy(), SECOND.copy())
    assert fixed(drive_count=3) == fixed(drive_count=3)


def test_other_data_is_told_by_what_is_other() -> None:
    changed = {
        "classes": fixed(FIRST, SECOND, names=("rest", "road")),
        "samples": fixed(FIRST, SECOND, drive_count=1),
        "labels": fixed(FIRST, FIRST),
    }

    before = fixed(FIRST, SECOND)
    for name, now in changed.items():
        assert [key for key, value in before.items() if now[key] != value] == [name]


def write_set(root: Path, labels: list[UInt8Array], table: str) -> str:
    """Write pictures of noise with these labels and a class table, and give the URI."""
    for name in ("images", "labels"):
        (root / name).mkdir(parents=True)
    for number, truth in enumerate(labels):
        image = np.random.default_rng(number).integers(0, 256, (*truth.shape, 3), dtype=np.uint8)
        cv2.imwrite(str(root / "images" / f"{number}.png"), image)
        cv2.imwrite(str(root / "labels" / f"{number}.png"), truth)
    (root / "classes.csv").write_text(table)
    return f"folder:{root}"


def test_drive_frames_are_a_share_of_all_samples(short_run: ShortRun, tmp_path: Path) -> None:
    table = "".join(f"{c.name},{','.join(map(str, c.rgb))}\n" for c in Drive(1, 96, 72, 1).classes)
    data = write_set(tmp_path / "mine", [np.full((36, 48), n % 11, np.uint8) for n in range(19)], table)
    for share, drawn in ((0.0, 0), (0.5, 19), (0.25, 6)):
        options = short_run(tmp_path, data=data, drive_share=share)
        samples, pictures = open_training_set(open_dataset(data), options)

        assert (len(samples), samples.drive_count) == (19 + drawn, drawn)
        assert pictures.images.shape == (19, 3, 72, 96)
        kinds = [samples[key].picture for key in range(len(samples))]
        assert kinds[:19] == list(range(19))
        assert [type(kind) for kind in kinds[19:]] == [tuple] * drawn
        assert samples.pixels[:11].tolist() == [72 * 96 * n for n in [2] * 8 + [1] * 3]  # pictures alone


def test_pictures_are_read_one_after_the_other() -> None:
    alive: list[weakref.ref[UInt8Array]] = []

    class Read(list[Frame]):
        def __iter__(self) -> Iterator[Frame]:
            for number in range(len(self)):
                image = np.full((36, 48, 3), number, np.uint8)
                alive.append(weakref.ref(image))
                yield Frame(image, number, 0.0, image[..., 0].copy())
                del image
                assert sum(ref() is not None for ref in alive) <= 1

    pictures = Pictures(Read([Drive(1, 48, 36, 1)[0]] * 5), (96, 72))

    assert pictures.images[:, 0, 0, 0].tolist() == pictures.truths[:, 0, 0].tolist() == [0, 1, 2, 3, 4]


DARK, BRIGHT, NONE = (np.full((72, 96), value, np.uint8) for value in (0, 1, VOID))
MASK = np.where(np.arange(96) < 50, DARK, NONE)
TWO, THREE = "dark,0,0,0\nbright,255,255,255\n", "dark,0,0,0\nbright,255,255,255\nred,255,0,0\n"


@pytest.mark.parametrize(
    ("labels", "table", "told"),
    [
        ([DARK, BRIGHT], TWO, ""),
        ([MASK, BRIGHT], TWO, ""),
        ([DARK, DARK], TWO, "No pixel of mine shows bright.\n"),
        ([DARK, NONE], THREE, "No pixel of mine shows bright, red.\n"),
        (
            [MASK, MASK],
            TWO,
            "No pixel of mine shows bright. If 255 marks an object there, and not what is no class, type --data "
            "mask:{}/mine\n",
        ),
    ],
)
def test_classes_that_no_pixel_shows_are_told_once(
    labels: list[UInt8Array],
    table: str,
    told: str,
    short_run: ShortRun,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = write_set(tmp_path / "mine", labels * 2, table)
    reading = "Reading the 4 pictures of mine and their labels.\n"
    open_training_set(open_dataset(data), short_run(tmp_path, data=data))
    assert capsys.readouterr().err == reading + told.format(tmp_path)

    monkeypatch.setenv("NODE_RANK", "1")
    open_training_set(open_dataset(data), short_run(tmp_path, data=data))
    assert capsys.readouterr().err == reading

    monkeypatch.setattr(rank_zero_only, "rank", 1)
    open_training_set(open_dataset(data), short_run(tmp_path, data=data))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("table", "hint"), [(TWO, r" If 255 marks .* mask:.*mine$"), (THREE, " Check that they hold ")]
)
def test_labels_without_any_class_are_refused(
    table: str, hint: str, short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every process: else the others would wait for the first."""
    data = write_set(tmp_path / "mine", [NONE] * 4, table)
    for rank in (0, 1):
        monkeypatch.setattr(rank_zero_only, "rank", rank)
        with pytest.raises(DataError, match=rf"^No pixel of mine has a class: its labels are void throughout\.{hint}"):
            open_training_set(open_dataset(data), short_run(tmp_path, data=data))
