"""What the average of a net's first and last weights gains, where its last training left out what it is to do besides.

    python tests/bench/averaging.py edge-seg-s-before.onnx runs/s/edge-seg-s.pt --recipe runs/s/recipe.toml --seed 5 \
        --data camvid:CamVid --data camvid:CamVid/val --beside drive:seed=2,frames=200

The first weights are what the training began with by `--init`, the last are its checkpoint (Wortsman et al., Robust
fine-tuning of zero-shot models, 2022). Recipe and seed are those of the training: they make the samples that an export
takes its BatchNorm statistics from, and that the statistics of an average are taken from anew. Then the recipe's share
of `clean_statistics` is done; biases are adjusted in both nets already. `--data` are the sets to choose a share by, the
first of them the training set: neither test nor val alone. `--beside` is judged for itself.
"""

import argparse
import copy
from pathlib import Path

import torch
from finishing import SHARES, epoch, judge, together
from torch import Tensor
from torch.optim.swa_utils import update_bn

from edge_seg.checkpoint import read_checkpoint
from edge_seg.data import open_dataset
from edge_seg.models import SegmentationNet, build_model
from edge_seg.recipe import Recipe, read_recipe
from edge_seg.training.batches import open_training_set
from edge_seg.training.finish import finish_net
from edge_seg.training.options import TrainOptions
from edge_seg.training.samples import Pictures, TrainingSet
from edge_seg.training.start import first_batches, take_weights
from edge_seg.weights import find_model


def main() -> None:
    """Print mIoU by share of the last weights as Markdown."""
    options = parse_arguments()
    recipe, sets = read_recipe(options.recipe), [open_dataset(uri) for uri in options.data]
    arch, spec, last = read_checkpoint(options.last)
    size = {"width": spec.width, "height": spec.height, "seed": options.seed}
    told = TrainOptions(data=options.data[0], out=Path("none.pt"), run_dir=Path("none"), recipe=recipe, **size)
    samples, pictures = open_training_set(sets[0], told)
    batches = first_batches(samples, pictures, recipe.schedule.batch)
    first = build_model(arch, last.classes)
    take_weights(first, arch, batches, init=find_model(options.first))
    beside = [open_dataset(uri) for uri in options.beside]
    print(f"| share of the last | {' | '.join([s.name for s in sets] + ['all together'] + options.beside)} |")
    print(f"|---|{'---|' * (len(sets) + 1 + len(beside))}")
    for share in SHARES:
        net = average(first, last, share, samples, pictures, recipe)
        found = [judge(net, dataset, [torch.zeros(())])[0] for dataset in [*sets, *beside]]
        found.insert(len(sets), together(found[: len(sets)]))
        print(f"| {share:g} | {' | '.join(f'{matrix.miou():.4f}' for matrix in found)} |", flush=True)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first")
    parser.add_argument("last", type=Path)
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--beside", action="append", default=[])
    parser.add_argument("--recipe", default="camvid")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def average(
    first: SegmentationNet,
    last: SegmentationNet,
    share: float,
    samples: TrainingSet,
    pictures: Pictures,
    recipe: Recipe,
) -> SegmentationNet:
    """`first` moved `share` of the way to `last`, with statistics of its own; either end as it is."""
    if share in (0.0, 1.0):
        return copy.deepcopy(last if share else first).eval()
    net = copy.deepcopy(first)
    ends: list[dict[str, Tensor]] = [first.state_dict(), last.state_dict()]
    floats = [name for name, tensor in ends[0].items() if tensor.is_floating_point()]
    moved = {name: torch.lerp(ends[0][name], ends[1][name].to(ends[0][name]), share) for name in floats}
    net.load_state_dict(moved, strict=False)
    with torch.no_grad():
        update_bn(epoch(samples, pictures, recipe.schedule.batch), net)
    finish_net(net, pictures.images, None, recipe)
    return net.eval()


if __name__ == "__main__":
    main()
