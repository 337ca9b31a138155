"""Gates and the split: which classes count, who judges, and what a damaged or foreign name is told."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from edge_seg.calib.builder import Builder
from edge_seg.calib.gates import Gates, accuracy_reasons, compare_scores, excess
from edge_seg.calib.manifest import Manifest, Picture, hash_image
from edge_seg.calib.order import order_by_agreement
from edge_seg.calib.quantize import open_fp32, to_int8, write_int8
from edge_seg.calib.ranges import Ranges, hash_of, observe, parse_ranges
from edge_seg.calib.rung import Rung, parse_rung
from edge_seg.calib.split import apart, part, split, split_off
from edge_seg.data import open_dataset
from edge_seg.data.drive import Drive
from edge_seg.errors import DataError
from edge_seg.evaluate import Scores
from edge_seg.export.lint import find_goal, lint
from edge_seg.export.target import TARGETS, find_target, targets_of
from edge_seg.runners import open_runner


def scores(**class_iou: float | None) -> Scores:
    """Scores of one picture whose truth has Road and Pole alone."""
    recall = {name: 0.5 if name in ("Road", "Pole") else None for name in class_iou}
    return Scores("m", "r", "FP32", 1, None, class_iou, recall, None, None, None, None)


def test_stray_labels_add_no_class_and_hide_no_loss() -> None:
    exact, found = scores(Road=0.9, Pole=0.5, Car=0.0, Sky=None), scores(Road=0.89, Pole=0.5, Car=None, Sky=0.0)

    miou, drop, drops = compare_scores(exact, found)

    assert drops == pytest.approx({"Road": 0.01, "Pole": 0.0})
    assert (miou, drop) == pytest.approx((0.695, 0.005))


def test_pictures_without_truth_judge_nothing() -> None:
    with pytest.raises(DataError, match="No pixel of these pictures has a class"):
        compare_scores(scores(Car=0.0), scores(Car=0.0))


@pytest.mark.parametrize(("loss", "passes"), [(0.0, True), (-0.1, True), (1e-9, False)])
def test_a_gate_of_nothing_lets_no_loss_pass(loss: float, passes: bool) -> None:
    gates = Gates(max_drop=0.0)

    assert (not accuracy_reasons(loss, {"Road": loss}, gates)) == passes
    assert excess(loss, {"Road": loss}, gates) == (0.0 if passes else math.inf)


@pytest.mark.parametrize(
    ("groups", "judged", "shared"),
    [
        ({"a": 30, "b": 10, "c": 10}, 30, set()),
        (dict.fromkeys("abcdefghij", 10), 40, set()),
        ({"a": 50, "b": 2}, 23, {"a"}),  # b alone would be too few: the set is halved
    ],
)
def test_whole_sequences_judge_a_third_at_least(groups: dict[str, int], judged: int, shared: set[str]) -> None:
    names = [f"{group}_{number}" for group, count in groups.items() for number in range(count)]

    calibration, gate, halved = part(names)

    assert len(gate) == judged and not set(calibration) & set(gate)
    assert {names[place][0] for place in calibration} & {names[place][0] for place in gate} == shared
    assert halved == bool(shared)


def test_cityscapes_is_parted_by_its_cities() -> None:
    """Its official names have a sequence number, which most pictures have for themselves."""
    cities = {"aachen": 12, "bad-honnef": 9, "ulm": 30}
    names = [f"{city}_{n:06d}_000019_leftImg8bit" for city, count in cities.items() for n in range(count)]

    calibration, gate, halved = part(names)

    assert not halved
    assert {names[place].partition("_")[0] for place in gate} == {"ulm"}
    assert {names[place].partition("_")[0] for place in calibration} == {"aachen", "bad-honnef"}


def test_names_that_tell_no_sequences_are_told() -> None:
    assert part([f"{n:06d}" for n in range(40)])[2]


def test_a_drive_is_halved_with_a_gap() -> None:
    calibration, gate, halved = split(Drive(1, 96, 72, 100), 20, 20)

    assert halved
    assert max(gate.indices) + 11 <= min(calibration.indices)
    assert [frame.index for frame in gate] == list(gate.indices)


def picture(index: int, name: str, sha256: str = "0" * 64) -> Picture:
    return Picture(0, index, name, 8, 6, sha256, 0, 0.5, 0.5, 0.5)


def test_no_sequence_of_a_calibration_set_judges_it(tmp_path: Path, write_camvid: Callable[..., None]) -> None:
    names = [f"{sequence}_{n:02d}" for sequence in ("day", "dusk", "rain") for n in range(9)]
    write_camvid(tmp_path, "train", names=names)
    data = open_dataset(f"camvid:{tmp_path}/train")
    by_name, by_pixels = picture(3, "day_77.png"), picture(900, "000001", hash_image(data[12].image))

    gate, named = split_off(data, Manifest(("elsewhere",), (by_name, by_pixels), 1), 100)

    assert named
    assert [frame.name for frame in gate] == names[18:]
    with pytest.raises(DataError, match="CamVid train has 0 pictures of other sequences than those of the calib"):
        split_off(data, Manifest(("elsewhere",), (by_name, by_pixels, picture(901, "rain_00")), 1), 100)


def test_pictures_without_sequences_judge_where_none_was_picked(
    tmp_path: Path, write_camvid: Callable[..., None]
) -> None:
    write_camvid(tmp_path, "train", names=[f"{n:06d}" for n in range(10)])
    data = open_dataset(f"camvid:{tmp_path}/train")

    gate, named = split_off(data, Manifest(("film",), (picture(3, "000003"),), 1), 100)

    assert (len(gate), named) == (10, False)
    with pytest.raises(DataError, match="has 0 pictures of other sequences"):
        split_off(data, Manifest(("film",), (picture(3, "000003", hash_image(data[3].image)),), 1), 100)


@pytest.mark.parametrize(
    ("names", "others"),
    [
        ([f"frame_{n:04d}" for n in range(4)], [f"frame_{n:04d}" for n in range(4)]),
        ([f"{n:06d}" for n in range(4)], ["a_1", "a_2", "b_1", "b_2"]),
    ],
    ids=["a film's numbers in both", "sequences in the manifest alone"],
)
def test_where_a_sets_own_names_tell_nothing_its_pixels_decide(names: list[str], others: list[str]) -> None:
    assert apart(names, [False] * 4, others) == ([0, 1, 2, 3], False)
    assert apart(names, [False, True, False, False], others) == ([], False)


@pytest.fixture(scope="module")
def ranges(tiny_model: Path) -> Ranges:
    return observe(open_fp32(tiny_model), (frame.image[None] for frame in Drive(5, 96, 72, 8)))


@pytest.mark.parametrize(
    "rung", [Rung(floats=("/net/nowhere",)), Rung(methods={"/net/nowhere": "mse"})], ids=["floats", "methods"]
)
def test_names_of_nowhere_are_told(rung: Rung, tiny_model: Path, ranges: Ranges, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'/net/nowhere'"):
        write_int8(tiny_model, tmp_path / "out.onnx", ranges, rung)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [["tensorrt"], "tpu", 3])
def test_a_target_of_another_type_is_told(value: object) -> None:
    with pytest.raises(DataError, match="expected tensorrt, onnxruntime-x86"):
        parse_rung({"target": value}, "r.toml")


@pytest.mark.parametrize(
    "change",
    [
        {"tensors": {}},
        {"model": None},
        {"images": "x"},
        {"tensors": {"x": {"min-max": [3, 5]}}},
        {"tensors": {"x": {"min-max": [-1e39, 1]}}},
    ],
)
def test_damaged_ranges_are_told(change: dict[str, object]) -> None:
    text = Ranges("abc", "def", 8, {"x": {"min-max": (-1.0, 2.0)}}).to_json()
    with pytest.raises(DataError, match=r"r\.json holds no ranges"):
        parse_ranges(json.dumps(json.loads(text) | change), "r.json")


@pytest.mark.parametrize(("target", "opset"), [("onnxruntime-x86", 18), ("tensorrt", 18), ("tensorrt", 20)])
def test_a_graph_of_a_newer_opset_gets_a_file_that_runs(
    target: str, opset: int, tiny_model: Path, ranges: Ranges, tmp_path: Path
) -> None:
    model = onnx.load(tiny_model)
    model.opset_import[0].version = opset
    images = Drive(2, 96, 72, 1)[0].image[None]

    path = tmp_path / "int8.onnx"
    onnx.save(to_int8(model, ranges.chosen("min-max"), find_target(target)), path)

    with open_runner(path, "onnxruntime") as newer, open_runner(tiny_model, "onnxruntime") as exact:
        assert (newer.infer(images) == exact.infer(images)).mean() > 0.9


def test_nodes_without_names_are_put_in_order_too(tiny_model: Path) -> None:
    model = open_fp32(tiny_model)
    for node in model.graph.node:
        node.name = ""
    images = [frame.image for frame in Drive(5, 96, 72, 8)]
    builder = Builder(model, [image[None] for image in images], "drive")

    order = order_by_agreement(builder, Rung(), images[:1])

    assert len(order) > 1
    builder.build(dataclasses.replace(Rung(), floats=order[0]))


def test_openvino_has_one_dialect_without_vnni_and_two_with_it(cpu_flags: Callable[[str], None]) -> None:
    cpu_flags("fpu sse4_2 avx avx2")
    assert [target.name for target in targets_of("openvino")[0]] == ["x86-novnni"]
    cpu_flags("fpu sse4_2 avx avx2 avx_vnni")
    assert [target.name for target in targets_of("openvino")[0]] == ["onnxruntime-x86", "tensorrt"]


def test_the_hash_is_that_of_the_graph(tiny_model: Path, ranges: Ranges) -> None:
    assert ranges.model == hash_of(open_fp32(tiny_model))


@pytest.mark.parametrize("name", TARGETS)
def test_lint_refuses_nothing_that_is_written_for_its_target(name: str, tiny_model: Path, ranges: Ranges) -> None:
    written = to_int8(open_fp32(tiny_model), ranges.chosen("min-max"), find_target(name))

    findings = lint(written, find_goal(name, tensorrt="10.3" if name == "tensorrt" else None))

    assert not [finding for finding in findings if finding.severity == "refused"]
    assert "uint8-activations" not in {finding.rule for finding in findings}


@pytest.mark.parametrize("name", ["onnxruntime-x86", "tensorrt"])
def test_lint_finds_nothing_in_either_file_that_openvino_may_get(
    name: str, tiny_model: Path, ranges: Ranges, cpu_flags: Callable[[str], None]
) -> None:
    cpu_flags("fpu sse4_2 avx avx2 avx_vnni")
    written = to_int8(open_fp32(tiny_model), ranges.chosen("min-max"), find_target(name))

    assert lint(written, find_goal("openvino")) == []
