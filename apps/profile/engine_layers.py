"""The layers of a TensorRT engine, from the JSON of its inspector.

`{"Layers": [...]}` has an object for each layer of an engine whose profiling verbosity is DETAILED, and else a name.
Up to TensorRT 10 a tensor has its type and its layout in one text, `Format/Datatype`, which is a sentence ("Thirty-two
wide channel vectorized row major Int8 format") or, of layers that are compiled as one kernel, a type ("Half"). 11 tells
`Format` and `DataType` apart. Where a shape is not known, neither has a type.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_seg.apps.profile.kernels import computed_in, precision_of, role_of
from edge_seg.apps.profile.rows import Layer
from edge_seg.apps.report.findings import float_islands
from edge_seg.errors import ModelError

TYPE_KEYS = ("DataType", "Datatype", "Format/Datatype")
FORMAT_KEYS = ("Format", "Format/Datatype")
WAITS = ("signal", "wait")
"""Kinds of entries that are no layers: one stream waits for another there."""

COPY = "Reformatting CopyNode"
"""What the names of reformats begin with that TensorRT has put in."""

_TYPE = re.compile(r"\b(?:half|float|double|bool|bfloat16|bf16|(?:fp|u?int)\d+)\b", re.IGNORECASE)
_NODE = re.compile(r"\[ONNX Layer: ([^]]+)]")
_TACTICS = {"int8": ("i8i8", "int8"), "bf16": ("bf16bf16",), "f16": ("f16f16", "fp16"), "f32": ("f32f32", "fp32")}
"""What tactics are named after that compute in a precision; the first that is found holds."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor between layers: `precision` is "" and a size is -1 where TensorRT does not tell it."""

    name: str
    shape: tuple[int, ...]
    precision: str
    format: str


@dataclass(frozen=True, slots=True)
class EngineLayer:
    """A layer as it stands in the engine; all but the name is empty where TensorRT tells no more.

    `kind`, `precision` and `role` are those of `rows.Layer`; `tactic` is the kernel's name, or else its number; `nodes`
    are the ONNX nodes that the layer is made of.
    """

    name: str
    kind: str
    precision: str
    role: str
    takes: tuple[Tensor, ...] = ()
    gives: tuple[Tensor, ...] = ()
    tactic: str = ""
    nodes: tuple[str, ...] = ()

    def timed(self, ms: float) -> Layer:
        """The layer of a profile."""
        return Layer(self.name, self.kind, self.precision, self.role, ms)


@dataclass(frozen=True, slots=True)
class Makeup:
    """What layers are: how many compute in which precision ("" where not told), move bytes, quantize.

    `reformats` are those that run: a reshape that is none (NoOp) does not count. `islands` has the names of the float
    layers that lie between INT8 ones, a list for each run of them.
    """

    precisions: Mapping[str, int]
    reformats: int
    quantize: int
    islands: list[list[str]]

    @property
    def int8_share(self) -> float | None:
        """The share of INT8 of the layers that compute; None where no precision is told."""
        known = sum(count for precision, count in self.precisions.items() if precision)
        return self.precisions.get("int8", 0) / sum(self.precisions.values()) if known else None


def parse_layers(text: str) -> tuple[EngineLayer, ...]:
    """The layers in the inspector's JSON, in their order; ModelError for what is none.

    >>> [layer.role for layer in parse_layers('{"Layers": ["Reformatting CopyNode for Input Tensor 0 to a", "a"]}')]
    ['reformat', 'compute']
    """
    try:
        found = json.loads(text)["Layers"]
        entries = [entry if isinstance(entry, dict) else _named(str(entry)) for entry in found]
        return tuple(_layer(entry) for entry in entries if entry.get("LayerType") not in WAITS)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"TensorRT's inspector tells no layers as known here ({error!r}): {text[:60]!r}. Build the engine again: "
            "edge-seg build MODEL.onnx"
        ) from None


def makeup(layers: Sequence[EngineLayer]) -> Makeup:
    """Count what layers are."""
    islands = float_islands([layer.timed(0.0) for layer in layers])
    return Makeup(
        dict(Counter(layer.precision for layer in layers if layer.role == "compute").most_common()),
        sum(layer.role == "reformat" and layer.kind != "NoOp" for layer in layers),
        sum(layer.role == "quantize" for layer in layers),
        [[layer.name for layer in island] for island in islands],
    )


def readable(name: str) -> str:
    r"""A layer's name without the control characters by which TensorRT joins the names in it.

    >>> readable("/a/Conv\x1e/a/Relu")
    '/a/Conv + /a/Relu'
    """
    return re.sub(r"[\x1e\x1f]", " + ", name)


def _named(name: str) -> dict[str, Any]:
    """The entry of a layer of which only the name is told."""
    return {"Name": name, "LayerType": "Reformat" if name.startswith(COPY) else ""}


def _layer(entry: Mapping[str, Any]) -> EngineLayer:
    takes, gives = (tuple(_tensors(entry.get(key) or ())) for key in ("Inputs", "Outputs"))
    kind = str(entry.get("LayerType", ""))
    return EngineLayer(
        readable(str(entry["Name"])),
        kind,
        _precision(entry, takes, gives),
        "quantize" if entry.get("Origin") == "QDQ" else role_of(kind),
        takes,
        gives,
        str(entry.get("TacticName") or entry.get("TacticValue") or ""),
        tuple(_NODE.findall(str(entry.get("Metadata", "")))),
    )


def _tensors(entries: Iterable[Mapping[str, Any]]) -> Iterable[Tensor]:
    for entry in entries:
        shape = tuple(int(size) for size in entry.get("Dimensions", ()))
        yield Tensor(
            str(entry.get("Name", "")), shape, precision_in(_first(entry, TYPE_KEYS)), _first(entry, FORMAT_KEYS)
        )


def _first(entry: Mapping[str, Any], keys: Iterable[str]) -> str:
    return next((str(entry[key]) for key in keys if key in entry), "")


def _precision(entry: Mapping[str, Any], takes: Sequence[Tensor], gives: Sequence[Tensor]) -> str:
    """What the layer computes in: the type of its weights, or else as its tensors say, or else its tactic.

    A convolution may take bytes and multiply them as floats, and an INT8 one gives floats where the next layer wants
    them; the kernels of a fused matrix product are told by their tactic alone.
    """
    tactic, weights = str(entry.get("TacticName", "")), entry.get("Weights")
    of_weights = precision_in(str(weights.get("Type", ""))) if isinstance(weights, dict) else ""
    if of_weights:
        return of_weights
    taken, given = (tensors[0].precision if tensors else "" for tensors in (takes, gives))
    does = " ".join(str(part) for part in (entry.get("LayerType", ""), entry.get("ParameterType", ""), tactic))
    return computed_in(does, taken or given, given) or _of_tactic(tactic)


def precision_in(text: str) -> str:
    """The precision that a text of the inspector names, as `precision_of`; "" for none.

    >>> precision_in("Channel major FP16 format where channel % 8 == 0"), precision_in("N/A due to dynamic shapes")
    ('f16', '')
    """
    found = _TYPE.search(text)
    return "" if found is None else precision_of(found[0])


def _of_tactic(tactic: str) -> str:
    return next((name for name, words in _TACTICS.items() if any(word in tactic for word in words)), "")
