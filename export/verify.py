"""Parity of two artefacts: the same images through both, and their labels compared pixel by pixel."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_seg.errors import DataError, ModelError
from edge_seg.export.divergence import THRESHOLD_DB, LayerParity, compare_layers
from edge_seg.files import same_file
from edge_seg.metrics import ConfusionMatrix, none_for_nan
from edge_seg.resize import resize_image
from edge_seg.runners import Runner, open_runner
from edge_seg.spec import ModelSpec
from edge_seg.types import Dataset, Frame, UInt8Array
from edge_seg.weights import find_model

LAYER_IMAGES = 4
"""Layers are compared on so many images, those that agree least: there a fault shows best, and more change little."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: name, run-time and precision, as everywhere else."""

    model: str
    runtime: str
    precision: str

    def __str__(self) -> str:
        return f"{self.model} {self.precision} on {self.runtime}"


@dataclass(frozen=True, slots=True)
class ImageParity:
    """Share of equal labels on one image, which is number `index` of its set."""

    index: int
    name: str
    agreement: float


@dataclass(frozen=True, slots=True)
class Parity:
    """What `compare` found: share of equal labels, IoU between the two (None for a class neither gives), the images."""

    a: Side
    b: Side
    agreement: float
    miou: float | None
    class_iou: dict[str, float | None]
    images: tuple[ImageParity, ...]

    @property
    def worst(self) -> ImageParity:
        """The image that agrees least, the first one of equals."""
        return min(self.images, key=lambda image: image.agreement)


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found: parity of the labels, and the layers in order of A, or None and why they are missing."""

    data: str
    parity: Parity
    layers: tuple[LayerParity, ...] | None
    no_layers: str = ""
    threshold_db: float = THRESHOLD_DB

    @property
    def layer_images(self) -> int:
        """Number of images that the layers were compared on."""
        return min(LAYER_IMAGES, len(self.parity.images)) if self.layers else 0

    @property
    def first_divergent(self) -> LayerParity | None:
        """The first layer below the threshold; None where no layer is, or none was compared."""
        return next((layer for layer in self.layers or () if layer.diverges(self.threshold_db)), None)

    def to_dict(self) -> dict[str, Any]:
        """The keys of `verify --json`."""
        parity, worst, first = self.parity, self.parity.worst, self.first_divergent
        sides = {
            key: {"model": side.model, "runtime": side.runtime, "precision": side.precision}
            for key, side in (("a", parity.a), ("b", parity.b))
        }
        return {
            **sides,
            "data": self.data,
            "images": len(parity.images),
            "agreement": parity.agreement,
            "worst_image": {"name": worst.name, "agreement": worst.agreement},
            "miou": parity.miou,
            "class_iou": parity.class_iou,
            "layers": None if self.layers is None else [layer.to_dict(self.threshold_db) for layer in self.layers],
            "layer_images": self.layer_images,
            "no_layers": self.no_layers or None,
            "threshold_db": self.threshold_db,
            "first_divergent": None if first is None else first.name,
        }


def compare(a: Runner, b: Runner, frames: Iterable[Frame], *, on_image: Callable[[], None] = lambda: None) -> Parity:
    """Run the same images through both and compare their labels at the models' size, no truth needed.

    The one place where parity of two artefacts is computed. One confusion matrix is summed over all images, with the
    labels of A as truth; its global accuracy is the share of equal labels. ModelError where size or classes differ,
    DataError where there is no image. `on_image` is called after each.
    """
    check_alike(a.spec, b.spec)
    names = a.spec.class_names
    matrix, images = ConfusionMatrix(len(names)), []
    for frame in frames:
        image = resize_image(frame.image, a.spec.width, a.spec.height)[None]
        ours, theirs = _labels(a, image), _labels(b, image)
        matrix.update(theirs, ours)
        name = frame.name or f"image {frame.index}"
        images.append(ImageParity(frame.index, name, float((ours == theirs).mean())))
        on_image()
    if not images:
        raise DataError("There is no image to compare on. Give a data set that holds some: --data drive:seed=1")
    class_iou = {name: none_for_nan(iou) for name, iou in zip(names, matrix.class_iou().tolist(), strict=True)}
    agreement, miou = matrix.global_accuracy(), none_for_nan(matrix.miou())
    return Parity(_side(a), _side(b), agreement, miou, class_iou, tuple(images))


def _side(runner: Runner) -> Side:
    return Side(runner.spec.name, runner.runtime, runner.spec.precision)


def _labels(runner: Runner, image: UInt8Array) -> UInt8Array:
    """Labels uint8 [1, H, W]; ModelError where one is no class, which a matrix would take for void or the truth's."""
    labels, classes = runner.infer(image), len(runner.spec.classes)
    if labels.max() >= classes:
        raise ModelError(
            f"{runner.spec.name} on {runner.runtime} gives the label {labels.max()}, but has {classes} classes. "
            "Export it again: edge-seg export"
        )
    return labels


def check_alike(a: ModelSpec, b: ModelSpec) -> None:
    """ModelError unless both take images of one size and have the same classes in the same order."""
    if (a.width, a.height) != (b.width, b.height):
        raise ModelError(
            f"A ({a.name}) takes {a.width}x{a.height} pixels, B ({b.name}) {b.width}x{b.height}. "
            "Labels can be compared at one size alone: give two artefacts of one net at one size."
        )
    if a.class_names == b.class_names:
        return
    size = max(len(a.classes), len(b.classes))
    ours, theirs = ([*spec.class_names, *["missing"] * (size - len(spec.classes))] for spec in (a, b))
    label = next(i for i in range(size) if ours[i] != theirs[i])
    raise ModelError(
        f"A ({a.name}) has {len(a.classes)} classes, B ({b.name}) {len(b.classes)}: label {label} is {ours[label]} in "
        f"A, but {theirs[label]} in B. Give two models with the same classes in the same order."
    )


def spread(available: int, wanted: int | None) -> list[int]:
    """Indices of `wanted` images spread evenly over `available`, first and last among them; all where None.

    >>> spread(10, 4), spread(3, None), spread(3, 9), spread(5, 1), spread(0, 2)
    ([0, 3, 6, 9], [0, 1, 2], [0, 1, 2], [0], [])
    """
    count = available if wanted is None else min(available, wanted)
    return [int(i) for i in np.linspace(0, max(0, available - 1), count).round()]


def verify(
    model_a: str,
    model_b: str,
    dataset: Dataset,
    *,
    runtimes: tuple[str, str] = ("auto", "auto"),
    images: int | None = None,
    threshold_db: float = THRESHOLD_DB,
    on_image: Callable[[], None] = lambda: None,
) -> Verification:
    """Compare two bundled names or artefacts' paths on images of a set: their labels and, of two ONNX files, layers.

    `images` of them are taken, spread evenly, or all. Layers are those of `divergence.compare_layers`, on ONNX Runtime
    whatever the run-times of the labels, over the LAYER_IMAGES images that agree least. Errors as `open_runner` and
    `compare`.
    """
    with open_runner(model_a, runtimes[0]) as a, open_runner(model_b, runtimes[1]) as b:
        parity = compare(a, b, (dataset[i] for i in spread(len(dataset), images)), on_image=on_image)
        spec = a.spec
    paths = find_model(model_a), find_model(model_b)
    reason = _why_no_layers(*(path.suffix for path in paths), one_file=same_file(*paths))
    if reason:
        return Verification(dataset.name, parity, None, reason, threshold_db)
    worst = sorted(parity.images, key=lambda image: image.agreement)[:LAYER_IMAGES]
    pictures = (resize_image(dataset[image.index].image, spec.width, spec.height)[None] for image in worst)
    layers: list[LayerParity] = []
    try:
        layers = compare_layers(*paths, pictures)
        reason = "" if layers else "No layer of A has a counterpart in B, of its name or place and its weights' shape."
    except ModelError as error:  # the labels were another run-time's, and their parity stands
        reason = str(error)
    return Verification(dataset.name, parity, tuple(layers) or None, reason, threshold_db)


def _why_no_layers(suffix_a: str, suffix_b: str, *, one_file: bool) -> str:
    """Why layers cannot be compared; empty where they can."""
    if one_file:
        return "A and B are one file, and layers are compared on ONNX Runtime alone."
    others = [side for side, suffix in (("A", suffix_a), ("B", suffix_b)) if suffix != ".onnx"]
    if not others:
        return ""
    return f"That takes two ONNX files; none: {', '.join(others)}. Of a checkpoint, write one: edge-seg export"
