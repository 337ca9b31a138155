"""Pictures of any size in, labels of that size out."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import edge_seg
from edge_seg.data.drive import Drive
from edge_seg.errors import DataError
from edge_seg.evaluate import evaluate
from edge_seg.metrics import ConfusionMatrix
from edge_seg.resize import resize_image
from edge_seg.segmenter import open_segmenter, open_segmenters


@pytest.mark.parametrize(("width", "height"), [(96, 72), (480, 360), (97, 31), (1, 1), (40, 300)])
def test_labels_have_the_pictures_size(tiny_model: Path, width: int, height: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    with edge_seg.open_segmenter(tiny_model) as segment:
        result = segment(image)

    assert (result.labels.shape, result.labels.dtype) == ((height, width), np.uint8)
    assert min(result.pre_ms, result.infer_ms, result.post_ms) >= 0


def test_the_models_own_size_is_not_resampled(tiny_model: Path) -> None:
    frame = Drive(1, 96, 72, 1)[0]
    enlarged = cv2.resize(frame.image, (192, 144), interpolation=cv2.INTER_NEAREST)
    with open_segmenter(tiny_model) as segment:
        own, large = segment(frame.image).labels, segment(enlarged).labels

    assert (large[::2, ::2] == own).mean() > 0.95
    assert resize_image(frame.image, 96, 72) is frame.image


def test_a_view_of_a_larger_picture_is_taken(tiny_model: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (72, 200, 3), dtype=np.uint8)
    with open_segmenter(tiny_model) as segment:
        assert np.array_equal(segment(image[:, 10:106]).labels, segment(image[:, 10:106].copy()).labels)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
)
def test_what_is_no_bgr_picture_is_refused(tiny_model: Path, image: np.ndarray) -> None:
    with (
        open_segmenter(tiny_model) as segment,
        pytest.raises(DataError, match=r"Expected an image uint8 \[H, W, 3\]"),
    ):
        segment(image)


def test_scores_are_those_of_one_matrix_over_the_set(tiny_model: Path) -> None:
    drive = Drive(2, 96, 72, 4)
    matrix = ConfusionMatrix(11)
    found = {}

    with open_segmenter(tiny_model) as segment:
        scores = evaluate(segment, drive, on_image=lambda frame, labels: found.update({frame.index: labels}))
        for frame in drive:
            assert frame.truth is not None
            matrix.update(segment(frame.image).labels, frame.truth)
            assert np.array_equal(found[frame.index], segment(frame.image).labels)

    assert len(found) == scores.images == 4
    assert (scores.miou, scores.dice) == (matrix.miou(), matrix.dice())
    assert list(scores.class_iou) == list(drive.class_names)
    assert list(scores.to_dict()) == [
        "model",
        "runtime",
        "precision",
        "images",
        "miou",
        "class_iou",
        "class_accuracy",
        "global_accuracy",
        "boundary_f1",
        "dice",
    ]


def test_outlines_can_be_left_out(tiny_model: Path) -> None:
    drive = Drive(5, 96, 72, 2)
    with open_segmenter(tiny_model) as segment:
        whole, quick = evaluate(segment, drive), evaluate(segment, drive, outlines=False)

    assert whole.boundary_f1 is not None
    assert quick == replace(whole, boundary_f1=None)


@pytest.mark.parametrize(
    ("cores", "most", "threads"), [(2, 4, [1, 1]), (7, 4, [2, 2, 2, 1]), (7, 1, [0]), (16, 3, [6, 5, 5]), (1, 4, [0])]
)
def test_segmenters_share_the_cores(
    cores: int, most: int, threads: list[int], tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(cores)))
    with open_segmenters(tiny_model, "onnxruntime", most=most) as segments:
        sessions = [segment._runner._session for segment in segments]  # type: ignore[attr-defined]

        assert [session.get_session_options().intra_op_num_threads for session in sessions] == threads


@pytest.mark.parametrize(("asked", "most", "threads"), [(1, 4, [1]), (3, 4, [1, 1, 1]), (3, 1, [3])])
def test_segmenters_share_the_threads_asked_for(asked: int, most: int, threads: list[int], tiny_model: Path) -> None:
    with open_segmenters(tiny_model, "onnxruntime", most=most, threads=asked) as segments:
        sessions = [segment._runner._session for segment in segments]  # type: ignore[attr-defined]

        assert [session.get_session_options().intra_op_num_threads for session in sessions] == threads


def test_pytorch_has_one_segmenter(tiny_checkpoint: Path) -> None:
    with open_segmenters(tiny_checkpoint) as segments:
        assert len(segments) == 1
