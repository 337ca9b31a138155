"""Samples: every choice a function of seed, epoch and index, in any process, on any device."""

import dataclasses

import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader

from edge_seg.data.drive import Drive
from edge_seg.recipe import Samples
from edge_seg.training.samples import Drawn, EpochSampler, Pictures, TrainingSet
from edge_seg.types import VOID

FRAMES = [Drive(seed, 96, 72, 4)[0] for seed in range(3)]
PICTURES = Pictures(FRAMES, (96, 72))


def training_set(seed: int = 1) -> TrainingSet:
    """Three given frames and two drive frames."""
    truths = list(PICTURES.truths.numpy())
    return TrainingSet(truths, Samples(rare=0.5, elastic=0.5, mix=0.5), drive_count=2, size=(96, 72), seed=seed)


def epoch_of(sampler: EpochSampler, epoch: int) -> list[int]:
    """The keys of an epoch."""
    sampler.set_epoch(epoch)
    return list(sampler)


def test_a_sampler_shows_every_sample_once_an_epoch_and_in_another_order_the_next() -> None:
    orders = [[key - 5 * epoch for key in epoch_of(EpochSampler(5, seed=1), epoch)] for epoch in range(3)]

    assert [sorted(order) for order in orders] == [[0, 1, 2, 3, 4]] * 3
    assert len({tuple(order) for order in orders}) > 1


def test_an_epoch_ends_with_its_last_whole_batch() -> None:
    assert len(EpochSampler(11, seed=1, batch=4)) == len(list(EpochSampler(11, seed=1, batch=4))) == 8


def test_processes_share_each_batch_evenly_and_leave_nothing_out() -> None:
    alone = epoch_of(EpochSampler(11, seed=1, batch=4), 2)
    first, second = (epoch_of(EpochSampler(11, 1, 4, rank=rank, processes=2), 2) for rank in (0, 1))

    for step in range(2):
        of_both = first[2 * step : 2 * step + 2] + second[2 * step : 2 * step + 2]
        assert sorted(of_both) == sorted(alone[4 * step : 4 * step + 4])


@pytest.mark.parametrize("step", range(6))
def test_a_sampler_goes_on_from_any_step(step: int) -> None:
    keys = [key for epoch in range(3) for key in epoch_of(EpochSampler(9, 1, 4), epoch)]

    sampler = EpochSampler(9, 1, 4)
    sampler.go_on_from(step)
    left = [key for epoch in range(step // 2, 3) for key in epoch_of(sampler, epoch)]

    assert left == keys[4 * step :]


def test_a_key_alone_fixes_a_sample() -> None:
    first, again, next_epoch, other_seed = (
        PICTURES.batch([samples[key]])
        for samples, key in [(training_set(), 3), (training_set(), 3), (training_set(), 8), (training_set(2), 3)]
    )

    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], next_epoch[0])
    assert not torch.equal(first[0], other_seed[0])


def test_samples_made_in_a_worker_and_samples_made_later_are_equal() -> None:
    sampler = EpochSampler(5, seed=1, batch=5)
    in_worker = DataLoader(training_set(), 5, sampler=sampler, num_workers=1, collate_fn=PICTURES.batch)
    drawn_only = DataLoader(training_set(), 5, sampler=sampler, collate_fn=list)

    (images, truths), drawn = next(iter(in_worker)), next(iter(drawn_only))

    assert all(isinstance(sample, Drawn) for sample in drawn)
    later = PICTURES.to(torch.device("cpu")).batch(drawn)
    assert torch.equal(images, later[0])
    assert torch.equal(truths, later[1])


def test_a_sample_is_bytes_of_the_asked_size() -> None:
    images, truths = PICTURES.batch([training_set()[key] for key in range(10)])

    assert (images.shape, images.dtype) == ((10, 3, 72, 96), torch.uint8)
    assert (truths.shape, truths.dtype) == ((10, 72, 96), torch.uint8)
    assert set(truths.unique().tolist()) <= {*range(11), VOID}


def test_a_mixed_sample_is_one_view_with_half_the_classes_of_another_on_it() -> None:
    samples = TrainingSet(list(PICTURES.truths.numpy()), Samples(mix=1.0), drive_count=2, size=(96, 72), seed=1)

    for key in range(10):
        mixed = samples[key]
        assert mixed.pasted is not None
        below, above = dataclasses.replace(mixed, pasted=None, classes=()), mixed.pasted
        images, truths = PICTURES.batch([mixed, below, above])
        covered = torch.isin(truths[2], torch.tensor(mixed.classes))
        for mine, under, over in (images, truths):
            assert torch.equal(mine, torch.where(covered, over, under))
    assert any(samples[key].classes != samples[key + 5].classes for key in range(5))


def test_drive_frames_alone_are_counted_too() -> None:
    samples = TrainingSet([], Samples(), drive_count=4, size=(96, 72), seed=1)

    assert samples.pixels[:11].sum() == samples.pixels.sum() == 64 * 96 * 72
    assert samples.rare
    assert (samples.where_present >= samples.pixels).all()


def test_a_task_makes_samples_that_are_only_drawn_where_the_net_is() -> None:
    pytest.importorskip("lightning")
    from edge_seg.models import build_model
    from edge_seg.recipe import Loss, Schedule
    from edge_seg.training.objective import Objective
    from edge_seg.training.task import SegmentationTask

    def make_samples(drawn: list[Drawn], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        return PICTURES.to(device).batch(drawn)

    net, device = build_model("edge-seg-n", 11), torch.device("cpu")
    task = SegmentationTask(net, Objective(Loss(), None), Schedule(), make_samples=make_samples)
    drawn = [training_set()[key] for key in range(3)]

    images, truths = task.transfer_batch_to_device(drawn, device, 0)
    expected = PICTURES.batch(drawn)

    assert torch.equal(images, expected[0])
    assert torch.equal(truths, expected[1])
    as_it_is = task.transfer_batch_to_device(expected, device, 0)
    assert torch.equal(as_it_is[0], expected[0])
