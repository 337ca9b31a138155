"""What a training starts from: weights of chance, published ones or a file's, on what devices, and owing to whom."""

import sys
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from edge_seg.errors import DataError
from edge_seg.models import SegmentationNet
from edge_seg.models.deploy import normalise
from edge_seg.models.encoders import is_encoder_name
from edge_seg.models.published import IMAGENET, IMAGENET_LICENCE
from edge_seg.models.sync_norms import synchronise_norms
from edge_seg.training.dilated import compute_dilated_in_float32
from edge_seg.training.init_weights import InitReport, init_net
from edge_seg.training.samples import Pictures, TrainingSet
from edge_seg.training.weight_files import read_weights

FREEZES = ("encoder",)
"""What `freeze` may name."""

SETTLING_BATCHES = 4
"""Batches whose statistics an unfolded net starts with."""


def take_weights(
    net: SegmentationNet,
    arch: str,
    batches: Sequence[Tensor],
    *,
    weights: str = "random",
    init: Path | None = None,
    freeze: str | None = None,
) -> InitReport | None:
    """Load what fits of the file `init` into `net`, an `arch` with encoder `weights`, and freeze what `freeze` names.

    Returns the report of the file where one is given; its summary goes to stderr. `batches` are normalised images
    [N, 3, H, W] of the training set, for the statistics of an unfolded net. DataError where weights of chance would be
    frozen that the file did not replace.
    """
    report = None
    if init is not None:
        report = init_net(net, init, arch, batches)
        print(report.summary(), file=sys.stderr)
    if freeze == "encoder":
        if report is not None and weights == "random":
            _check_encoder(net, report, arch)
        net.freeze_encoder()
    return report


def _check_encoder(net: SegmentationNet, report: InitReport, arch: str) -> None:
    anew = {*report.missing, *(tensor.name for tensor in report.reshaped)}
    encoder = {id(tensor) for part in net.encoder_parts() for tensor in part.parameters()}
    named = [(name, tensor) for name, tensor in net.named_parameters() if id(tensor) in encoder]
    lacking = [(name, tensor) for name, tensor in named if name in anew]
    # What starts as zeros is a bias that the file's own network does without: it computes the same.
    chance = [name for name, tensor in lacking if bool(tensor.any())] + _statistics(net, anew)
    if chance:
        published = "add --encoder-weights published, " if is_encoder_name(arch) else ""
        raise DataError(
            f"--freeze encoder would keep weights of chance: {report.source} lacks {len(lacking)} of the encoder's "
            f"{len(named)}, such as {chance[0]}. Give an --init of {arch}, {published}or leave out --freeze."
        )


def _statistics(net: SegmentationNet, names: set[str]) -> list[str]:
    """Of `names`, the statistics of the encoder's BatchNorms, which a frozen encoder never learns."""
    encoder = {id(buffer) for part in net.encoder_parts() for buffer in part.buffers()}
    running = [name for name, buffer in net.named_buffers() if id(buffer) in encoder and "running_" in name]
    return [name for name in running if name in names]


def first_batches(samples: TrainingSet, pictures: Pictures, batch: int) -> list[Tensor]:
    """Normalised images [batch, 3, H, W] of the first samples, SETTLING_BATCHES or as many as there are."""
    count = min(SETTLING_BATCHES, len(samples) // batch)
    groups = (range(first * batch, (first + 1) * batch) for first in range(count))
    return [normalise(pictures.batch([samples[index] for index in group])[0]) for group in groups]


def suit_devices(net: nn.Module, *, on_gpu: bool, bf16: bool, processes: int) -> None:
    """Fit the net's layers to where it is trained: on GPUs or a CPU, in bf16 or FP32, by how many processes."""
    if on_gpu and processes > 1:
        synchronise_norms(net)
    if bf16 and not on_gpu:
        compute_dilated_in_float32(net)


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
