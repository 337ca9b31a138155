"""Training on Lightning: a fixed schedule, resumable, ending in a checkpoint that carries its own spec."""

import dataclasses
import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint, RichProgressBar, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader

from edge_seg.checkpoint import read_checkpoint, write_checkpoint
from edge_seg.data import Drive, open_dataset
from edge_seg.data.training_set import EpochSampler, LabelledSet, TrainingSet, at_size, count_pixels
from edge_seg.errors import DataError, SinkError
from edge_seg.evaluate import Scores, check_classes, evaluate
from edge_seg.files import write_whole
from edge_seg.init_weights import InitReport
from edge_seg.losses import inverse_log_weights
from edge_seg.malloc import keep_freed_memory
from edge_seg.models import SegmentationNet
from edge_seg.segmenter import open_segmenter
from edge_seg.spec import ModelSpec
from edge_seg.start import join_licences, keeping_average, origins, start_net
from edge_seg.task import SegmentationTask
from edge_seg.types import Dataset

VALIDATE_EVERY = 10
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
    epochs: int = 80
    batch: int = 8
    lr: float = 2e-3
    weight_decay: float = 0.02
    ema_decay: float = 0.998
    drive_share: float = 0.0
    seed: int = 1
    workers: int = 1
    precision: str = "auto"
    val: str | None = None
    init: Path | None = None
    encoder_weights: str = "random"
    freeze: str | None = None
    resume: bool = False

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
        values = {name: f"{float(value):.4f}" for name, value in sorted(trainer.callback_metrics.items())}
        print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs} {values}", file=sys.stderr, flush=True)


def train_and_evaluate(options: TrainOptions, test: str) -> Scores:
    """Train, evaluate the checkpoint on the data set `test`, and write the mIoU into its spec."""
    dataset, data = open_dataset(test), open_dataset(options.data)
    check_classes(data.class_names, dataset.class_names, dataset.name)
    train(options)
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


def train(options: TrainOptions) -> ModelSpec:
    """Train by `options`, write the checkpoint to `options.out` and return the spec inside it.

    Checkpoints for `resume` lie in `options.run_dir`, with TensorBoard's logs.
    """
    keep_freed_memory()
    L.seed_everything(options.seed, verbose=False)
    dataset = open_dataset(options.data)
    loader, class_weights = _training_data(dataset, options)
    net, report = _initial_net(options, len(dataset.class_names), loader)
    val = _validation_data(dataset, options)
    task = SegmentationTask(net, class_weights, lr=options.lr, weight_decay=options.weight_decay)
    saved = _read_last(task, options)
    _check_output(options)
    if report is not None:
        write_whole(options.run_dir / "init.txt", report.text().encode())
    if saved is not None and saved["epoch"] + 1 >= options.epochs:
        task.load_state_dict(saved["state_dict"])  # the averaged weights of a run that had only its end left
    else:
        if saved is not None:  # Lightning tells the sampler too late where worker processes fetch ahead
            loader.sampler.set_epoch(saved["epoch"] + 1)  # type: ignore[attr-defined]
        with _quiet():
            _trainer(options).fit(task, loader, val, ckpt_path=options.last if saved else None, weights_only=True)
    spec = _spec(dataset, options)
    write_checkpoint(options.out, options.arch, spec, net)
    return spec


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


def _initial_net(
    options: TrainOptions, classes: int, loader: DataLoader[tuple[Tensor, Tensor]]
) -> tuple[SegmentationNet, InitReport | None]:
    """The net before its first step; that of a run to resume gets its weights later."""
    first = ("random", None) if options.resume else (options.encoder_weights, options.init)
    return start_net(
        options.arch,
        classes,
        loader.dataset,
        batch=options.batch,
        weights=first[0],
        init=first[1],
        freeze=options.freeze,
    )


def _training_data(dataset: Dataset, options: TrainOptions) -> tuple[DataLoader[tuple[Tensor, Tensor]], Tensor]:
    """Loader and class weights; drive frames are rendered anew for every sample, other frames kept in memory."""
    frames = [] if isinstance(dataset, Drive) else [at_size(f, *options.size) for f in dataset]
    share = options.drive_share
    if share:
        check_classes(dataset.class_names, Drive.class_names, "the drive frames that --drive-share asks for")
    drive_count = len(dataset) if not frames else round(len(frames) * share / (1 - share))
    samples = TrainingSet(frames, drive_count=drive_count, size=options.size, seed=options.seed)
    if len(samples) < options.batch:
        raise DataError(f"{dataset.name} gives {len(samples)} samples, fewer than one batch of {options.batch}.")
    weighed = [f.truth for f in frames if f.truth is not None] or [samples[i][1].numpy() for i in range(64)]
    weights = inverse_log_weights(count_pixels(weighed, len(dataset.class_names)))
    loader = DataLoader(
        samples,
        batch_size=options.batch,
        sampler=EpochSampler(len(samples), options.seed),
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
        drop_last=True,
    )
    return loader, weights


def _validation_data(dataset: Dataset, options: TrainOptions) -> DataLoader[tuple[Tensor, Tensor]] | None:
    if options.val is None:
        return None
    watched = open_dataset(options.val)
    check_classes(dataset.class_names, watched.class_names, watched.name)
    return DataLoader(LabelledSet(watched, options.size), batch_size=options.batch)


def _trainer(options: TrainOptions) -> L.Trainer:
    # A frozen encoder stays as it is, bit for bit, which Lightning's own average rounds away.
    frozen = WeightAveraging(avg_fn=keeping_average(options.ema_decay)) if options.freeze else None
    shown = RichProgressBar(console_kwargs={"stderr": True}) if sys.stderr.isatty() else EpochLines()
    saved = ModelCheckpoint(options.run_dir, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    return L.Trainer(
        max_epochs=options.epochs,
        precision="bf16-mixed" if _use_bf16(options.precision) else "32-true",
        callbacks=[shown, saved, frozen or EMAWeightAveraging(decay=options.ema_decay)],
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
    """bf16 where the hardware multiplies it: emulated, as on a CPU without AMX, it is twice as slow as FP32."""
    if precision != "auto":
        return precision == "bf16"
    cpuinfo = Path("/proc/cpuinfo")
    return torch.cuda.is_available() or (cpuinfo.is_file() and "amx_bf16" in cpuinfo.read_text())


def _spec(dataset: Dataset, options: TrainOptions) -> ModelSpec:
    """The spec of the trained net: it owes to its first weights' data and licence too."""
    drive_only = isinstance(dataset, Drive)
    sources = [] if drive_only else [dataset.name]
    sources += ["drive frames"] if drive_only or options.drive_share else []
    first = origins(options.init, options.encoder_weights)
    sources += [name for name, _ in first if name not in sources]
    licence = join_licences([dataset.licence, *(licence for _, licence in first)])
    trained_on = " and ".join(sources)
    return ModelSpec(options.arch, dataset.classes, options.width, options.height, trained_on, licence=licence)
