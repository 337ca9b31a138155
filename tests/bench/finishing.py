"""What a trained net gains from what a recipe does to it last, and that done to a net that was written without.

    python tests/bench/finishing.py edge-seg-s-more.onnx --data camvid:CamVid --data camvid:CamVid/val
    python tests/bench/finishing.py edge-seg-s-more.onnx --data camvid:CamVid --write edge-seg-s.pt

The first prints mIoU by `clean_statistics` (rows) and `logit_adjustment` (columns). `--data` are the sets to choose
them by, the first of them the training set: neither test nor val alone. The second writes a checkpoint of the net
finished as the recipe says. The net is a checkpoint or an FP32 export of `edge-seg train` whose recipe, `--recipe`, did
not do it yet: the bundled nets are finished. An export has lost the statistics of its training; they are taken from one
epoch of the recipe's samples. `--scale 1.5` shows the pictures larger, their labels staying as they are.
"""

import argparse
import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_seg.checkpoint import read_checkpoint, write_checkpoint
from edge_seg.data import open_dataset
from edge_seg.errors import ModelError
from edge_seg.files import check_path
from edge_seg.metrics import ConfusionMatrix
from edge_seg.models import SegmentationNet, build_model
from edge_seg.models.deploy import normalise
from edge_seg.recipe import read_recipe
from edge_seg.runners.contract import read_onnx_spec
from edge_seg.training.batches import open_training_set, weights_of_classes
from edge_seg.training.distillation import rescale
from edge_seg.training.finish import adjust_logits, finish_net, use_clean_statistics
from edge_seg.training.init_weights import init_net
from edge_seg.training.options import TrainOptions
from edge_seg.training.samples import Pictures, TrainingSet
from edge_seg.training.weight_files import read_weights
from edge_seg.types import Dataset

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def main() -> None:
    """Print mIoU by both shares, of each set and of all together, as Markdown; or write the finished net."""
    options = parse_arguments()
    recipe, sets = read_recipe(options.recipe), [open_dataset(uri) for uri in options.data]
    path = check_path(options.model, ModelError)
    spec = read_checkpoint(path)[1] if path.suffix == ".pt" else read_onnx_spec(path)
    size = {"width": spec.width, "height": spec.height}
    told = TrainOptions(data=options.data[0], out=Path("none.pt"), run_dir=Path("none"), recipe=recipe, **size)
    samples, pictures = open_training_set(sets[0], told)
    net, arch = open_net(path, samples, pictures, recipe.schedule.batch)
    weights = weights_of_classes(samples, recipe.loss, net.classes)
    if options.write is None:
        compare(net, sets, pictures.images, offsets(weights, net.classes), options.scale)
        return
    finish_net(net, pictures.images, weights, recipe)
    write_checkpoint(options.write, arch, dataclasses.replace(spec, scores={}), net)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--recipe", default="camvid")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--write", type=Path)
    return parser.parse_args()


def open_net(path: Path, samples: TrainingSet, pictures: Pictures, batch: int) -> tuple[SegmentationNet, str]:
    """The net of a checkpoint or of an FP32 export, with the statistics of its training's samples, and its name."""
    file = read_weights(path)
    if file.arch is None or file.class_names is None:
        raise ModelError(f"{path} is neither a checkpoint nor an FP32 export of edge-seg train.")
    torch.manual_seed(1)  # of the auxiliary heads, which an export has not
    net = build_model(file.arch, len(file.class_names))
    init_net(net, path, file.arch, epoch(samples, pictures, batch))
    return net.eval().to(memory_format=torch.channels_last), file.arch


def epoch(samples: TrainingSet, pictures: Pictures, batch: int) -> Iterator[Tensor]:
    """Normalised images [batch, 3, H, W] of the samples of one epoch."""
    for first in range(0, len(samples) - batch + 1, batch):
        yield normalise(pictures.batch([samples[index] for index in range(first, first + batch)])[0])


def compare(
    net: SegmentationNet, sets: Sequence[Dataset], images: Tensor, moved: Sequence[Tensor], scale: float
) -> None:
    """The table."""
    print(f"| set | clean_statistics | {' | '.join(f'logit_adjustment {share:g}' for share in SHARES)} |")
    print(f"|---|---|{'---|' * len(SHARES)}")
    for share in SHARES if len(images) else SHARES[:1]:  # drive frames are no pictures to go by
        finished = copy.deepcopy(net)
        if share:
            use_clean_statistics(finished, images, share)
        found = [judge(lambda x, of=finished: of(rescale(x, scale)), dataset, moved) for dataset in sets]
        for dataset, matrices in zip(sets, found, strict=True):
            print_row(dataset.name, share, matrices)
        if len(sets) > 1:
            print_row("all together", share, [together(matrices) for matrices in zip(*found, strict=True)])


def offsets(weights: Tensor | None, classes: int) -> list[Tensor]:
    """What each of SHARES adds to logits, [1, C, 1, 1]."""
    heads = [nn.Conv2d(1, classes, 1) for _ in SHARES]
    for share, head in zip(SHARES, heads, strict=True):
        assert head.bias is not None
        nn.init.zeros_(head.bias)
        if weights is not None:
            adjust_logits(head, weights, share)
    return [head.bias.detach()[None, :, None, None] for head in heads if head.bias is not None]


@torch.no_grad()
def judge(net: Callable[[Tensor], Tensor], dataset: Dataset, moved: Sequence[Tensor]) -> list[ConfusionMatrix]:
    """The counts of `net` on `dataset`, its logits moved by each of `moved`."""
    found = [ConfusionMatrix(len(dataset.class_names)) for _ in moved]
    for index in range(len(dataset)):
        frame = dataset[index]
        assert frame.truth is not None
        logits = net(normalise(torch.from_numpy(frame.image).permute(2, 0, 1)[None]))
        for matrix, offset in zip(found, moved, strict=True):
            full = F.interpolate(logits + offset, size=frame.truth.shape, mode="bilinear", align_corners=False)
            matrix.update(full.argmax(1)[0].to(torch.uint8).numpy(), frame.truth)
    return found


def together(matrices: Sequence[ConfusionMatrix]) -> ConfusionMatrix:
    """The counts of several sets in one."""
    whole = ConfusionMatrix(len(matrices[0].counts))
    whole.counts = np.sum([matrix.counts for matrix in matrices], 0)
    return whole


def print_row(name: str, share: float, matrices: Sequence[ConfusionMatrix]) -> None:
    """One row of the table."""
    print(f"| {name} | {share:g} | {' | '.join(f'{matrix.miou():.4f}' for matrix in matrices)} |", flush=True)


if __name__ == "__main__":
    main()
