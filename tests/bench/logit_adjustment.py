"""What a net gains where a share of its class weights is taken out of it again, and where it sees pictures larger.

    python tests/bench/logit_adjustment.py edge-seg-s-fp32 --data camvid:CamVid --data camvid:CamVid/val

`--data` are the sets to choose the recipe's `[loss] logit_adjustment` by, the first of them the training set: neither
test nor val alone. The net is an FP32 export of `edge-seg train`, or a bundled one; --recipe is the one whose class
weights it was trained with. Each picture is shown as it is and 1.5 times as large, the labels staying theirs.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_seg.data import open_dataset
from edge_seg.metrics import ConfusionMatrix
from edge_seg.models.deploy import normalise
from edge_seg.recipe import read_recipe
from edge_seg.training.batches import open_training_set, weights_of_classes
from edge_seg.training.distillation import open_teacher, rescale
from edge_seg.training.objective import adjust_logits
from edge_seg.training.options import TrainOptions
from edge_seg.types import Dataset
from edge_seg.weights import find_model

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
SCALES = (1.0, 1.5)


def main() -> None:
    """Print mIoU by scale and share, of each set and of all together, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--recipe", default="camvid")
    arguments = parser.parse_args()
    sets = [open_dataset(uri) for uri in arguments.data]
    teach, _ = open_teacher(find_model(arguments.model), sets[0].class_names)
    offsets = [offset(arguments.recipe, arguments.data[0], share) for share in SHARES]
    print(f"| set | scale | {' | '.join(f'{share:g} taken out' for share in SHARES)} |")
    print(f"|---|---|{'---|' * len(SHARES)}")
    for scale in SCALES:
        found = [judge(lambda x, by=scale: teach(rescale(x, by))[0], dataset, offsets) for dataset in sets]
        for dataset, matrices in zip(sets, found, strict=True):
            print_row(dataset.name, scale, matrices)
        if len(sets) > 1:
            print_row("all together", scale, [together(matrices) for matrices in zip(*found, strict=True)])


def offset(recipe: str, data: str, share: float) -> Tensor:
    """What is added to logits, [1, C, 1, 1], where `share` of the class weights is taken out of them."""
    options = TrainOptions(data=data, out=Path("none.pt"), run_dir=Path("none"), recipe=read_recipe(recipe))
    classes = len(open_dataset(data).class_names)
    weights = weights_of_classes(open_training_set(open_dataset(data), options)[0], options.recipe.loss, classes)
    head = nn.Conv2d(1, classes, 1)
    assert head.bias is not None
    nn.init.zeros_(head.bias)
    if weights is not None:
        adjust_logits(head, weights, share)
    return head.bias.detach()[None, :, None, None]


def judge(net: Callable[[Tensor], Tensor], dataset: Dataset, offsets: Sequence[Tensor]) -> list[ConfusionMatrix]:
    """The counts of `net` on `dataset` by offset."""
    found = [ConfusionMatrix(len(dataset.class_names)) for _ in offsets]
    for index in range(len(dataset)):
        frame = dataset[index]
        assert frame.truth is not None
        logits = net(normalise(torch.from_numpy(frame.image).permute(2, 0, 1)[None]))
        for matrix, moved in zip(found, offsets, strict=True):
            full = F.interpolate(logits + moved, size=frame.truth.shape, mode="bilinear", align_corners=False)
            matrix.update(full.argmax(1)[0].to(torch.uint8).numpy(), frame.truth)
    return found


def together(matrices: Sequence[ConfusionMatrix]) -> ConfusionMatrix:
    """The counts of several sets in one."""
    whole = ConfusionMatrix(len(matrices[0].counts))
    whole.counts = np.sum([matrix.counts for matrix in matrices], 0)
    return whole


def print_row(name: str, scale: float, matrices: Sequence[ConfusionMatrix]) -> None:
    """One row of the table."""
    print(f"| {name} | {scale:g} | {' | '.join(f'{matrix.miou():.4f}' for matrix in matrices)} |", flush=True)


if __name__ == "__main__":
    main()
