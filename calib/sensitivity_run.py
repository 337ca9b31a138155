"""Measure the layers: one INT8 file after another, each judged on the same labelled pictures."""

import hashlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx

from edge_seg.calib.placement import name_nodes
from edge_seg.calib.quantize import method_for, open_fp32, ranges_of, to_int8
from edge_seg.calib.ranges import Ranges, hash_of
from edge_seg.calib.rung import Rung
from edge_seg.calib.sensitivity import LayerEffect, Sensitivity, less, worst_first
from edge_seg.calib.sensitivity_kept import Evaluations, Setup
from edge_seg.calib.sensitivity_layers import Layer, layers_of
from edge_seg.calib.sensitivity_pictures import Judged
from edge_seg.calib.thresholds import Range
from edge_seg.errors import DataError, ModelError
from edge_seg.evaluate import evaluate
from edge_seg.export.divergence import compare_layers
from edge_seg.export.target import Target, targets_of
from edge_seg.resize import resize_image
from edge_seg.runners.base import RUNTIMES, choose_runtime
from edge_seg.runners.contract import check_contract
from edge_seg.runners.cpu import lacks_vnni
from edge_seg.segmenter import open_segmenter

FP32, INT8 = "FP32", "INT8"
ONLY, WITHOUT = "only ", "all but "
"""How evaluations are named: the two whole files, and for each layer that one in INT8, and all others."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A model whose nodes have names, its ranges, what they are written for, the judged pictures, and what is known."""

    model: onnx.ModelProto
    ranges: dict[str, Range]
    target: Target
    runtime: str
    layers: list[Layer]
    judged: Judged
    kept: Evaluations
    budget: int

    def names(self) -> list[str]:
        """What is to be evaluated, in this order: FP32, all in INT8, then two files a layer, lowest SQNR first.

        Of INT8 files at most `budget`. The order of the layers is the final one once SQNR is known.
        """
        known = {name: sqnr_db for name, sqnr_db in self.kept.sqnr_db.items() if sqnr_db is not None}
        order = sorted(self.layers, key=lambda layer: known.get(layer.name, float("inf")))
        pairs = [f"{mode}{layer.name}" for layer in order for mode in (ONLY, WITHOUT)]
        return [FP32, INT8, *pairs][: self.budget + 1]

    def pictures_left(self) -> int:
        """How many pictures are to be segmented: for each evaluation that is not kept, all of them."""
        return len(self.judged) * sum(name not in self.kept.class_iou for name in self.names())


def plan_sensitivity(
    model_path: Path,
    ranges: Ranges,
    judged: Judged,
    folder: Path,
    *,
    target: Target,
    runtime: str,
    method: str = "min-max",
    budget: int = 100,
) -> Plan:
    """Check what is given, and take up what `folder` has from an earlier run; nothing is evaluated or written yet.

    Files are judged on `runtime`. ModelError for a model that is quantized already or has no layer that `target`
    quantizes; DataError for ranges of another model, and where `folder` holds evaluations of another setup;
    MissingExtraError where the run-time is not installed.
    """
    choose_runtime(model_path, runtime)
    model = open_fp32(model_path)
    if ranges.model != hash_of(model):
        raise DataError(f"The ranges were observed on another model than {model_path}. Observe: edge-seg calib observe")
    chosen = ranges_of(ranges, Rung(target.name, method))
    setup = Setup(
        model=ranges.model,
        ranges=hashlib.sha256(ranges.to_json().encode()).hexdigest(),
        data=judged.sha256,
        images=len(judged),
        target=target.name,
        method=method_for(target, method),
        runtime=_with_version(runtime),
    )
    name_nodes(model)
    layers = layers_of(model, target, chosen)
    if not layers:
        raise ModelError(f"{model_path} has no layer that {target.name} quantizes. Choose another --target.")
    return Plan(model, chosen, target, runtime, layers, judged, Evaluations(folder, setup), budget)


def runtime_for(target: Target) -> str:
    """The run-time that judges files for `target`: its own; one that computes ONNX here where that takes engines.

    >>> from edge_seg.export.target import find_target
    >>> runtime_for(find_target("onnxruntime-arm"))
    'onnxruntime'
    """
    own = RUNTIMES.get(target.runtime)
    if own is not None and own.suffix == ".onnx":
        return target.runtime
    return "openvino" if importlib.util.find_spec("openvino") and not lacks_vnni() else "onnxruntime"


def runtime_of(name: str) -> str:
    """The run-time that judges files for a target's name as `edge-seg quantize` takes it.

    >>> runtime_of("openvino"), runtime_of("onnxruntime-x86")
    ('openvino', 'onnxruntime')
    """
    targets, runtime = targets_of(name)
    return runtime_for(targets[0]) if runtime == "tensorrt" else runtime


def _with_version(runtime: str) -> str:
    return f"{runtime} {version(RUNTIMES[runtime].package)}"


def measure(plan: Plan, *, on_image: Callable[[], None] = lambda: None) -> Sensitivity:
    """Evaluate what the plan has left, each file kept as it is finished, and give the table of all that is known.

    `on_image` is called after each picture. One file is open at a time, but for the two whose layers are compared once
    for SQNR.
    """
    new = sum(name not in plan.kept.class_iou for name in plan.names() if name != FP32)
    with TemporaryDirectory() as folder:
        for name in plan.names()[:2]:
            _evaluate(plan, name, Path(folder), on_image)
        if not plan.kept.sqnr_db:
            _compare(plan, Path(folder))
        for name in plan.names()[2:]:
            _evaluate(plan, name, Path(folder), on_image)
    return _table(plan, new)


def _evaluate(plan: Plan, name: str, folder: Path, on_image: Callable[[], None]) -> None:
    """Judge one file, unless that is done already."""
    if name in plan.kept.class_iou:
        return
    path = folder / "model.onnx"
    path.write_bytes(_graph(plan, name).SerializeToString())
    with open_segmenter(path, plan.runtime) as segment:
        scores = evaluate(segment, plan.judged, outlines=False, on_image=lambda frame, labels: on_image())
    occurs = {kind for kind, recall in scores.class_recall.items() if recall is not None}
    plan.kept.add(name, {kind: iou if kind in occurs else None for kind, iou in scores.class_iou.items()})


def _graph(plan: Plan, name: str) -> onnx.ModelProto:
    """The graph of an evaluation by its name."""
    if name == FP32:
        return plan.model
    nodes = {f"{mode}{layer.name}": layer.nodes for layer in plan.layers for mode in (ONLY, WITHOUT)}
    floats = frozenset(nodes.get(name, ()))
    if name.startswith(ONLY):
        floats = frozenset(node.name for node in plan.model.graph.node) - floats
    return to_int8(plan.model, plan.ranges, plan.target, floats=floats)


def _compare(plan: Plan, folder: Path) -> None:
    """SQNR of the layers in the file of all layers in INT8, on the judged pictures."""
    paths = {name: folder / f"{name}.onnx" for name in (FP32, INT8)}
    for name, path in paths.items():
        path.write_bytes(_graph(plan, name).SerializeToString())
    spec = check_contract(plan.model, "the model")
    pictures = (resize_image(frame.image, spec.width, spec.height)[None] for frame in plan.judged)
    found = compare_layers(paths[FP32], paths[INT8], pictures)
    plan.kept.add_sqnr({layer.name: layer.sqnr_db for layer in found})


def _table(plan: Plan, new: int) -> Sensitivity:
    kept, spec = plan.kept, check_contract(plan.model, "the model")
    fp32, int8 = kept.class_iou[FP32], kept.class_iou[INT8]

    def effect(layer: Layer) -> LayerEffect:
        only, without = (kept.class_iou.get(f"{mode}{layer.name}") for mode in (ONLY, WITHOUT))
        drop = None if only is None else less(fp32, only)
        gain = None if without is None else less(without, int8)
        return LayerEffect(layer.name, layer.nodes, kept.sqnr_db.get(layer.name), drop, gain)

    layers = worst_first(map(effect, plan.layers))
    judged = 1 + sum((layer.class_drop is not None) + (layer.class_gain is not None) for layer in layers)
    return Sensitivity(spec.name, plan.judged.name, kept.setup, fp32, int8, layers, judged, new)
