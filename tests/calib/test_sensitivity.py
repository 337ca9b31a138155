"""Layers of a graph, what each of them costs in INT8, and the files that this is kept in."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_seg.calib.ranges import hash_of
from edge_seg.calib.rung import read_rung
from edge_seg.calib.sensitivity import LayerEffect, Sensitivity, layers_in, worst_first
from edge_seg.calib.sensitivity_kept import Evaluations, Setup
from edge_seg.calib.sensitivity_layers import layers_of
from edge_seg.calib.sensitivity_pictures import judged_part
from edge_seg.data.drive import Drive
from edge_seg.errors import DataError
from edge_seg.export.target import find_target
from edge_seg.runners.contract import read_onnx_spec
from edge_seg.types import VOID, Frame

X86 = find_target("onnxruntime-x86")
DRIVE = Drive(3, 96, 72, 12)
SETUP = Setup("m", "r", "d", 2, "tensorrt", "mse-symmetric", "openvino 1")


def residual() -> onnx.ModelProto:
    """Two convolutions with a residual Add, an up-sampling beside them, and a gate."""
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
        net (float[1, 16, 4, 4] x) => (float[1, 16, 8, 8] y)
        <float[16, 16, 1, 1] w, float[4] scales = {1.0, 1.0, 2.0, 2.0}> {
            pooled = MaxPool<kernel_shape = [1, 1]>(x)
            a = Conv(pooled, w)
            b = Relu(a)
            c = Conv(b, w)
            d = Add(b, c)
            e = Relu(d)
            up = Resize<mode = "linear">(e, , scales)
            gate = Sigmoid(up)
            gated = Mul(up, gate)
            y = Conv(gated, w)
        }""")
    weights = np.random.default_rng(0).normal(size=(16, 16, 1, 1)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    for node in model.graph.node:
        node.name = f"{node.op_type}:{node.output[0]}"
    return model


def tensors(model: onnx.ModelProto) -> set[str]:
    return {"x"} | {name for node in model.graph.node for name in node.output}


def test_a_layer_is_a_weighted_operator_with_what_follows_it() -> None:
    model = residual()

    found = {layer.name: layer.nodes for layer in layers_of(model, X86, tensors(model))}

    assert found == {
        "Conv:a": ("Conv:a", "Relu:b"),
        "Conv:c": ("Conv:c", "Add:d", "Relu:e", "Resize:up"),
        "Conv:y": ("Conv:y",),
    }


def test_what_a_target_leaves_in_float_is_of_no_layer() -> None:
    model = residual()
    found = {layer.name: layer.nodes for layer in layers_of(model, find_target("tensorrt"), tensors(model))}

    assert found == {"Conv:a": ("Conv:a",), "Conv:c": ("Conv:c", "Add:d"), "Conv:y": ("Conv:y",)}
    assert layers_of(model, X86, ()) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.update(version=9),
        lambda found: found.pop("setup"),
        lambda found: found["setup"].pop("data"),
        lambda found: found.update(sqnr_db=[]),
        lambda found: found["sqnr_db"].update(x="loud"),
        lambda found: found["class_iou"].update(x={"Road": 0.5}),
        lambda found: found["class_iou"]["FP32"].update(Road=float("nan")),
    ],
)
def test_a_damaged_file_of_evaluations_is_told(change: object, tmp_path: Path) -> None:
    kept = Evaluations(tmp_path, SETUP)
    kept.add("FP32", {"Road": 0.5, "Car": None})
    kept.add_sqnr({"head": 30.0})
    again = Evaluations(tmp_path, SETUP)  # a whole one is taken up
    assert (again.class_iou, again.sqnr_db) == ({"FP32": {"Road": 0.5, "Car": None}}, {"head": 30.0})

    content = json.loads((tmp_path / "evaluations.json").read_text())
    change(content)  # type: ignore[operator]
    (tmp_path / "evaluations.json").write_text(json.dumps(content))

    with pytest.raises(DataError, match=r"evaluations\.json holds no evaluations .*Remove it, or give another --out"):
        Evaluations(tmp_path, SETUP)


def test_a_layer_without_noise_has_no_sqnr(tmp_path: Path) -> None:
    Evaluations(tmp_path, SETUP).add_sqnr({"equal": float("inf"), "odd": float("nan"), "head": 30.5})

    assert Evaluations(tmp_path, SETUP).sqnr_db == {"equal": None, "odd": None, "head": 30.5}


class Unlabelled:
    """A set whose truths are all one value, or missing."""

    name, classes, class_names, licence = "mine", DRIVE.classes, DRIVE.class_names, ""

    def __init__(self, truth: int | None, count: int = 3) -> None:
        self._truth, self._count = truth, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Frame:
        truth = None if self._truth is None else np.full((72, 96), self._truth, np.uint8)
        return Frame(np.full((72, 96, 3), index, np.uint8), index, 0.0, truth, f"frame {index}")

    def __iter__(self) -> Iterator[Frame]:
        return (self[index] for index in range(len(self)))


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Unlabelled(None), "frame 0 of mine has no labels"),
        (Unlabelled(VOID), "No pixel of 3 images of mine has a class"),
        (Unlabelled(1, 0), "No pixel of 0 images of mine"),
    ],
)
def test_pictures_without_labels_are_told(dataset: Unlabelled, message: str, tiny_model: Path) -> None:
    with pytest.raises(DataError, match=message):
        judged_part(dataset, 5, read_onnx_spec(tiny_model))


def test_the_judged_part_is_a_data_set_with_a_hash(tiny_model: Path) -> None:
    spec = read_onnx_spec(tiny_model)
    one, other = judged_part(DRIVE, 3, spec), judged_part(Drive(4, 96, 72, 12), 3, spec)

    assert one.indices == (0, 6, 11)
    assert (len(one), one[1].index, [frame.index for frame in one]) == (3, 6, [0, 6, 11])
    assert (one.name, one.licence, one.classes, one.class_names) == (
        DRIVE.name,
        DRIVE.licence,
        DRIVE.classes,
        DRIVE.class_names,
    )
    assert one.sha256 == judged_part(DRIVE, 3, spec).sha256 != other.sha256
    assert judged_part(Unlabelled(1), 3, spec).sha256 != judged_part(Unlabelled(2), 3, spec).sha256


def effect(name: str, drop: float | None, sqnr_db: float | None, nodes: tuple[str, ...] = ()) -> LayerEffect:
    return LayerEffect(name, nodes or (name,), sqnr_db, None if drop is None else {"Road": drop, "Car": None})


def test_worst_first() -> None:
    layers = [effect("a", None, None), effect("b", None, 9.0), effect("c", -0.1, 3.0), effect("d", 0.2, 30.0)]

    assert [layer.name for layer in worst_first(layers)] == ["d", "c", "b", "a"]


def test_the_toml_is_a_rung_that_tells_the_layers_apart(tmp_path: Path) -> None:
    layers = (effect('/net/a"b', 0.2, 12.34, ('/net/a"b', "relu")), effect("é", None, None))
    found = Sensitivity("tiny", "two\nlines", SETUP, {"Road": 0.5}, {"Road": 0.3}, layers, 2, 2)
    path = tmp_path / "sensitivity.toml"
    path.write_text(found.to_toml(1), encoding="utf-8")

    assert 'model = "m"\n' in path.read_text(encoding="utf-8")
    rung = read_rung(path)
    assert (rung.target, rung.method, rung.floats) == ("tensorrt", "mse-symmetric", ('/net/a"b', "relu"))
    assert list(layers_in(path)) == ['/net/a"b', "é"]
    assert layers_in(path) == {'/net/a"b': ('/net/a"b', "relu"), "é": ("é",)}
    text = path.read_text(encoding="utf-8")
    assert 'drop = 0.200000\nworst_class = "Road"\nworst_class_drop = 0.200000\n' in text
    assert "sqnr_db = 12.340000" in text
    path.write_text(found.to_toml(), encoding="utf-8")
    assert read_rung(path).floats == ()


@pytest.mark.parametrize("text", ['method = "mse"', "layer = 3", "[[layer]]\ndrop = 0.1", 'layer = ["a"]'])
def test_a_toml_without_layers_is_told(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)

    with pytest.raises(DataError, match=r"mine\.toml names no layers\. Measure them: edge-seg calib sensitivity"):
        layers_in(path)


def test_a_layer_that_a_person_adds_needs_a_name_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[[layer]]\nname = "head"\n')

    assert layers_in(path) == {"head": ("head",)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('model = "{hash}"\n', None),
        ("", None),
        (
            'model = "abcdefabcdef00"\n',
            r"mine\.toml was measured on another model \(graph abcdefabcdef, not .*calib sensitivity",
        ),
        ('model = "{hash}"\n[[layer]]\nname = "Conv:z"\n', "names 'Conv:z', a node that the model has not"),
    ],
    ids=["this model", "written by a person", "another model", "a node of nowhere"],
)
def test_layers_are_those_of_the_model(text: str, message: str | None, tmp_path: Path) -> None:
    model, path = residual(), tmp_path / "mine.toml"
    path.write_text(f'{text.format(hash=hash_of(model))}[[layer]]\nname = "Conv:c"\nnodes = ["Conv:c", "Add:d"]\n')

    if message is None:
        assert layers_in(path, model) == {"Conv:c": ("Conv:c", "Add:d")}
        return
    with pytest.raises(DataError, match=message):
        layers_in(path, model)
