"""Accuracy of an artefact on a labelled data set."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_seg.boundary import BoundaryF1
from edge_seg.errors import DataError
from edge_seg.metrics import ConfusionMatrix, none_for_nan
from edge_seg.segmenter import Segmenter
from edge_seg.types import Dataset, Frame, UInt8Array


@dataclass(frozen=True, slots=True)
class Scores:
    """What `evaluate` found: means over the set, and IoU and recall by class, None where a class never occurs."""

    model: str
    runtime: str
    precision: str
    images: int
    miou: float | None
    class_iou: dict[str, float | None]
    class_recall: dict[str, float | None]
    class_accuracy: float | None
    global_accuracy: float | None
    boundary_f1: float | None
    dice: float | None

    def to_dict(self) -> dict[str, Any]:
        """The keys of `eval --json`."""
        keys = "model runtime precision images miou class_iou class_accuracy global_accuracy boundary_f1 dice"
        return {key: getattr(self, key) for key in keys.split()}


def check_classes(
    model: tuple[str, ...],
    data: tuple[str, ...],
    data_name: str,
    *,
    whose: str = "the model",
    advice: str = "Choose a model trained on these classes.",
) -> None:
    """DataError unless model and data have the same classes in the same order.

    `whose` the first classes are and what to do are told as given.

    >>> check_classes(("Road", "Sky"), ("Sky", "Road"), "my frames")
    Traceback (most recent call last):
    ...
    edge_seg.errors.DataError: my frames has other classes than the model: label 0 is Sky there, but Road in...
    """
    if model == data:
        return
    size = max(len(model), len(data))
    padded = [(*names, *["missing"] * (size - len(names))) for names in (model, data)]
    label = next(i for i, (ours, theirs) in enumerate(zip(*padded, strict=True)) if ours != theirs)
    raise DataError(
        f"{data_name} has other classes than {whose}: label {label} is {padded[1][label]} there, but "
        f"{padded[0][label]} in {whose}. {advice}"
    )


def evaluate(
    segment: Segmenter,
    dataset: Dataset,
    *,
    outlines: bool = True,
    on_image: Callable[[Frame, UInt8Array], None] = lambda frame, labels: None,
) -> Scores:
    """Compare a segmenter's labels with the truth, pixel by pixel at the data set's own size.

    One confusion matrix is summed over the set, so that a class counts by its pixels and not by its images. Boundary
    F1, which can take longer than a fast net, is left out without `outlines`. `on_image` is given each image with the
    labels found.
    """
    names = segment.spec.class_names
    check_classes(names, dataset.class_names, dataset.name)
    matrix = ConfusionMatrix(len(names))
    boundary = BoundaryF1(len(names)) if outlines else None
    for frame in dataset:
        if frame.truth is None:
            raise DataError(f"{frame.name} of {dataset.name} has no labels.")
        labels = segment(frame.image).labels
        matrix.update(labels, frame.truth)
        if boundary is not None:
            boundary.update(labels, frame.truth)
        on_image(frame, labels)
    return _scores(segment, matrix, boundary, len(dataset))


def _scores(segment: Segmenter, matrix: ConfusionMatrix, boundary: BoundaryF1 | None, images: int) -> Scores:
    names = segment.spec.class_names
    return Scores(
        model=segment.spec.name,
        runtime=segment.runtime,
        precision=segment.spec.precision,
        images=images,
        miou=none_for_nan(matrix.miou()),
        class_iou=_by_class(names, matrix.class_iou()),
        class_recall=_by_class(names, matrix.class_recall()),
        class_accuracy=none_for_nan(matrix.class_accuracy()),
        global_accuracy=none_for_nan(matrix.global_accuracy()),
        boundary_f1=None if boundary is None else none_for_nan(boundary.mean()),
        dice=none_for_nan(matrix.dice()),
    )


def _by_class(names: tuple[str, ...], values: NDArray[np.float64]) -> dict[str, float | None]:
    return {name: none_for_nan(value) for name, value in zip(names, values.tolist(), strict=True)}
