"""Accuracy of an artefact, in a process of its own: one that crashes or runs out of memory ends alone."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from edge_seg.apps.profile.child import ask_child
from edge_seg.apps.profile.from_json import from_json
from edge_seg.apps.profile.rows import Accuracy
from edge_seg.bootstrap import hits_and_unions
from edge_seg.data import open_dataset
from edge_seg.errors import EdgeSegError
from edge_seg.evaluate import evaluate
from edge_seg.metrics import ConfusionMatrix
from edge_seg.segmenter import open_segmenter
from edge_seg.types import Frame, UInt8Array


def judge(path: Path, runtime: str, data: str) -> Accuracy:
    """Accuracy on a labelled set; ModelError with what the process said where there is none."""
    return from_json(Accuracy, ask_child("edge_seg.apps.profile.judge", str(path), runtime, data))


def count(path: Path, runtime: str, data: str) -> Accuracy:
    """Accuracy on a labelled set, counted in this process."""
    dataset = open_dataset(data)
    counts: list[tuple[tuple[int, int], ...]] = []

    def add(frame: Frame, labels: UInt8Array) -> None:
        assert frame.truth is not None  # `evaluate` has looked
        matrix = ConfusionMatrix(len(dataset.class_names))
        matrix.update(labels, frame.truth)
        counts.append(tuple((hits, union) for hits, union in hits_and_unions(matrix.counts).tolist()))

    with open_segmenter(path, runtime) as segment:
        scores = evaluate(segment, dataset, outlines=False, on_image=add)
    return Accuracy(dataset.name, scores.images, scores.miou, scores.class_iou, tuple(counts))


def _main(arguments: Sequence[str]) -> None:
    path, runtime, data = arguments
    try:
        print(json.dumps(asdict(count(Path(path), runtime, data))))
    except EdgeSegError as error:
        sys.exit(f"edge-seg: {' '.join(str(error).split())}")


if __name__ == "__main__":
    _main(sys.argv[1:])
