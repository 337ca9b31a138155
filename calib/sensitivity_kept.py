"""Finished evaluations of INT8 files, kept as JSON beside the table, so that none is run twice."""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_seg.errors import DataError
from edge_seg.files import check_path, errors_of, read_text, write_whole

VERSION = 1
FILE = "evaluations.json"

ClassIou = dict[str, float | None]
"""IoU by class name in label order; None for a class that the truth never has."""


@dataclass(frozen=True, slots=True)
class Setup:
    """All that an evaluation depends on: three SHA-256 hashes, and what was chosen by name.

    `model` is of the FP32 graph, `ranges` of their file's text, `data` of the pictures and their labels; `runtime` has
    its version.
    """

    model: str
    ranges: str
    data: str
    images: int
    target: str
    method: str
    runtime: str


class Evaluations:
    """Class IoU by what was evaluated, and SQNR by layer, of one setup in one folder; each is written as it is added.

    `sqnr_db` is None for a layer that is equal bit for bit, or whose noise is no number.
    """

    def __init__(self, folder: Path, setup: Setup) -> None:
        """Take up what `folder` has; DataError where that is of another setup, or no evaluations at all."""
        self.folder = folder
        self._path = folder / FILE
        self.setup = setup
        self.class_iou: dict[str, ClassIou] = {}
        self.sqnr_db: dict[str, float | None] = {}
        if check_path(self._path, DataError).exists():
            self._take_up(read_text(self._path, DataError))

    def add(self, name: str, class_iou: ClassIou) -> None:
        """Keep an evaluation; SinkError where it cannot be written."""
        self.class_iou[name] = class_iou
        self._write()

    def add_sqnr(self, sqnr_db: dict[str, float]) -> None:
        """Keep the SQNR of the layers; SinkError where it cannot be written."""
        self.sqnr_db = {name: value if math.isfinite(value) else None for name, value in sqnr_db.items()}
        self._write()

    def _write(self) -> None:
        with errors_of(self.folder, "Choose another folder: --out DIR"):
            self.folder.mkdir(exist_ok=True)
        setup = dataclasses.asdict(self.setup)
        found = {"version": VERSION, "setup": setup, "sqnr_db": self.sqnr_db, "class_iou": self.class_iou}
        write_whole(self._path, f"{json.dumps(found, indent=1, allow_nan=False)}\n".encode())

    def _take_up(self, text: str) -> None:
        try:
            found: dict[str, Any] = json.loads(text)
            if found["version"] != VERSION:
                raise ValueError(f"version {found['version']!r}, expected {VERSION}")
            setup = Setup(**found["setup"])
            self.sqnr_db = {name: _number(value) for name, value in found["sqnr_db"].items()}
            ious = found["class_iou"].items()
            self.class_iou = {name: {c: _number(iou) for c, iou in of.items()} for name, of in ious}
            if len({tuple(of) for of in self.class_iou.values()}) > 1:
                raise ValueError("evaluations of different classes")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(
                f"{self._path} holds no evaluations ({error!r}). Remove it, or give another --out."
            ) from None
        if setup != self.setup:
            same = setup.runtime == self.setup.runtime  # no option brings another version back
            raise DataError(
                f"{self._path} holds evaluations of another setup: {_differences(setup, self.setup)}. "
                f"Give {'the same options to go on with them, or ' if same else ''}another --out, where measuring "
                "begins anew."
            )


def _number(value: object) -> float | None:
    if value is None or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError(f"{value!r} is no number")


def _differences(kept: Setup, now: Setup) -> str:
    """What two setups differ in.

    >>> one = Setup("a" * 64, "b", "c", 8, "tensorrt", "mse", "openvino 2025.0")
    >>> _differences(one, dataclasses.replace(one, model="d" * 64, images=9))
    'model aaaaaaaaaaaa, now dddddddddddd; images 8, now 9'
    """
    pairs = [(field.name, getattr(kept, field.name), getattr(now, field.name)) for field in dataclasses.fields(Setup)]
    hashes = ("model", "ranges", "data")
    shown = [
        (name, *(str(v)[:12] if name in hashes else v for v in (old, new))) for name, old, new in pairs if old != new
    ]
    return "; ".join(f"{name} {old}, now {new}" for name, old, new in shown)
