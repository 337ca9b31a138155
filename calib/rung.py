"""How an INT8 file is made from an FP32 graph and its ranges, as TOML: what a person or the ladder has chosen."""

import dataclasses
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from edge_seg.calib.ranges import NAMES
from edge_seg.errors import DataError
from edge_seg.export.target import TARGETS
from edge_seg.files import check_path, read_text

FLOAT_TYPES = ("fp32", "fp16")

MODEL, LAYERS = NOTES = ("model", "layer")
"""The hash of a graph and a table of measurements on it, in the same file; no file is made by them."""


@dataclass(frozen=True, slots=True)
class Rung:
    """The target's name, the method of the ranges, another for single tensors, the nodes that stay in float.

    `float_type` is that of what stays in float, and of the scales: fp16 is for TensorRT (export.to_fp16).
    `equalised` and `corrected` change the FP32 graph before (calib.equalisation, calib.bias_correction), `adaptive`
    rounds the weights by AdaRound. The last two depend on the pictures too, not on the ranges alone.
    """

    target: str = "onnxruntime-x86"
    method: str = "min-max"
    equalised: bool = False
    corrected: bool = False
    adaptive: bool = False
    floats: tuple[str, ...] = ()
    float_type: str = "fp32"
    methods: dict[str, str] = field(default_factory=dict, hash=False)

    def to_toml(self) -> str:
        """TOML text that `parse_rung` reads back; fields of their default value are left out.

        >>> print(Rung(method="mse", floats=("/net/head/Conv",)).to_toml(), end="")
        target = "onnxruntime-x86"
        method = "mse"
        floats = ["/net/head/Conv"]
        """
        found = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        tables = found.pop("methods")
        defaults = {f.name: f.default for f in dataclasses.fields(self)} | {"target": "", "method": ""}
        plain = [f"{name} = {json.dumps(value)}\n" for name, value in found.items() if value != defaults[name]]
        named = [f"{json.dumps(name)} = {json.dumps(method)}\n" for name, method in tables.items()]
        return "".join([*plain, *(["\n[methods]\n", *named] if named else [])])


def read_rung(path: Path) -> Rung:
    """The rung in a TOML file; DataError where there is none or a value that does not fit."""
    text = read_text(check_path(path, DataError), DataError)
    try:
        return parse_rung(tomllib.loads(text), str(path))
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path} is no TOML: {error}.") from None


def parse_rung(found: dict[str, Any], where: str) -> Rung:
    """A rung from TOML's values; DataError names what does not fit.

    >>> parse_rung({"method": "mse"}, "mine.toml").method
    'mse'
    >>> parse_rung({"method": "best"}, "mine.toml")
    Traceback (most recent call last):
    ...
    edge_seg.errors.DataError: mine.toml: method = 'best'; expected min-max, percentile, entropy, mse, ...
    """
    fields = {f.name: f for f in dataclasses.fields(Rung)}
    values = {name: value for name, value in found.items() if name not in NOTES}
    for name, value in values.items():
        if name not in fields:
            raise DataError(f"{where} has no {name!r} to set. Choose of {', '.join(fields)}.")
        if (expected := _expected(name, value)) is not None:
            raise DataError(f"{where}: {name} = {value!r}; expected {expected}.")
    return Rung(**values | {"floats": tuple(values.get("floats", ()))})


def _expected(name: str, value: object) -> str | None:
    """What a field wants, where `value` is something else."""
    if name == "target":
        return None if isinstance(value, str) and value in TARGETS else ", ".join(TARGETS)
    if name == "method":
        return None if isinstance(value, str) and value in NAMES else ", ".join(NAMES)
    if name == "float_type":
        return None if value in FLOAT_TYPES else " or ".join(FLOAT_TYPES)
    if name == "floats":
        return None if isinstance(value, list) and all(isinstance(v, str) for v in value) else "names of nodes"
    if name == "methods":
        fits = isinstance(value, dict) and all(isinstance(m, str) and m in NAMES for m in value.values())
        return None if fits else f"a method for each tensor, of {', '.join(NAMES)}"
    return None if isinstance(value, bool) else "true or false"
