"""Training on Lightning: a fixed schedule, resumable, ending in a checkpoint that carries its own spec."""

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from edge_seg.checkpoint import read_checkpoint, write_checkpoint
from edge_seg.data import Drive, open_dataset
from edge_seg.data.camvid import SPLITS
from edge_seg.data.checks import check_apart
from edge_seg.errors import DataError
from edge_seg.evaluate import Scores, check_classes, evaluate
from edge_seg.files import write_whole
from edge_seg.malloc import keep_freed_memory
from edge_seg.models import SegmentationNet, build_model
from edge_seg.models.net import TrainableNet
from edge_seg.runners.contract import add_score
from edge_seg.segmenter import open_segmenter
from edge_seg.spec import ModelSpec, join_licences
from edge_seg.training.average import moving_average
from edge_seg.training.batches import (
    epoch_sampler,
    fixed_by_data,
    open_training_set,
    read_sets,
    training_loader,
    validation_loader,
    weights_of_classes,
)
from edge_seg.training.distillation import make_distiller
from edge_seg.training.finish import finish_net
from edge_seg.training.folder import is_first_process, owned_folder
from edge_seg.training.init_weights import InitReport
from edge_seg.training.objective import Objective
from edge_seg.training.options import TrainOptions
from edge_seg.training.progress import EpochLines, RunBar, quiet
from edge_seg.training.samples import Drawn, Pictures, TrainingSet
from edge_seg.training.saving import RUN, LastCheckpoint, WholeFiles, check_last, read_last
from edge_seg.training.start import first_batches, origins, suit_devices, take_weights
from edge_seg.training.task import SegmentationTask
from edge_seg.training.tuning import Tuning
from edge_seg.training.weight_files import read_weights
from edge_seg.types import Dataset
from edge_seg.weights import find_model

VALIDATE_EVERY = 10
MEETING = ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What several machines need to find each other, in the environment."""


def train_and_evaluate(options: TrainOptions, test: str, tuning: Tuning | None = None) -> Scores | None:
    """Train, evaluate the checkpoint or what `tuning` writes on the data set `test`, and write the mIoU into its spec.

    None in those of several processes that are not the first: they only help to train. DataError, before anything is
    trained, where the two sets share pictures or have other classes, and for a file of `test` that cannot be used.
    """
    dataset = open_test(options.data, test)
    if train(options, tuning, test=test) is None:
        return None
    judged, runtime = (options.out, "torch") if tuning is None else (tuning.judged, tuning.runtime)
    with open_segmenter(judged, runtime) as segment:
        scores = evaluate(segment, dataset)
    if scores.miou is not None:
        _write_score(judged, f"{dataset.name} mIoU", scores.miou)
    return scores


def open_test(data: str, test: str) -> Dataset:
    """The set to judge a training on `data` on; DataError where the two share pictures or have other classes."""
    dataset, training = open_dataset(test), open_dataset(data)
    advice = "Give a --test of the same classes."
    check_classes(training.class_names, dataset.class_names, dataset.name, whose="the training set", advice=advice)
    check_apart(training, dataset)
    return dataset


def _write_score(path: Path, name: str, value: float) -> None:
    if path.suffix == ".onnx":
        add_score(path, name, value)
        return
    arch, spec, net = read_checkpoint(path)
    write_checkpoint(path, arch, dataclasses.replace(spec, scores={name: value}), net)


def default_test(data: str) -> str | None:
    """The set that a training set's nets are judged on; None for one that brings none along.

    >>> [default_test(data) for data in ("camvid:CamVid/train", "drive:frames=400", "folder:mine")]
    ['camvid:CamVid/test', 'drive:seed=1,frames=200', None]
    >>> [default_test(f"camvid:{location}") for location in ("CamVid", "CamVid/train/", "CamVid/val", "train")]
    ['camvid:CamVid/test', 'camvid:CamVid/test', 'camvid:CamVid/test', 'camvid:test']
    """
    scheme, _, location = data.partition(":")
    if scheme == "camvid":
        path = Path(location)
        return f"camvid:{((path.parent if path.name in SPLITS else path) / 'test').as_posix()}"
    return "drive:seed=1,frames=200" if scheme == "drive" else None


def train(options: TrainOptions, tuning: Tuning | None = None, *, test: str | None = None) -> ModelSpec | None:
    """Train by `options`, write the checkpoint to `options.out` and return the spec inside it.

    `tuning` brings a net of its own, and writes what becomes of it. Of several processes only the first writes and
    returns anything. Checkpoints for `resume` lie in `options.run_dir`, with TensorBoard's logs. The files of `test`,
    the set to judge on later, and of `options.val` are read before the first step: DataError for what cannot be used.
    """
    keep_freed_memory()
    _check_processes(options)
    L.seed_everything(options.seed, verbose=False)
    dataset = open_dataset(options.data)
    net = tuning.net if tuning else _new_net(options, len(dataset.class_names))
    val = validation_loader(dataset, options)
    fixed = options.fixed() | (tuning.fixed if tuning else {})
    with owned_folder(options):
        check_last(options)
        distiller = tuning.distiller if tuning else _distiller(net, dataset.class_names, options)
        if options.init is not None and not options.resume:
            read_weights(options.init)  # a file that cannot be read is told now, before the pictures are read
        samples, pictures = open_training_set(dataset, options)
        report = None if tuning else _take_weights(net, samples, pictures, options)
        task = _task(net, distiller, samples, pictures, options)
        fixed |= fixed_by_data(dataset.class_names, samples)
        saved = read_last(task, options, fixed)
        read_sets(test, options.val)
        run = _run(options, tuning, fixed, saved)
        _write_report(report, options)
        with quiet():
            trainer = _trainer(options, run)
        _fit(trainer, task, samples, pictures, val=val, saved=saved, options=options)
        if not trainer.is_global_zero:
            return None
        spec = _spec(dataset, options, run["origins"])
        _write(task, spec, pictures, options, tuning)
        return spec


def _fit(
    trainer: L.Trainer,
    task: SegmentationTask,
    samples: TrainingSet,
    pictures: Pictures,
    *,
    val: DataLoader[tuple[Tensor, Tensor]] | None,
    saved: dict[str, Any] | None,
    options: TrainOptions,
) -> None:
    """Train `task` from where `saved` ends to the end of the schedule."""
    sampler = epoch_sampler(samples, trainer, options)
    if saved is not None and saved["global_step"] >= sampler.steps * options.recipe.schedule.epochs:
        task.load_state_dict(saved["state_dict"])  # the averaged weights of a run that had only its end left
        return
    sampler.go_on_from(saved["global_step"] if saved else 0)
    with quiet():
        loader = training_loader(samples, sampler, pictures, options)
        trainer.fit(task, loader, val, ckpt_path=options.last if saved else None, weights_only=True)


def _write_report(report: InitReport | None, options: TrainOptions) -> None:
    """What became of --init's tensors, by the first process alone: of another the folder may not be there yet."""
    if report is not None and is_first_process():
        write_whole(options.run_dir / "init.txt", report.text().encode())


def _write(
    task: SegmentationTask, spec: ModelSpec, pictures: Pictures, options: TrainOptions, tuning: Tuning | None
) -> None:
    if tuning is not None:
        tuning.write(spec)
        return
    net, weights = task.net, task.objective.weights
    assert isinstance(net, SegmentationNet)  # which all are that no `tuning` brings
    finish_net(net, pictures.images, weights if isinstance(weights, Tensor) else None, options.recipe)
    write_checkpoint(options.out, options.arch, spec, net)


def _run(
    options: TrainOptions, tuning: Tuning | None, fixed: dict[str, object], saved: dict[str, Any] | None
) -> dict[str, Any]:
    """What checkpoints hold of the run, for those who resume it: one that was resumed keeps what it began with."""
    if saved is not None:
        begun: dict[str, Any] = saved[RUN]
        return begun | {"options": begun["options"] | fixed}
    return {"options": options.first_weights() | fixed, "origins": _origins(options, tuning)}


def _origins(options: TrainOptions, tuning: Tuning | None) -> list[tuple[str, str]]:
    owed = origins(options.init, options.encoder_weights, options.teacher)
    return owed if tuning is None else [*tuning.owed, *owed]


def _check_processes(options: TrainOptions) -> None:
    if options.recipe.schedule.batch % options.processes:
        raise DataError(
            f"A batch of {options.recipe.schedule.batch} cannot be shared by {options.processes} processes evenly. "
            f"Choose a --batch that {options.processes} divides."
        )
    if options.on_gpu and options.devices > torch.cuda.device_count():
        raise DataError(f"--devices {options.devices}: this machine has {torch.cuda.device_count()} GPUs.")
    # Without a port Lightning picks a free one on each machine, and they never meet.
    missing = [name for name in MEETING if name not in os.environ] if options.nodes > 1 else []
    if missing:
        raise DataError(
            f"--nodes {options.nodes}: {' and '.join(missing)} must be set on each machine, such as NODE_RANK=0 on the "
            "first, MASTER_ADDR=10.0.0.1, the first one's address, and MASTER_PORT=29500, a port that is free there."
        )


def _new_net(options: TrainOptions, classes: int) -> SegmentationNet:
    """The net before it takes the weights of --init, whose file has to be there."""
    if options.init is not None:
        find_model(str(options.init))
    return build_model(options.arch, classes, weights="random" if options.resume else options.encoder_weights)


def _take_weights(
    net: TrainableNet, samples: TrainingSet, pictures: Pictures, options: TrainOptions
) -> InitReport | None:
    """Give the net what it begins with; that of a run to resume gets its weights later."""
    assert isinstance(net, SegmentationNet)  # which all are that no `tuning` brings
    weights, init = ("random", None) if options.resume else (options.encoder_weights, options.init)
    batches = first_batches(samples, pictures, options.recipe.schedule.batch) if init else []
    return take_weights(net, options.arch, batches, weights=weights, init=init, freeze=options.freeze)


def _distiller(net: TrainableNet, classes: tuple[str, ...], options: TrainOptions) -> nn.Module | None:
    if options.teacher is None:
        return None
    assert isinstance(net, SegmentationNet)  # which all are that no `tuning` brings
    return make_distiller(net, options.teacher, classes, options.recipe.distillation)


def _task(
    net: TrainableNet, distiller: nn.Module | None, samples: TrainingSet, pictures: Pictures, options: TrainOptions
) -> SegmentationTask:
    recipe = options.recipe
    if not recipe.loss.aux and isinstance(net, SegmentationNet):
        net.aux_heads.requires_grad_(False)
    suit_devices(net, on_gpu=options.on_gpu, bf16=options.use_bf16, processes=options.processes)
    objective = Objective(recipe.loss, weights_of_classes(samples, recipe.loss, net.classes))

    def make_samples(drawn: list[Drawn], device: torch.device) -> tuple[Tensor, Tensor]:
        return pictures.to(device).batch(drawn)

    task = SegmentationTask(
        net, objective, recipe.schedule, seed=options.seed, make_samples=make_samples, distiller=distiller
    )
    if options.compile:
        task.features = torch.compile(net.features)
    return task


def _trainer(options: TrainOptions, run: dict[str, Any]) -> L.Trainer:
    schedule = options.recipe.schedule
    # Lightning copies the net for its average while that is still on the CPU; "cuda" is this process's own GPU.
    device = "cuda" if options.on_gpu else None
    average = WeightAveraging(device, multi_avg_fn=moving_average(schedule.ema))
    shown = RunBar() if sys.stderr.isatty() else EpochLines()
    return L.Trainer(
        accelerator="gpu" if options.on_gpu else "cpu",
        devices=options.devices,
        num_nodes=options.nodes,
        strategy="ddp" if options.processes > 1 else "auto",
        use_distributed_sampler=False,
        max_epochs=schedule.epochs,
        precision="bf16-mixed" if options.use_bf16 else "32-true",
        callbacks=[shown, average, LastCheckpoint(options.last, run)],
        plugins=[WholeFiles()],
        enable_checkpointing=False,
        logger=TensorBoardLogger(options.run_dir, name="", version="tensorboard"),
        default_root_dir=options.run_dir,
        enable_progress_bar=sys.stderr.isatty(),
        enable_model_summary=False,
        check_val_every_n_epoch=min(VALIDATE_EVERY, schedule.epochs),
        num_sanity_val_steps=0,
        limit_val_batches=None if options.val else 0,
        log_every_n_steps=1,
    )


def _spec(dataset: Dataset, options: TrainOptions, owed: list[tuple[str, str]]) -> ModelSpec:
    """The spec of the trained net: it owes to its first weights' and its teacher's data and licence too."""
    drive_only = isinstance(dataset, Drive)
    sources = [] if drive_only else [dataset.name]
    sources += ["drive frames"] if drive_only or options.recipe.samples.drive_share else []
    sources += [name for name in dict(owed) if name not in sources]
    licence = join_licences([dataset.licence, *(licence for _, licence in owed)])
    trained_on = " and ".join(sources)
    return ModelSpec(options.arch, dataset.classes, options.width, options.height, trained_on, licence=licence)
