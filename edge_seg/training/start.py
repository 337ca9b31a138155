"""What a training starts from: weights of chance, published ones or a file's, and to whom the net then owes."""

import sys
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from edge_seg.models import SegmentationNet, build_model
from edge_seg.models.deploy import normalise
from edge_seg.models.published import IMAGENET, IMAGENET_LICENCE
from edge_seg.training.init_weights import InitReport, init_net
from edge_seg.training.samples import Pictures, TrainingSet
from edge_seg.training.weight_files import read_weights

FREEZES = ("encoder",)
"""What `freeze` may name."""

SETTLING_BATCHES = 4
"""Batches whose statistics an unfolded net starts with."""


def start_net(
    arch: str,
    classes: int,
    batches: Sequence[Tensor],
    *,
    weights: str = "random",
    init: Path | None = None,
    freeze: str | None = None,
) -> tuple[SegmentationNet, InitReport | None]:
    """The net to train, and the report of the file `init` where one is given; its summary goes to stderr.

    `batches` are normalised images [N, 3, H, W] of the training set, for the statistics of an unfolded net.
    """
    net = build_model(arch, classes, weights=weights)
    report = None
    if init is not None:
        report = init_net(net, init, arch, batches)
        print(report.summary(), file=sys.stderr)
    if freeze == "encoder":
        net.freeze_encoder()
    return net, report


def first_batches(samples: TrainingSet, pictures: Pictures, batch: int) -> list[Tensor]:
    """Normalised images [batch, 3, H, W] of the first samples, SETTLING_BATCHES or as many as there are."""
    count = min(SETTLING_BATCHES, len(samples) // batch)
    groups = (range(first * batch, (first + 1) * batch) for first in range(count))
    return [normalise(pictures.batch([samples[index] for index in group])[0]) for group in groups]


def origins(init: Path | None, weights: str, teacher: Path | None = None) -> list[tuple[str, str]]:
    """Data set and licence of each thing that a net owes to beside its own data: first weights and teacher.

    >>> [name for name, _ in origins(None, "published")]
    ['ImageNet']
    """
    found = [(IMAGENET, IMAGENET_LICENCE)] if weights == "published" else []
    for path in filter(None, (init, teacher)):
        file = read_weights(path)
        found += [(name, file.licence) for name in file.dataset.split(" and ")]
    return found
