"""Accuracy and frames a second, each by a process of its own: the numbers of `eval` and `run`, and their errors."""

from pathlib import Path

import numpy as np
import pytest

from edge_seg.apps.profile.in_loop import run_loop_of
from edge_seg.apps.profile.judge import judge
from edge_seg.apps.profile.rows import Row
from edge_seg.bootstrap import class_iou
from edge_seg.data import open_dataset
from edge_seg.errors import ModelError
from edge_seg.evaluate import evaluate
from edge_seg.segmenter import open_segmenter

DATA = "drive:seed=3,frames=3,size=96x72"


def test_accuracy_is_that_of_eval_and_its_counts_add_up(tiny_model: Path) -> None:
    found = judge(tiny_model, "onnxruntime", DATA)

    with open_segmenter(tiny_model, "onnxruntime") as segment:
        scores = evaluate(segment, open_dataset(DATA), outlines=False)
    assert (found.images, found.miou, found.class_iou) == (3, scores.miou, scores.class_iou)
    iou = class_iou(np.asarray(found.counts).sum(0))
    assert iou[~np.isnan(iou)].tolist() == [value for value in scores.class_iou.values() if value is not None]


def test_other_classes_are_named(tiny_model: Path, tmp_path: Path) -> None:
    import cv2

    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((8, 8, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "labels" / "a.png"), np.zeros((8, 8), np.uint8))
    (tmp_path / "classes.csv").write_text("name,r,g,b\nRoad,1,2,3\nCow,4,5,6\n")

    with pytest.raises(ModelError, match="has other classes than the model: label 0 is Road there, but Sky in"):
        judge(tiny_model, "onnxruntime", f"folder:{tmp_path}")


def test_a_crash_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^No model .*nowhere\.onnx"):
        judge(tmp_path / "nowhere.onnx", "onnxruntime", DATA)


def test_the_loop_is_that_of_run(tiny_model: Path) -> None:
    found = run_loop_of(Row("tiny", str(tiny_model), "onnxruntime", threads=1), DATA, 3)

    assert found.fps > 0
    assert list(found.stages_ms) == ["capture", "pre", "infer", "post", "draw", "sink"]
    assert found.age_ms.p50 > 0


def test_a_source_that_does_not_open_is_told(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.mp4"):
        run_loop_of(Row("tiny", str(tiny_model), "onnxruntime"), "nowhere.mp4", 3)
