"""Training on Lightning: a fixed schedule, resumable, ending in a checkpoint that carries its own spec."""

import dataclasses
import functools
import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader

from edge_seg.checkpoint import read_checkpoint, write_checkpoint
from edge_seg.data import Drive, open_dataset
from edge_seg.data.training_set import Drawn, EpochSampler, LabelledSet, Pictures, TrainingSet, at_size
from edge_seg.errors import DataError, SinkError
from edge_seg.evaluate import Scores, check_classes, evaluate
from edge_seg.malloc import keep_freed_memory
from edge_seg.models import EdgeSeg, build_model
from edge_seg.objective import Objective, class_weights
from edge_seg.recipe import Recipe
from edge_seg.segmenter import open_segmenter
from edge_seg.spec import ModelSpec
from edge_seg.task import SegmentationTask
from edge_seg.types import Dataset

VALIDATE_EVERY = 10
SAVE_EVERY = timedelta(minutes=1)
PRECISIONS = ("auto", "bf16", "fp32")


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What `train` needs: where the data is, and the schedule, which is fixed before the first step."""

    data: str
    out: Path
    run_dir: Path
    arch: str = "edge-seg-s"
    width: int = 480
    height: int = 360
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 1
    workers: int = 1
    precision: str = "auto"
    val: str | None = None
    init: Path | None = None
    resume: bool = False
    compile: bool = False
    devices: int = 1
    nodes: int = 1

    @property
    def on_gpu(self) -> bool:
        """Whether CUDA's devices train, where there are any."""
        return torch.cuda.is_available()

    @property
    def processes(self) -> int:
        """How many processes train together."""
        return self.devices * self.nodes

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures that the net is trained on."""
        return self.width, self.height

    @property
    def last(self) -> Path:
        """The checkpoint that `resume` goes on from."""
        return self.run_dir / "last.ckpt"


class EpochLines(Callback):
    """A plain line per epoch, for logs and pipes."""

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        values = {name: f"{float(value):.4g}" for name, value in sorted(trainer.callback_metrics.items())}
        print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs} {values}", file=sys.stderr, flush=True)


def train_and_evaluate(options: TrainOptions, test: str) -> Scores | None:
    """Train, evaluate the checkpoint on the data set `test`, and write the mIoU into its spec.

    None in those of several processes that are not the first: they only help to train.
    """
    dataset, data = open_dataset(test), open_dataset(options.data)
    check_classes(data.class_names, dataset.class_names, dataset.name)
    if train(options) is None:
        return None
    with open_segmenter(options.out, "torch") as segment:
        scores = evaluate(segment, dataset)
    arch, spec, net = read_checkpoint(options.out)
    if scores.miou is not None:
        spec = dataclasses.replace(spec, scores={f"{dataset.name} mIoU": scores.miou})
        write_checkpoint(options.out, arch, spec, net)
    return scores


def default_test(data: str) -> str | None:
    """The set that a training set's nets are judged on; None for one that brings none along.

    >>> [default_test(data) for data in ("camvid:CamVid/train", "drive:frames=400", "folder:mine")]
    ['camvid:CamVid/test', 'drive:seed=1,frames=200', None]
    """
    scheme, _, location = data.partition(":")
    if scheme == "camvid":
        return f"camvid:{location.removesuffix('/train')}/test"
    return "drive:seed=1,frames=200" if scheme == "drive" else None


def train(options: TrainOptions) -> ModelSpec | None:
    """Train by `options`, write the checkpoint to `options.out` and return the spec inside it.

    Of several processes only the first writes and returns anything. Checkpoints for `resume` lie in `options.run_dir`,
    with TensorBoard's logs.
    """
    keep_freed_memory()
    _check_processes(options)
    L.seed_everything(options.seed, verbose=False)
    dataset = open_dataset(options.data)
    samples, pictures = _training_set(dataset, options)
    net = _initial_net(options, len(dataset.class_names))
    val = _validation_data(dataset, options)
    objective = Objective(options.recipe.loss, _class_weights(samples, options, len(dataset.class_names)))
    task = SegmentationTask(net, objective, options.recipe.schedule, pictures)
    if options.compile:
        task.forward_with_aux = torch.compile(net.forward_with_aux)
    saved = _read_last(task, options)
    _check_output(options)
    with _quiet():
        trainer = _trainer(options)
    sampler = _sampler(samples, trainer, options)
    if saved is not None and saved["global_step"] >= sampler.steps * options.recipe.schedule.epochs:
        task.load_state_dict(saved["state_dict"])  # the averaged weights of a run that had only its end left
    else:
        sampler.go_on_from(saved["global_step"] if saved else 0)
        with _quiet():
            loader = _loader(samples, sampler, pictures, options)
            trainer.fit(task, loader, val, ckpt_path=options.last if saved else None, weights_only=True)
    if not trainer.is_global_zero:
        return None
    spec = _spec(dataset, options)
    write_checkpoint(options.out, options.arch, spec, net)
    return spec


def _check_processes(options: TrainOptions) -> None:
    if options.recipe.schedule.batch % options.processes:
        raise DataError(
            f"A batch of {options.recipe.schedule.batch} cannot be shared by {options.processes} processes evenly. "
            f"Choose a --batch that {options.processes} divides."
        )


def _check_output(options: TrainOptions) -> None:
    """Make the folders to write to; SinkError now, not after hours of training, where one cannot be written."""
    for folder in {options.out.parent, options.run_dir}:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise SinkError(f"{folder} cannot be written: {error.strerror}. Choose another --out.") from None


def _read_last(task: SegmentationTask, options: TrainOptions) -> dict[str, Any] | None:
    """The last checkpoint of the run to resume, or None for a new run; DataError where the two do not go together."""
    last = options.last
    if not options.resume:
        if last.is_file():
            raise DataError(f"{last} is of an earlier run. Type --resume to go on with it, or choose another --out.")
        return None
    if not last.is_file():
        raise DataError(f"There is no run to resume in {options.run_dir}. Leave out --resume, or give its --out.")
    try:
        saved: dict[str, Any] = torch.load(last, map_location="cpu", weights_only=True)
        shapes = {name: tensor.shape for name, tensor in saved["state_dict"].items()}
    except Exception as error:  # whatever a damaged file makes of torch.load
        raise DataError(f"{last} is damaged ({type(error).__name__}). Delete it and start again.") from error
    if shapes != {name: tensor.shape for name, tensor in task.state_dict().items()}:
        raise DataError(f"{last} is of another net than {options.arch}. Give the options of the run to resume.")
    return saved


def _initial_net(options: TrainOptions, classes: int) -> EdgeSeg:
    """A fresh net, or that of the checkpoint `init`; DataError where it has another architecture or other classes."""
    if options.init is None:
        return build_model(options.arch, classes)
    arch, spec, net = read_checkpoint(options.init)
    if (arch, len(spec.classes)) != (options.arch, classes):
        found, wanted = f"{arch} with {len(spec.classes)} classes", f"{options.arch} with {classes}"
        raise DataError(f"{options.init} holds {found}, but {wanted} is to be trained. Choose --arch {arch}.")
    return net.train()


def _training_set(dataset: Dataset, options: TrainOptions) -> tuple[TrainingSet, Pictures]:
    """The samples and their pictures in memory; drive frames are rendered anew for every sample."""
    frames = [] if isinstance(dataset, Drive) else [at_size(f, *options.size) for f in dataset]
    share, batch = options.recipe.samples.drive_share, options.recipe.schedule.batch
    if share:
        check_classes(dataset.class_names, Drive.class_names, "the drive frames that drive_share asks for")
    drive_count = len(dataset) if not frames else round(len(frames) * share / (1 - share))
    if len(frames) + drive_count < batch:
        raise DataError(f"{dataset.name} gives {len(frames) + drive_count} samples, fewer than one batch of {batch}.")
    pictures = Pictures(frames, options.size)
    truths = list(pictures.truths.numpy())
    samples = TrainingSet(truths, options.recipe.samples, drive_count=drive_count, size=options.size, seed=options.seed)
    return samples, pictures


def _class_weights(samples: TrainingSet, options: TrainOptions, classes: int) -> Tensor | None:
    pixels, where_present = samples.pixels[:classes], samples.where_present[:classes]
    return class_weights(options.recipe.loss, pixels, where_present)


def _sampler(samples: TrainingSet, trainer: L.Trainer, options: TrainOptions) -> EpochSampler:
    batch, processes = options.recipe.schedule.batch, trainer.world_size
    return EpochSampler(len(samples), options.seed, batch, rank=trainer.global_rank, processes=processes)


def _loader(
    samples: TrainingSet, sampler: EpochSampler, pictures: Pictures, options: TrainOptions
) -> DataLoader[Drawn]:
    """Batches of this process's share; for a GPU they are only drawn here, and made there."""
    return DataLoader(
        samples,
        batch_size=sampler.batch // sampler.processes,
        sampler=sampler,
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
        collate_fn=list if options.on_gpu else pictures.batch,
    )


def _validation_data(dataset: Dataset, options: TrainOptions) -> DataLoader[tuple[Tensor, Tensor]] | None:
    if options.val is None:
        return None
    watched = open_dataset(options.val)
    check_classes(dataset.class_names, watched.class_names, watched.name)
    return DataLoader(LabelledSet(watched, options.size), batch_size=options.recipe.schedule.batch)


def _trainer(options: TrainOptions) -> L.Trainer:
    schedule = options.recipe.schedule
    shown = RichProgressBar(console_kwargs={"stderr": True}) if sys.stderr.isatty() else EpochLines()
    last = functools.partial(ModelCheckpoint, options.run_dir, "last", enable_version_counter=False)
    saved = [last(save_on_train_epoch_end=True), last(train_time_interval=SAVE_EVERY, save_on_exception=True)]
    return L.Trainer(
        accelerator="gpu" if options.on_gpu else "cpu",
        devices=options.devices,
        num_nodes=options.nodes,
        strategy="ddp" if options.processes > 1 else "auto",
        sync_batchnorm=options.on_gpu and options.processes > 1,
        use_distributed_sampler=False,
        max_epochs=schedule.epochs,
        precision="bf16-mixed" if _use_bf16(options.precision) else "32-true",
        callbacks=[shown, *saved, EMAWeightAveraging(decay=schedule.ema)],
        logger=TensorBoardLogger(options.run_dir, name="", version="tensorboard"),
        default_root_dir=options.run_dir,
        enable_progress_bar=sys.stderr.isatty(),
        enable_model_summary=False,
        check_val_every_n_epoch=VALIDATE_EVERY,
        num_sanity_val_steps=0,
        limit_val_batches=None if options.val else 0,
        log_every_n_steps=1,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back Lightning's advice on settings that are as they are on purpose, and its dependencies' deprecations."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PossibleUserWarning)
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        warnings.filterwarnings("ignore", message=".*weights_only.*")
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        yield


def _use_bf16(precision: str) -> bool:
    """bf16 where the hardware multiplies it: emulated, as on an older CPU, it is twice as slow as FP32."""
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return True
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text() if cpuinfo.is_file() else ""
    return "amx_bf16" in flags or "avx512_bf16" in flags


def _spec(dataset: Dataset, options: TrainOptions) -> ModelSpec:
    """The spec of the trained net: it owes to its first weights' data and licence too."""
    drive_only = isinstance(dataset, Drive)
    sources = [] if drive_only else [dataset.name]
    sources += ["drive frames"] if drive_only or options.recipe.samples.drive_share else []
    licence = dataset.licence
    if options.init is not None:
        first = read_checkpoint(options.init)[1]
        sources += [name for name in first.dataset.split(" and ") if name not in sources]
        licence = licence if first.licence == Drive.licence else first.licence
    trained_on = " and ".join(sources)
    return ModelSpec(options.arch, dataset.classes, options.width, options.height, trained_on, licence=licence)
