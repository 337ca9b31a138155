"""How long a training step takes on this machine, and how much of it is making the samples.

python tests/bench/train_speed.py --data camvid:PATH [--arch edge-seg-s] [--batch 8] [--compile]

Takes the device that `edge-seg train` would take. Interleaves the two measurements and prints minimum, median and p95.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from edge_seg.data import open_dataset
from edge_seg.models import build_model
from edge_seg.models.deploy import normalise
from edge_seg.recipe import Recipe, read_recipe
from edge_seg.training.batches import open_training_set, weights_of_classes
from edge_seg.training.objective import Objective
from edge_seg.training.options import TrainOptions


def main() -> None:
    """Measure and print."""
    arguments = parse_arguments()
    recipe = read_recipe(arguments.recipe)
    options = TrainOptions(data=arguments.data, out=Path("none.pt"), run_dir=Path("none"), recipe=recipe)
    device = torch.device("cuda" if options.on_gpu else "cpu")
    make_batch, step = prepare(arguments, recipe, options, device)
    times: dict[str, list[float]] = {"samples": [], "step": []}
    for _ in range(arguments.rounds):
        batch, spent = timed(make_batch, device)
        times["samples"].append(spent)
        times["step"].append(timed(lambda batch=batch: step(*batch), device)[1])
    print(f"{arguments.arch}, batch {arguments.batch}, bf16 {options.use_bf16}, compile {arguments.compile}")
    print(f"{device}, {machine(device)}, PyTorch {torch.__version__}, load {os.getloadavg()[0]:.1f}")
    for name, values in times.items():
        kept = sorted(values[3:])  # the first ones compile and warm up
        p95 = kept[int(0.95 * (len(kept) - 1))]
        print(f"{name}: min {kept[0] * 1e3:.1f} median {statistics.median(kept) * 1e3:.1f} p95 {p95 * 1e3:.1f} ms")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--arch", default="edge-seg-s")
    parser.add_argument("--recipe", default="camvid")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=33)
    parser.add_argument("--compile", action="store_true")
    return parser.parse_args()


def prepare(
    arguments: argparse.Namespace, recipe: Recipe, options: TrainOptions, device: torch.device
) -> tuple[Callable[[], tuple[torch.Tensor, torch.Tensor]], Callable[[torch.Tensor, torch.Tensor], None]]:
    """What makes a batch of samples, and what learns from one."""
    dataset = open_dataset(arguments.data)
    samples, pictures = open_training_set(dataset, options)
    pictures.to(device)
    net = build_model(arguments.arch, len(dataset.class_names)).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective = Objective(recipe.loss, weights_of_classes(samples, recipe.loss, len(dataset.class_names))).to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.schedule.lr)
    features = torch.compile(net.features) if arguments.compile else net.features
    keys = iter(range(10**9))

    def make_batch() -> tuple[torch.Tensor, torch.Tensor]:
        return pictures.batch([samples[next(keys)] for _ in range(arguments.batch)])

    def step(images: torch.Tensor, truth: torch.Tensor) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=options.use_bf16):
            found = features(normalise(images).to(memory_format=torch.channels_last))
            logits = net.head(found[0])
        half = torch.nn.functional.interpolate(logits.float(), size=truth[:, ::2, ::2].shape[1:], mode="bilinear")
        objective(half, truth[:, ::2, ::2]).backward()
        optimizer.step()
        optimizer.zero_grad()

    return make_batch, step


def timed(call: Callable[[], tuple[torch.Tensor, torch.Tensor] | None], device: torch.device) -> tuple[Any, float]:
    """What a call returns and the seconds it took, the device's work included."""
    start = time.perf_counter()
    result = call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return result, time.perf_counter() - start


def machine(device: torch.device) -> str:
    """What the work ran on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
