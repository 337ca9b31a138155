"""What the tensors of an FP32 graph hold: observed once, kept as JSON, enough to write INT8 files without data."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper

from edge_seg.calib.histogram import Histogram
from edge_seg.calib.manifest import hash_hashes, hash_image
from edge_seg.calib.thresholds import METHODS, Range, with_zero
from edge_seg.errors import DataError, ModelError
from edge_seg.export.tidy import drop_unused
from edge_seg.files import read_text, write_whole
from edge_seg.runners.ort_runner import ORT_ERRORS, untimed_options
from edge_seg.types import UInt8Array

VERSION = 1
MOVING = "moving-average"
MOMENTUM = 0.9
"""Of the ends that have been, in the moving average over the pictures (Jacob et al., 2018, section 3.1)."""

NAMES = (*METHODS, MOVING)
"""The methods that a file of ranges has for each tensor."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """Ranges of a graph's tensors by name and method, with the hash of the model that they are of.

    `pictures` is the hash of the manifest that they were observed on, or the data set's URI or name. `pictures_sha256`
    is of the pictures themselves at the model's size (manifest.hash_hashes of hash_image); older files have none.
    """

    model: str
    pictures: str
    images: int
    tensors: dict[str, dict[str, Range]] = field(default_factory=dict)
    pictures_sha256: str = ""

    def chosen(self, method: str, others: dict[str, str] | None = None) -> dict[str, Range]:
        """A range for each tensor: by `method`, but for the tensors that `others` name a method for.

        DataError where a tensor has no range by its method.
        """
        methods = others or {}
        for name, found in self.tensors.items():
            if methods.get(name, method) not in found:
                raise DataError(f"{name} has no {methods.get(name, method)} range. Observe it: edge-seg calib observe")
        return {name: found[methods.get(name, method)] for name, found in self.tensors.items()}

    def zeros(self) -> list[str]:
        """The tensors that are zero on every picture: parts of the model that do nothing there.

        >>> Ranges("", "", 8, {"a": {"min-max": (0.0, 0.0)}, "b": {"min-max": (0.0, 1.0)}}).zeros()
        ['a']
        """
        return [name for name, found in self.tensors.items() if found.get("min-max") == (0.0, 0.0)]

    def to_json(self) -> str:
        """JSON text, a line per tensor; `parse_ranges` reads it back."""
        head = {"version": VERSION, "model": self.model, "pictures": self.pictures, "images": self.images}
        head |= {"pictures_sha256": self.pictures_sha256} if self.pictures_sha256 else {}
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(found)}" for name, found in self.tensors.items())
        return f'{json.dumps(head)[:-1]}, "tensors": {{\n{lines}\n}}}}\n'


def hash_of(model: onnx.ModelProto) -> str:
    """SHA-256 of the graph alone: scores that are written into a file later do not change it."""
    return hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()


def observe(
    model: onnx.ModelProto,
    images: Iterator[UInt8Array],
    *,
    pictures: str = "",
    on_image: Callable[[], None] = lambda: None,
    histograms: dict[str, Histogram] | None = None,
) -> Ranges:
    """Ranges of all float tensors of an FP32 graph over pictures uint8 [1, H, W, 3].

    One pass; of each picture only histograms are kept, in `histograms` where that is given. ModelError for values that
    are no numbers, and where the pictures are one number everywhere or the logits the same at each pixel; between them
    a branch may be.
    """
    names = float_tensors(model)
    session = open_session(model, names)
    histograms = {} if histograms is None else histograms
    histograms.update((name, Histogram()) for name in names)
    moving: dict[str, Range] = {}
    hashes: list[str] = []
    alike = True
    for image in images:
        on_image()
        hashes.append(hash_image(image[0]))
        for name, values in zip(names, session.run(names, {"image": image}), strict=True):
            histograms[name].update(values, name)
            moving[name] = _moved(moving.get(name), with_zero(float(values.min()), float(values.max())))
        alike = alike and _is_alike_everywhere(values)  # of the last tensor, the logits
    if not hashes:
        raise DataError("There are no calibration images. Give a data set that has some.")
    for name in (names[0], names[-1]):
        _check_varies(name, histograms[name])
    if alike:
        raise ModelError(
            f"{names[-1]} is the same at every pixel of every calibration image. Is the model trained, and are these "
            "its images?"
        )
    tensors = {name: _all_methods(histogram, moving[name]) for name, histogram in histograms.items()}
    return Ranges(hash_of(model), pictures, len(hashes), tensors, hash_hashes(hashes))


def float_tensors(model: onnx.ModelProto) -> list[str]:
    """Names of the float32 tensors that nodes make, but for those that are constant or only counted on by ArgMax."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.output)}
    made = [
        name
        for node in model.graph.node
        if node.op_type not in ("Constant", "DequantizeLinear")
        for name in node.output
    ]
    compared = {name for node in model.graph.node if node.op_type == "ArgMax" for name in node.input}
    return [name for name in made if types.get(name) == onnx.TensorProto.FLOAT and name not in compared]


def open_session(model: onnx.ModelProto, names: Sequence[str]) -> onnxruntime.InferenceSession:
    """ONNX Runtime on what of a graph its float tensors `names` need, which are its outputs."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    drop_unused(watched.graph)
    providers = ["CPUExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(watched.SerializeToString(), untimed_options(), providers=providers)
    except ORT_ERRORS as error:
        raise ModelError(f"ONNX Runtime cannot run the FP32 graph: {error}. Export the model again.") from None


def _moved(before: Range | None, now: Range) -> Range:
    if before is None:
        return now
    least, most = (MOMENTUM * old + (1 - MOMENTUM) * new for old, new in zip(before, now, strict=True))
    return least, most


def _is_alike_everywhere(values: NDArray[np.float32]) -> bool:
    """Whether each channel [N, C, ...] holds one number; of its bias alone, where all weights before it are zero."""
    channels = values.reshape(*values.shape[:2], -1)
    return values.ndim > 2 and bool((channels == channels[..., :1]).all())


def _check_varies(name: str, histogram: Histogram) -> None:
    if histogram.least == histogram.most:
        raise ModelError(
            f"{name} is {histogram.least:g} on every calibration image: nothing to choose a range by. Is the model "
            "trained, and are these its images?"
        )


def _all_methods(histogram: Histogram, moving: Range) -> dict[str, Range]:
    found = {method: choose(histogram) for method, choose in METHODS.items()} | {MOVING: moving}
    return {method: (float(np.float32(least)), float(np.float32(most))) for method, (least, most) in found.items()}


def write_ranges(path: Path, ranges: Ranges) -> None:
    """Write ranges as JSON."""
    write_whole(path, ranges.to_json().encode())


def read_ranges(path: Path, model: onnx.ModelProto | None = None) -> Ranges:
    """Ranges from a file; DataError where it is none, or has not the tensors of `model`, or another graph's."""
    ranges = parse_ranges(read_text(path, DataError), str(path))
    if model is None:
        return ranges
    if ranges.model != hash_of(model):
        raise DataError(
            f"{path} was observed on another model (graph {ranges.model[:12]}, not {hash_of(model)[:12]}). Observe "
            "this one: edge-seg calib observe. Ranges of an equalised graph lie beside the rung of edge-seg quantize."
        )
    made = {name for node in model.graph.node for name in node.output}
    if unknown := sorted(ranges.tensors.keys() - made):
        raise DataError(
            f"{path} has a range of {unknown[0]!r}, which the model has not. Write it: edge-seg calib observe"
        )
    return ranges


def parse_ranges(text: str, where: str) -> Ranges:
    """Ranges from `Ranges.to_json`'s text.

    >>> ranges = Ranges("abc", "def", 8, {"x": {"min-max": (-1.0, 2.0)}})
    >>> parse_ranges(ranges.to_json(), "x.json") == ranges
    True
    """
    try:
        found: dict[str, Any] = json.loads(text)
        version = found.pop("version")
        tensors = {name: {m: _pair(r) for m, r in of.items()} for name, of in found.pop("tensors").items()}
        ranges = Ranges(**found, tensors=tensors)
        if not tensors or not _are_texts(ranges.model, ranges.pictures_sha256) or type(ranges.images) is not int:
            raise ValueError("no tensors, or no hash of model or pictures, or no number of images")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{where} holds no ranges ({error!r}). Write it: edge-seg calib observe") from None
    if version != VERSION:
        raise DataError(
            f"{where} has version {version} of ranges; expected {VERSION}. Write it: edge-seg calib observe"
        )
    return ranges


def _are_texts(*found: object) -> bool:
    return all(isinstance(value, str) for value in found)


def _pair(found: Any) -> Range:  # noqa: ANN401
    least, most = found
    largest = float(np.finfo(np.float32).max) / 2
    if not all(type(end) in (int, float) and abs(end) <= largest for end in found) or not least <= 0 <= most:
        raise ValueError(f"{found} is no range with zero in it")
    return float(least), float(most)
