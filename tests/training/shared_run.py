"""A training whose processes each leave their weights: `python shared_run.py FOLDER DEVICES` writes FOLDER/rank0.pt.

BatchNorm keeps its statistics, every pixel counts alike and the views have no void: so the mean of the processes'
gradients is that of the whole batch, and any number of processes trains the same net.
"""

import sys
from pathlib import Path

import torch
from torch import nn

from edge_seg.recipe import Loss, Recipe, Samples, Schedule
from edge_seg.train import train
from edge_seg.training.options import TrainOptions
from edge_seg.training.task import SegmentationTask

SCHEDULE = Schedule(epochs=2, batch=4, optimizer="sgd", lr=0.05, ema=0.0)
RECIPE = Recipe(Samples(scale_least=1.0, stretch=0.0), Loss(class_weights="none"), SCHEDULE)


def run(folder: Path, devices: int) -> None:
    """Train edge-seg-n for 8 steps on drive frames; each process writes the weights that it ends with."""
    begin_step = SegmentationTask.on_train_batch_start

    def keep_statistics(task: SegmentationTask, batch: object, batch_idx: int) -> None:
        begin_step(task, batch, batch_idx)
        for module in task.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()

    def leave_weights(task: SegmentationTask) -> None:
        torch.save(task.net.state_dict(), folder / f"rank{task.global_rank}.pt")

    SegmentationTask.on_train_batch_start = keep_statistics  # type: ignore[method-assign]
    SegmentationTask.on_train_end = leave_weights  # type: ignore[method-assign]
    out, data = folder / "net.pt", "drive:frames=16,size=96x72"
    train(TrainOptions(data, out, folder, "edge-seg-n", 96, 72, RECIPE, workers=0, precision="fp32", devices=devices))


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]))
