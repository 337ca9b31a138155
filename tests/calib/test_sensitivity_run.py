"""The layers of a net measured: what is evaluated, in which order, and what an earlier run had already."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_seg.calib.placement import name_nodes
from edge_seg.calib.quantize import to_int8
from edge_seg.calib.ranges import Ranges, observe
from edge_seg.calib.sensitivity import Sensitivity, mean_iou
from edge_seg.calib.sensitivity_kept import Evaluations
from edge_seg.calib.sensitivity_layers import layers_of
from edge_seg.calib.sensitivity_pictures import Judged, judged_part
from edge_seg.calib.sensitivity_run import Plan, measure, plan_sensitivity, runtime_for
from edge_seg.data.drive import Drive
from edge_seg.errors import DataError, ModelError
from edge_seg.evaluate import evaluate
from edge_seg.export.target import TARGETS, Target, find_target
from edge_seg.runners.contract import read_onnx_spec
from edge_seg.segmenter import open_segmenter
from edge_seg.types import Frame

X86 = find_target("onnxruntime-x86")
DRIVE = Drive(3, 96, 72, 12)


@pytest.fixture(scope="module")
def ranges(tiny_model: Path) -> Ranges:
    return observe(onnx.load(tiny_model), (frame.image[None] for frame in Drive(1, 96, 72, 8)))


@pytest.fixture(scope="module")
def judged(tiny_model: Path) -> Judged:
    return judged_part(DRIVE, 2, read_onnx_spec(tiny_model))


@pytest.fixture(scope="module")
def plan(tiny_model: Path, ranges: Ranges, judged: Judged, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("measured") / "new"
    return plan_sensitivity(tiny_model, ranges, judged, folder, target=X86, runtime="onnxruntime", budget=5)


@pytest.fixture(scope="module")
def found(plan: Plan) -> Sensitivity:
    """Of five files: all in INT8, two for each of the two layers of lowest SQNR."""
    return measure(plan)


@pytest.mark.parametrize("target", list(TARGETS.values()), ids=list(TARGETS))
def test_the_layers_together_are_all_that_is_quantized(tiny_model: Path, ranges: Ranges, target: Target) -> None:
    model, known = onnx.load(tiny_model), ranges.chosen("min-max")
    name_nodes(model)
    layers = layers_of(model, target, known)
    nodes = [node for layer in layers for node in layer.nodes]

    assert len(nodes) == len(set(nodes))
    left = to_int8(model, known, target, floats=frozenset(nodes))
    quantizers = [node.op_type for node in left.graph.node if node.op_type == "QuantizeLinear"]
    # Nothing, but for pools and the like ahead of the first weights, of which this net has none.
    assert quantizers == []


def test_numbers_are_differences_of_evaluations(
    tiny_model: Path, ranges: Ranges, judged: Judged, plan: Plan, found: Sensitivity, tmp_path: Path
) -> None:
    """One layer by hand: its files written and judged as `edge-seg eval` would."""
    model = onnx.load(tiny_model)
    name_nodes(model)
    everything = frozenset(node.name for node in model.graph.node)
    layer = next(layer for layer in found.layers if layer.drop is not None)
    nodes = frozenset(layer.nodes)

    def judge(floats: frozenset[str]) -> dict[str, float]:
        path = tmp_path / "judged.onnx"
        path.write_bytes(to_int8(model, ranges.chosen("min-max"), X86, floats=floats).SerializeToString())
        with open_segmenter(path, "onnxruntime") as segment:
            scores = evaluate(segment, judged)
        return {
            name: iou
            for name, iou in scores.class_iou.items()
            if iou is not None and scores.class_recall[name] is not None
        }

    with open_segmenter(tiny_model, "onnxruntime") as segment:
        fp32 = evaluate(segment, judged)
    only, without, int8 = judge(everything - nodes), judge(everything & nodes), judge(frozenset())
    kinds = int8.keys()
    assert layer.class_drop is not None and layer.class_gain is not None
    assert {k: v for k, v in found.int8.items() if v is not None} == int8
    assert found.fp32 == {k: v if k in kinds else None for k, v in fp32.class_iou.items()}
    assert layer.class_drop == {k: fp32.class_iou[k] - only[k] if k in kinds else None for k in found.fp32}  # type: ignore[operator]
    assert layer.class_gain == {k: without[k] - int8[k] if k in kinds else None for k in found.fp32}
    assert layer.drop == pytest.approx(mean_iou(found.fp32) - sum(only.values()) / len(only), abs=1e-12)
    assert layer.gain == pytest.approx(sum(without.values()) / len(without) - mean_iou(found.int8), abs=1e-12)


def test_the_budget_goes_to_the_lowest_sqnr(plan: Plan, found: Sensitivity) -> None:
    pytest.importorskip("torch")  # without it the model has two layers
    by_sqnr = sorted(found.layers, key=lambda layer: layer.sqnr_db or 1e9)
    measured = [layer.name for layer in by_sqnr if layer.drop is not None and layer.gain is not None]

    assert measured == [layer.name for layer in by_sqnr[:2]]
    assert (found.evaluations, found.new) == (5, 5)
    assert all(layer.drop is None and layer.gain is None and layer.worst is None for layer in by_sqnr[2:])
    assert {layer.name for layer in found.layers} == {layer.name for layer in plan.layers}
    known = [layer.sqnr_db for layer in found.layers if layer.sqnr_db is not None]
    assert len(known) > 15  # an untrained net's residual branches give zeros, which are exact
    assert all(5 < sqnr_db < 80 for sqnr_db in known)
    drops = [layer.drop for layer in found.layers[:2]]
    assert drops == sorted(drops, key=lambda drop: -(drop or 0))


def test_what_is_kept_is_not_run_again(
    tiny_model: Path, ranges: Ranges, judged: Judged, plan: Plan, found: Sensitivity
) -> None:
    pytest.importorskip("torch")  # for more than two layers
    folder, calls = plan.kept.folder, []
    again = plan_sensitivity(tiny_model, ranges, judged, folder, target=X86, runtime="onnxruntime", budget=5)
    assert again.pictures_left() == 0
    assert measure(again) == dataclasses.replace(found, new=0)

    more = plan_sensitivity(tiny_model, ranges, judged, folder, target=X86, runtime="onnxruntime", budget=6)
    assert more.pictures_left() == len(judged)
    extended = measure(more, on_image=lambda: calls.append(1))

    assert len(calls) == len(judged)
    assert (extended.evaluations, extended.new) == (6, 1)
    assert {layer.name for layer in extended.layers if layer.gain is not None} < {
        layer.name for layer in extended.layers if layer.drop is not None
    }
    # A smaller budget runs nothing, and hides nothing.
    less = plan_sensitivity(tiny_model, ranges, judged, folder, target=X86, runtime="onnxruntime", budget=1)
    assert measure(less) == dataclasses.replace(extended, new=0)


def test_an_interrupted_run_goes_on(tiny_model: Path, ranges: Ranges, judged: Judged, tmp_path: Path) -> None:
    def stop_at(count: int) -> None:
        calls: list[int] = []

        def look() -> None:
            calls.append(1)
            if len(calls) > count:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            measure(
                plan_sensitivity(tiny_model, ranges, judged, tmp_path, target=X86, runtime="onnxruntime", budget=3),
                on_image=look,
            )

    stop_at(len(judged))  # in the second file
    assert json.loads((tmp_path / "evaluations.json").read_text())["class_iou"].keys() == {"FP32"}
    stop_at(len(judged))  # the second is finished, in the third

    plan = plan_sensitivity(tiny_model, ranges, judged, tmp_path, target=X86, runtime="onnxruntime", budget=3)
    assert plan.pictures_left() == 2 * len(judged)
    assert (measure(plan).evaluations, plan.pictures_left()) == (3, 0)


def test_evaluations_of_another_setup_are_told(
    tiny_model: Path, ranges: Ranges, judged: Judged, plan: Plan, found: Sensitivity
) -> None:
    folder = plan.kept.folder
    before = (folder / "evaluations.json").read_bytes()
    other = judged_part(DRIVE, 3, read_onnx_spec(tiny_model))

    with pytest.raises(DataError, match=r"data \w{12}, now \w{12}; images 2, now 3\. Give the same options"):
        plan_sensitivity(tiny_model, ranges, other, folder, target=X86, runtime="onnxruntime")
    with pytest.raises(DataError, match=r"another setup: method min-max, now mse\."):
        plan_sensitivity(tiny_model, ranges, judged, folder, target=X86, runtime="onnxruntime", method="mse")
    with pytest.raises(DataError, match=r"target onnxruntime-x86, now onnxruntime-arm"):
        plan_sensitivity(tiny_model, ranges, judged, folder, target=TARGETS["onnxruntime-arm"], runtime="onnxruntime")
    with pytest.raises(DataError, match=r"another setup: ranges \w{12}, now \w{12}\."):
        plan_sensitivity(
            tiny_model, dataclasses.replace(ranges, images=9), judged, folder, target=X86, runtime="onnxruntime"
        )
    assert (folder / "evaluations.json").read_bytes() == before


def test_a_folder_of_another_runtime_is_told_to_begin_anew(
    tiny_model: Path, ranges: Ranges, judged: Judged, tmp_path: Path
) -> None:
    plan = plan_sensitivity(tiny_model, ranges, judged, tmp_path, target=X86, runtime="onnxruntime")
    Evaluations(tmp_path, dataclasses.replace(plan.kept.setup, runtime="onnxruntime 0.1")).add("FP32", {"Road": 0.5})

    told = r"setup: runtime onnxruntime 0\.1, now onnxruntime [\d.]+\. Give another --out, where measuring begins anew"
    with pytest.raises(DataError, match=told):
        plan_sensitivity(tiny_model, ranges, judged, tmp_path, target=X86, runtime="onnxruntime")


def test_tensorrt_files_are_judged_on_a_runtime_that_takes_them(
    tiny_model: Path, ranges: Ranges, judged: Judged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")  # without it no layer is wide enough for TensorRT
    target = TARGETS["tensorrt"]
    plan = plan_sensitivity(
        tiny_model, ranges, judged, tmp_path, target=target, runtime=runtime_for(target), method="mse", budget=2
    )
    found = measure(plan)

    assert found.setup.method == "mse-symmetric"
    assert found.setup.runtime.startswith(("openvino ", "onnxruntime "))
    assert found.evaluations == 2
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert runtime_for(target) == "onnxruntime"


def test_a_model_without_layers_is_refused(tiny_model: Path, ranges: Ranges, judged: Judged, tmp_path: Path) -> None:
    empty = dataclasses.replace(ranges, tensors={})

    with pytest.raises(ModelError, match="has no layer that onnxruntime-x86 quantizes"):
        plan_sensitivity(tiny_model, empty, judged, tmp_path, target=X86, runtime="onnxruntime")
    with pytest.raises(DataError, match="observed on another model"):
        plan_sensitivity(
            tiny_model, dataclasses.replace(ranges, model="0" * 64), judged, tmp_path, target=X86, runtime="onnxruntime"
        )
    assert list(tmp_path.iterdir()) == []


class AllSky:
    """A set whose truths are all of the first class."""

    name, classes, class_names, licence = "sky", DRIVE.classes, DRIVE.class_names, ""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Frame:
        return Frame(DRIVE[index].image, index, 0.0, np.zeros((72, 96), np.uint8), "sky")

    def __iter__(self) -> Iterator[Frame]:
        return (self[index] for index in range(len(self)))


def test_a_class_that_the_truth_never_has_counts_nowhere(tiny_model: Path, ranges: Ranges, tmp_path: Path) -> None:
    judged = judged_part(AllSky(), 1, read_onnx_spec(tiny_model))
    found = measure(plan_sensitivity(tiny_model, ranges, judged, tmp_path, target=X86, runtime="onnxruntime", budget=2))

    first, *others = DRIVE.class_names
    layer = next(layer for layer in found.layers if layer.class_drop is not None)
    assert layer.class_drop is not None
    assert found.fp32[first] is not None and layer.drop == layer.class_drop[first]
    assert all(found.fp32[name] is None and layer.class_drop[name] is None for name in others)
