"""The labelled pictures that INT8 files are judged on: a part of a data set, the same each time."""

import hashlib
from dataclasses import dataclass

from edge_seg.calib.manifest import hash_image
from edge_seg.data.subset import Subset
from edge_seg.errors import DataError
from edge_seg.evaluate import check_classes
from edge_seg.export.verify import spread
from edge_seg.spec import ModelSpec
from edge_seg.types import VOID, Dataset


@dataclass(frozen=True, slots=True, eq=False)
class Judged(Subset):
    """Frames of a data set, and the hash of their pictures and labels, in order."""

    sha256: str


def judged_part(dataset: Dataset, images: int, spec: ModelSpec) -> Judged:
    """`images` frames spread evenly over a labelled set, or all where it has no more; each is read once.

    DataError where the set has other classes than the model, no images, or no labels on them.
    """
    check_classes(spec.class_names, dataset.class_names, dataset.name)
    indices = tuple(spread(len(dataset), images))
    digest, labelled = hashlib.sha256(), False
    for index in indices:
        frame = dataset[index]
        if frame.truth is None:
            raise DataError(f"{frame.name} of {dataset.name} has no labels. Give a labelled set.")
        labelled = labelled or bool((frame.truth != VOID).any())
        digest.update(hash_image(frame.image).encode() + hashlib.sha256(frame.truth.tobytes()).digest())
    if not labelled:
        raise DataError(f"No pixel of {len(indices)} images of {dataset.name} has a class. Give a labelled set.")
    return Judged(dataset, indices, dataset.name, digest.hexdigest())
