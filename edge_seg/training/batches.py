"""The samples of a training: which there are, how much their classes weigh, and in which order they come."""

import sys
import zlib
from collections.abc import Sequence

import lightning as L
from torch import Tensor
from torch.utils.data import DataLoader

from edge_seg.data import Drive, open_dataset
from edge_seg.data.checks import check_files, count_files
from edge_seg.errors import DataError
from edge_seg.evaluate import check_classes
from edge_seg.recipe import Loss
from edge_seg.training.folder import is_first_of_machine, is_first_process
from edge_seg.training.objective import class_weights
from edge_seg.training.options import TrainOptions
from edge_seg.training.samples import Drawn, EpochSampler, LabelledSet, Pictures, TrainingSet
from edge_seg.types import Dataset, Frame


def open_training_set(dataset: Dataset, options: TrainOptions) -> tuple[TrainingSet, Pictures]:
    """The samples and their pictures in memory; drive frames are rendered anew for every sample.

    DataError, before a picture is read, for fewer samples than a batch has, and where the recipe's drive frames have
    other classes; and where no pixel of the pictures has a class. Classes that none has are told on stderr.
    """
    frames: Sequence[Frame] | Dataset = [] if isinstance(dataset, Drive) else dataset
    share, batch = options.recipe.samples.drive_share, options.recipe.schedule.batch
    if share and dataset.class_names != Drive.class_names:
        raise DataError(
            f"The recipe mixes in drive frames (drive_share {share:g}), which have CamVid's classes; those of "
            f"{dataset.name} are others. Type --drive-share 0."
        )
    drive_count = round(len(frames) * share / (1 - share)) if frames else len(dataset)
    if len(frames) + drive_count < batch:
        raise DataError(f"{dataset.name} gives {len(frames) + drive_count} samples, fewer than one batch of {batch}.")
    _tell_reading(dataset)
    pictures = Pictures(frames, options.size)
    truths = list(pictures.truths.numpy())
    samples = TrainingSet(truths, options.recipe.samples, drive_count=drive_count, size=options.size, seed=options.seed)
    if truths:
        _check_labels(dataset, samples, options)
    return samples, pictures


def _check_labels(dataset: Dataset, samples: TrainingSet, options: TrainOptions) -> None:
    names = dataset.class_names
    missing = [name for name, pixels in zip(names, samples.pixels.tolist(), strict=False) if not pixels]
    scheme, _, location = options.data.partition(":")
    has_void = samples.pixels.sum() < sum(truth.size for truth in samples.truths)
    # 255 is void in a folder: of two classes in 0 and 255 all that is left is the first.
    is_mask = scheme == "folder" and len(names) == 2 and has_void
    hint = f" If 255 marks an object there, and not what is no class, type --data mask:{location}" if is_mask else ""
    if len(missing) == len(names):
        advice = hint.strip() or "Check that they hold the colours or the row numbers of its classes."
        raise DataError(f"No pixel of {dataset.name} has a class: its labels are void throughout. {advice}")
    if missing and is_first_process():
        print(f"No pixel of {dataset.name} shows {', '.join(missing)}.{hint}", file=sys.stderr, flush=True)


def _tell_reading(dataset: Dataset) -> None:
    count = count_files(dataset)
    if count and is_first_of_machine():
        print(f"Reading the {count} pictures of {dataset.name} and their labels.", file=sys.stderr, flush=True)


def fixed_by_data(class_names: tuple[str, ...], samples: TrainingSet) -> dict[str, object]:
    """What the data of a run and of its resumed rest must have in common, by the names that errors tell."""
    # How many pixels each class has is counted already, and hardly two sets of pictures agree in it.
    labels = f"of checksum {zlib.crc32(str(samples.pixels.tolist()).encode()):08x}" if samples.truths else "rendered"
    return {"classes": ", ".join(class_names), "samples": len(samples), "labels": labels}


def weights_of_classes(samples: TrainingSet, settings: Loss, classes: int) -> Tensor | None:
    """Weights [C] of the classes in the loss, by how often the pictures show them, or drive frames without any."""
    return class_weights(settings, samples.pixels[:classes], samples.where_present[:classes])


def epoch_sampler(samples: TrainingSet, trainer: L.Trainer, options: TrainOptions) -> EpochSampler:
    """The order of the samples in this process of the trainer's."""
    batch, processes = options.recipe.schedule.batch, trainer.world_size
    return EpochSampler(len(samples), options.seed, batch, rank=trainer.global_rank, processes=processes)


def training_loader(
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


def validation_loader(dataset: Dataset, options: TrainOptions) -> DataLoader[tuple[Tensor, Tensor]] | None:
    """The set that is watched, in batches; DataError for other classes than the training set's."""
    if options.val is None:
        return None
    watched, advice = open_dataset(options.val), "Give a --val of the same classes, or none."
    check_classes(dataset.class_names, watched.class_names, watched.name, whose="the training set", advice=advice)
    return DataLoader(LabelledSet(watched, options.size), batch_size=options.recipe.schedule.batch)


def read_sets(*uris: str | None) -> None:
    """Read what a training judges itself on, each set once, and say so; DataError for a file that cannot be used.

    The first process of a machine does so before it starts the others, so that none is left waiting by an error. A run
    that is resumed reads again: its sets may be others now.
    """
    if not is_first_of_machine():
        return
    for uri in dict.fromkeys(uri for uri in uris if uri is not None):
        dataset = open_dataset(uri)
        _tell_reading(dataset)
        check_files(dataset)
