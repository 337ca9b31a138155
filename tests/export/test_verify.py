"""Parity of two artefacts by their labels, against a slow reference."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_seg.data.drive import Drive
from edge_seg.errors import DataError, ModelError
from edge_seg.export.verify import compare, verify
from edge_seg.runners import open_runner
from edge_seg.runners.contract import read_onnx_spec

DRIVE = Drive(5, 96, 72, 6)
ORT = ("onnxruntime", "onnxruntime")
IMAGES = [frame.image[None] for frame in DRIVE]


def test_labels_are_compared_as_a_slow_reference_does(tiny_model: Path, tiny_int8_model: Path) -> None:
    with open_runner(tiny_model, "onnxruntime") as a, open_runner(tiny_int8_model, "onnxruntime") as b:
        found = compare(a, b, DRIVE)
        ours, theirs = (np.concatenate([runner.infer(image) for image in IMAGES]) for runner in (a, b))

    equal = ours == theirs
    assert 0.5 < found.agreement < 1
    assert found.agreement == pytest.approx(equal.mean())
    assert [image.agreement for image in found.images] == pytest.approx(equal.mean((1, 2)).tolist())
    assert found.worst.index == int(equal.mean((1, 2)).argmin())
    assert found.worst.name == DRIVE[found.worst.index].name
    ious = []
    for label, name in enumerate(a.spec.class_names):
        either = ((ours == label) | (theirs == label)).sum()
        expected = ((ours == label) & (theirs == label)).sum() / either if either else None
        assert found.class_iou[name] == (None if expected is None else pytest.approx(expected))
        ious += [expected] if either else []
    assert found.miou == pytest.approx(np.mean(ious))
    assert str(found.b) == "tiny INT8 on onnxruntime"


def test_images_of_any_size_are_compared_at_the_models(tiny_model: Path) -> None:
    pytest.importorskip("openvino")
    seen: list[int] = []
    with open_runner(tiny_model, "onnxruntime") as a, open_runner(tiny_model, "openvino") as b:
        found = compare(a, b, Drive(1, 250, 200, 3), on_image=lambda: seen.append(1))

    assert found.agreement > 0.999
    assert (len(seen), len(found.images)) == (3, 3)


def test_a_set_without_images_is_an_error(tiny_model: Path) -> None:
    with open_runner(tiny_model, "onnxruntime") as runner, pytest.raises(DataError, match="no image to compare on"):
        compare(runner, runner, [])


def test_other_classes_and_sizes_are_named(tiny_model: Path, changed: Callable[..., Path]) -> None:
    classes = read_onnx_spec(tiny_model).classes
    fewer, turned = changed(tiny_model, classes=classes[:5]), changed(tiny_model, classes=classes[::-1])

    for other, message in (
        (fewer, r"A \(tiny\) has 11 classes, B \(tiny\) 5: label 5 is Tree in A, but missing in B\. Give two models"),
        (turned, r"A \(tiny\) has 11 classes, B \(tiny\) 11: label 0 is Sky in A, but Bicyclist in B\."),
        ("edge-seg-s-fp32", r"A \(tiny\) takes 96x72 pixels, B \(edge-seg-s\) 480x360\."),
    ):
        with pytest.raises(ModelError, match=message):
            verify(str(tiny_model), str(other), DRIVE, runtimes=ORT)


def test_a_label_of_no_class_is_an_error(tiny_model: Path, changed: Callable[..., Path]) -> None:
    path = changed(tiny_model, classes=read_onnx_spec(tiny_model).classes[:1])

    with pytest.raises(ModelError, match=r"tiny on onnxruntime gives the label \d+, but has 1 classes"):
        verify(str(path), str(path), DRIVE, runtimes=ORT)


def test_the_labels_stand_where_onnx_runtime_cannot_load_a_file(tiny_model: Path, changed: Callable[..., Path]) -> None:
    pytest.importorskip("openvino")
    newer = changed(tiny_model, lambda model: setattr(model, "ir_version", 99))

    found = verify(str(tiny_model), str(newer), DRIVE, runtimes=("auto", "openvino"))

    assert found.parity.agreement > 0.999
    assert found.layers is None
    assert "cannot load changed0.onnx" in found.no_layers


def test_one_file_on_two_runtimes_has_no_layers(tiny_int8_model: Path) -> None:
    pytest.importorskip("openvino")
    found = verify(str(tiny_int8_model), str(tiny_int8_model), DRIVE, runtimes=("openvino", "onnxruntime"))

    assert found.parity.agreement > 0.99
    assert (found.parity.a.runtime, found.parity.b.runtime) == ("openvino", "onnxruntime")
    assert "A and B are one file" in found.no_layers


def test_a_checkpoint_is_compared_by_its_labels(tiny_checkpoint: Path, tiny_model: Path) -> None:
    found = verify(str(tiny_checkpoint), str(tiny_model), DRIVE)

    assert found.parity.a.runtime == "torch"
    assert found.parity.agreement > 0.999
    assert found.no_layers == "That takes two ONNX files; none: A. Of a checkpoint, write one: edge-seg export"
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["layers"] is None
