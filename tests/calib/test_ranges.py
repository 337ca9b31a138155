"""Ranges: counted as a second pass would, chosen as the formulas say, and read back as written."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from edge_seg.calib.histogram import SIDE_BINS, Histogram
from edge_seg.calib.manifest import hash_hashes, hash_image
from edge_seg.calib.ranges import (
    MOVING,
    NAMES,
    Ranges,
    float_tensors,
    hash_of,
    observe,
    parse_ranges,
    read_ranges,
    write_ranges,
)
from edge_seg.calib.thresholds import percentile
from edge_seg.data.drive import Drive
from edge_seg.errors import DataError, ModelError
from edge_seg.runners.contract import add_score
from edge_seg.types import UInt8Array

RNG = np.random.default_rng(1)


def pictures(count: int = 4) -> Iterator[UInt8Array]:
    return (frame.image[None] for frame in Drive(5, 96, 72, count))


def counted(*parts: np.ndarray) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram.update(part.astype(np.float32), "x")
    return histogram


@given(
    st.lists(
        st.lists(st.floats(-1e6, 1e6, width=32, allow_subnormal=False), min_size=1, max_size=30).map(
            lambda v: np.array(v, np.float32)
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=200, deadline=None)
def test_counts_are_those_of_a_second_pass_with_the_final_width(parts: list[np.ndarray]) -> None:
    histogram = counted(*parts)

    everything = np.concatenate(parts).astype(np.float64)
    expected, _ = np.histogram(everything, histogram.edges)
    assert histogram.counts.tolist() == expected.tolist()
    assert (histogram.least, histogram.most) == (everything.min(), everything.max())
    assert histogram.counts.sum() == everything.size


def test_bins_are_no_wider_than_they_need_to_be() -> None:
    histogram = counted(np.array([0.0]), np.array([0.001, -3.0]))

    assert 3.0 < SIDE_BINS * histogram.width <= 6.0


def test_values_that_are_no_numbers_are_refused_by_name() -> None:
    for value in (np.nan, np.inf):
        with pytest.raises(ModelError, match=r"relu3 holds values that are no numbers"):
            Histogram().update(np.array([0.0, value], np.float32), "relu3")


def test_percentile_is_that_of_the_values() -> None:
    values = RNG.normal(size=200_000)
    histogram = counted(*np.split(values, 4))

    least, most = percentile(histogram)

    expected = np.percentile(values, [0.005, 99.995])
    assert least == pytest.approx(expected[0], abs=histogram.width)
    assert most == pytest.approx(expected[1], abs=histogram.width)


def test_all_tensors_are_observed(tiny_model: Path) -> None:
    model = onnx.load(tiny_model)
    seen = []

    ranges = observe(model, pictures(), pictures="of a drive", on_image=lambda: seen.append(1))

    assert (len(seen), ranges.images, ranges.pictures) == (4, 4, "of a drive")
    assert ranges.tensors.keys() == set(float_tensors(model))
    assert {node.output[0] for node in model.graph.node if node.op_type == "Conv"} <= ranges.tensors.keys()
    for found in ranges.tensors.values():
        assert set(found) == set(NAMES)
        least, most = found["min-max"]
        assert all(least <= low and high <= most for low, high in (found["percentile"], found["mse"], found[MOVING]))


def test_min_max_and_moving_average_are_those_of_what_the_graph_computes(tiny_model: Path) -> None:
    import onnxruntime

    model = onnx.load(tiny_model)
    name = next(node.output[0] for node in model.graph.node if node.op_type == "Relu")
    ranges = observe(model, pictures())

    model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    tops = [float(session.run([name], {"image": image})[0].max()) for image in pictures()]
    moved = tops[0]
    for top in tops[1:]:
        moved = 0.9 * moved + 0.1 * top
    assert len(set(tops)) > 1
    assert ranges.tensors[name]["min-max"] == (0.0, pytest.approx(max(tops), rel=1e-6))
    assert ranges.tensors[name][MOVING] == (0.0, pytest.approx(moved, rel=1e-6))


def test_ranges_are_read_back_as_written(tiny_model: Path, tmp_path: Path) -> None:
    model = onnx.load(tiny_model)
    ranges = observe(model, pictures(2))

    write_ranges(tmp_path / "ranges.json", ranges)

    assert read_ranges(tmp_path / "ranges.json", model) == ranges
    assert parse_ranges(ranges.to_json(), "text") == ranges


def test_the_pictures_are_known_by_their_hash(tiny_model: Path) -> None:
    model = onnx.load(tiny_model)
    shown = [frame.image for frame in Drive(1, 96, 72, 2)]
    other = shown[1].copy()
    other[0, 0, 0] ^= 1

    first, again, changed = (
        observe(model, iter([image[None] for image in found]), pictures="drive:seed=1").pictures_sha256
        for found in (shown, shown, [shown[0], other])
    )

    assert first == again == hash_hashes([hash_image(image) for image in shown])
    assert changed != first


def test_ranges_of_before_the_hash_are_read_and_written_as_they_are() -> None:
    text = Ranges("abc", "CamVid train", 8, {"x": {"min-max": (-1.0, 2.0)}}).to_json()

    assert "sha256" not in text
    assert parse_ranges(text, "r.json").to_json() == text


def test_a_score_leaves_the_models_hash_alone_and_a_weight_does_not(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "scored.onnx"
    path.write_bytes(tiny_model.read_bytes())
    add_score(path, "CamVid test mIoU", 0.5)
    model = onnx.load(path)
    ranges = dataclasses.replace(observe(model, pictures(1)), model=hash_of(onnx.load(tiny_model)))
    write_ranges(tmp_path / "ranges.json", ranges)

    assert read_ranges(tmp_path / "ranges.json", model) == ranges
    model.graph.initializer[0].name += "x"
    with pytest.raises(DataError, match=r"another model.*calib observe"):
        read_ranges(tmp_path / "ranges.json", model)


def test_constant_activations_are_told(tiny_model: Path) -> None:
    model = onnx.load(tiny_model)
    black = np.zeros((1, 72, 96, 3), np.uint8)
    first = next(node for node in model.graph.node if node.op_type == "Cast").output[0]

    with pytest.raises(ModelError, match=rf"{first} is 0 on every calibration image"):
        observe(model, iter([black]))


def test_logits_of_biases_alone_are_told(tiny_model: Path) -> None:
    model = onnx.load(tiny_model)
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4:
            zeros = np.zeros(tensor.dims, np.float32)
            tensor.CopyFrom(numpy_helper.from_array(zeros, tensor.name))

    with pytest.raises(
        ModelError, match=r"is the same at every pixel of every calibration image\. Is the model trained"
    ):
        observe(model, (frame.image[None] for frame in Drive(5, 96, 72, 2)))


def test_no_images_are_told(tiny_model: Path) -> None:
    with pytest.raises(DataError, match="no calibration images"):
        observe(onnx.load(tiny_model), iter([]))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"version": 1}', '{"version": 2, "model": "", "pictures": "", "images": 1, "tensors": {}}']
    + [
        f'{{"version": 1, "model": "", "pictures": "", "images": 1, "tensors": {{"x": {{"min-max": {bad}}}}}}}'
        for bad in ("[1]", "[2, 1]", '["a", "b"]', "[0, Infinity]", "3")
    ],
)
def test_damaged_ranges_are_told(text: str) -> None:
    with pytest.raises(DataError, match=r"mine\.json .*calib observe"):
        parse_ranges(text, "mine.json")


def test_each_tensor_can_have_a_method_of_its_own() -> None:
    tensors = {name: {"mse": (0.0, end), "entropy": (0.0, end + 1)} for name, end in (("a", 1.0), ("b", 3.0))}

    assert Ranges("", "", 1, tensors).chosen("mse", {"b": "entropy"}) == {"a": (0.0, 1.0), "b": (0.0, 4.0)}
