"""Two artefacts on the same pictures of the same run-time: accuracy paired by picture, and latency in turns."""

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import openvino_ir

from edge_seg.apps.progress import progress
from edge_seg.calib.speed import compare_speed
from edge_seg.evaluate import check_classes
from edge_seg.files import write_whole
from edge_seg.metrics import ConfusionMatrix
from edge_seg.segmenter import open_segmenter
from edge_seg.types import Dataset

Artefact = tuple[Path, str]
"""A file and the run-time it is judged on; an IR file's is "openvino" too."""


def runtime_of(artefact: Artefact) -> str:
    """The name that `open_runner` knows, once `openvino_ir.register` has run."""
    path, runtime = artefact
    return openvino_ir.RUNTIME if path.suffix == ".xml" else runtime


def confusion_by_picture(artefact: Artefact, dataset: Dataset, places: Sequence[int], *, threads: int) -> Any:  # noqa: ANN401
    """The confusion matrix, as lists, of each picture of `dataset` at `places`, at the data set's own size."""
    openvino_ir.register()
    path, found = artefact[0], []
    with open_segmenter(path, runtime_of(artefact), threads=threads) as segment:
        check_classes(segment.spec.class_names, dataset.class_names, dataset.name)
        with progress(f"{path.stem} on {artefact[1]}", len(places)) as step:
            for place in places:
                frame, matrix = dataset[place], ConfusionMatrix(len(dataset.classes))
                assert frame.truth is not None
                matrix.update(segment(frame.image).labels, frame.truth)
                found.append(matrix.counts.tolist())
                step()
    return found


def speed_between(first: Artefact, second: Artefact) -> dict[str, float]:
    """`compare_speed`, also of IR files, as a table with the load average."""
    pair = ((artefact[0], runtime_of(artefact)) for artefact in (first, second))
    speed = compare_speed(*pair, program=(openvino_ir.__file__,))
    return {**dataclasses.asdict(speed), "load": os.getloadavg()[0]}


def kept(path: Path, key: dict[str, Any], make: Callable[[], Any], *, of: Path | None = None) -> Any:  # noqa: ANN401
    """What `make` gives, as JSON has it, from `path` where it was made for the same `key`, and `of` is still there."""
    if path.is_file() and (of is None or of.is_file()):
        found = json.loads(path.read_text())
        if found["key"] == key:
            return found["value"]
    text = json.dumps({"key": key, "value": make()})
    write_whole(path, text.encode())
    return json.loads(text)["value"]
