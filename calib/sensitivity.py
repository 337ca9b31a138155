"""What each layer costs in INT8: the table of a sensitivity analysis, and the TOML file that is made of it.

A layer's `drop` is what the mIoU loses when this layer alone is quantized: FP32's less that file's. Its `gain` is what
the mIoU wins back when this layer alone stays in float: that file's less the mIoU of all layers in INT8. Both are
positive where the layer hurts, and come by class too. mIoU is the mean over the classes that the truth of the judged
pictures has, so that a class never enters or leaves it by a stray label.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from edge_seg.calib.placement import name_nodes
from edge_seg.calib.ranges import hash_of
from edge_seg.calib.rung import LAYERS, MODEL, Rung, read_rung
from edge_seg.calib.sensitivity_kept import ClassIou, Setup
from edge_seg.errors import DataError
from edge_seg.files import read_text

_LEGEND = (
    "# drop: mIoU lost when this layer alone is in INT8; gain: mIoU won back when it alone stays in float",
    "# sqnr_db: of its output with all layers in INT8; worst_class: the one that loses most with this layer alone",
)


@dataclass(frozen=True, slots=True)
class LayerEffect:
    """A layer, the nodes quantized with it, its SQNR in dB, and change of IoU by class; None where not measured.

    `sqnr_db` is that of the weighted operator's output, behind its Relu, in the file of all layers in INT8 against FP32
    (export.divergence), so with the noise of the layers before it; None where both are equal. A class that the truth
    never has is None in `class_drop` and `class_gain`.
    """

    name: str
    nodes: tuple[str, ...]
    sqnr_db: float | None
    class_drop: ClassIou | None = None
    class_gain: ClassIou | None = None

    @property
    def drop(self) -> float | None:
        """What the mIoU loses when this layer alone is quantized."""
        return None if self.class_drop is None else mean_iou(self.class_drop)

    @property
    def gain(self) -> float | None:
        """What the mIoU wins back when this layer alone stays in float."""
        return None if self.class_gain is None else mean_iou(self.class_gain)

    @property
    def worst(self) -> tuple[str, float] | None:
        """The class that loses most when this layer alone is quantized, and how much."""
        known = [(name, drop) for name, drop in (self.class_drop or {}).items() if drop is not None]
        return max(known, key=lambda pair: pair[1], default=None)

    def to_dict(self) -> dict[str, Any]:
        """The keys of a layer in `calib sensitivity --json`."""
        keys = ("name", "nodes", "sqnr_db", "drop", "gain", "class_drop", "class_gain")
        worst = dict(zip(("worst_class", "worst_class_drop"), self.worst or (None, None), strict=True))
        return {key: getattr(self, key) for key in keys} | {"nodes": list(self.nodes)} | worst


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The layers, worst first, of a model on a set of pictures; IoU by class of FP32 and of all layers in INT8.

    `evaluations` counts the INT8 files that were judged, `new` those of them that no earlier run had.
    """

    model: str
    data: str
    setup: Setup
    fp32: ClassIou
    int8: ClassIou
    layers: tuple[LayerEffect, ...]
    evaluations: int
    new: int

    def to_dict(self) -> dict[str, Any]:
        """The keys of `calib sensitivity --json`."""
        setup = self.setup
        files = {"fp32": self.fp32, "int8": self.int8}
        return {
            "model": self.model,
            "target": setup.target,
            "method": setup.method,
            "runtime": setup.runtime,
            "data": self.data,
            "images": setup.images,
            "hashes": {"model": setup.model, "ranges": setup.ranges, "data": setup.data},
            "evaluations": self.evaluations,
            "new": self.new,
            **{name: {"miou": mean_iou(iou), "class_iou": iou} for name, iou in files.items()},
            "layers": [layer.to_dict() for layer in self.layers],
        }

    def floats(self, count: int) -> tuple[str, ...]:
        """The nodes of the `count` worst layers: what stays in float, to have those layers in float."""
        return tuple(node for layer in self.layers[:count] for node in layer.nodes)

    def to_toml(self, floats: int = 0) -> str:
        """A rung (calib.rung) with the nodes of the `floats` worst layers in float, and each layer's numbers below.

        The hash of the graph goes with them. What was not measured is left out.
        """
        rung = Rung(self.setup.target, self.setup.method, floats=self.floats(floats)).to_toml()
        told = f"# {self.model} on {self.setup.runtime}, {self.data}, {self.setup.images} images"
        legend = [f"{' '.join(line.split())}\n" for line in (told, *_LEGEND)]
        return "".join([*legend, f"{MODEL} = {json.dumps(self.setup.model)}\n", rung, *map(_to_table, self.layers)])


def _to_table(layer: LayerEffect) -> str:
    values = {key: value for key, value in layer.to_dict().items() if value is not None}
    lines = [f"{key} = {_to_value(value)}\n" for key, value in values.items() if not isinstance(value, dict)]
    return "".join([f"\n[[{LAYERS}]]\n", *lines])


def _to_value(value: object) -> str:
    return f"{value:.6f}" if isinstance(value, float) else json.dumps(value)


def mean_iou(class_iou: ClassIou) -> float:
    """Mean over the classes that the truth has, of IoU or of its change.

    >>> mean_iou({"Road": 0.75, "Sky": 0.25, "Car": None})
    0.5
    """
    known = [iou for iou in class_iou.values() if iou is not None]
    return sum(known) / len(known)


def less(one: ClassIou, other: ClassIou) -> ClassIou:
    """What `one` has more than `other`, by class.

    >>> less({"Road": 0.75, "Car": None}, {"Road": 0.5, "Car": None})
    {'Road': 0.25, 'Car': None}
    """
    pairs = {name: (iou, other[name]) for name, iou in one.items()}
    return {name: None if a is None or b is None else a - b for name, (a, b) in pairs.items()}


def worst_first(layers: Iterable[LayerEffect]) -> tuple[LayerEffect, ...]:
    """By drop, the greatest first; then those of which it was not measured, by SQNR, the lowest first."""

    def rank(layer: LayerEffect) -> tuple[bool, float, float]:
        sqnr_db = float("inf") if layer.sqnr_db is None else layer.sqnr_db
        return layer.drop is None, -(layer.drop or 0.0), sqnr_db

    return tuple(sorted(layers, key=rank))


def layers_in(path: Path, model: onnx.ModelProto | None = None) -> dict[str, tuple[str, ...]]:
    """The nodes of each layer by its name, worst first, from a file of `to_toml`; DataError where it names none.

    The order is the file's, which a person may have changed. DataError also where they were measured on another FP32
    graph than `model`, or have nodes that it has not.
    """
    read_rung(path)  # tells what is wrong with it
    content = tomllib.loads(read_text(path, DataError))
    try:
        entries = content.get(LAYERS) or []
        found = {str(entry["name"]): tuple(map(str, entry.get("nodes", [entry["name"]]))) for entry in entries}
    except (KeyError, TypeError, AttributeError):
        found = {}
    if not found:
        raise DataError(f"{path} names no layers. Measure them: edge-seg calib sensitivity")
    if model is not None:
        _check_model(path, content, found, model)
    return found


def target_in(path: Path) -> str | None:
    """The target that the file's layers were measured for; None where a person wrote none. DataError as `read_rung`."""
    rung = read_rung(path)
    return rung.target if "target" in tomllib.loads(read_text(path, DataError)) else None


def _check_model(
    path: Path, content: dict[str, Any], layers: dict[str, tuple[str, ...]], model: onnx.ModelProto
) -> None:
    """DataError unless the layers are of the graph `model`; a file that a person wrote has no hash, and need not."""
    wanted, measured = hash_of(model), content.get(MODEL)
    if measured not in (None, wanted):
        raise DataError(
            f"{path} was measured on another model (graph {str(measured)[:12]}, not {wanted[:12]}). Measure this one: "
            "edge-seg calib sensitivity"
        )
    named = onnx.ModelProto()
    named.CopyFrom(model)
    name_nodes(named)
    known = {node.name for node in named.graph.node}
    if unknown := [node for nodes in layers.values() for node in nodes if node not in known]:
        raise DataError(
            f"{path} names {unknown[0]!r}, a node that the model has not. Measure it: edge-seg calib sensitivity"
        )
