"""Logit adjustment: the kept net forgets a share of the weights that its loss gave the classes, and nothing else."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from edge_seg.checkpoint import read_checkpoint
from edge_seg.data import open_dataset
from edge_seg.recipe import Loss
from edge_seg.train import train
from edge_seg.training.batches import open_training_set, weights_of_classes
from edge_seg.training.options import TrainOptions

ShortRun = Callable[..., TrainOptions]


@pytest.fixture
def adjusted(short_run: ShortRun, tmp_path: Path) -> TrainOptions:
    """A short run whose net forgets half of the class weights."""
    options = short_run(tmp_path / "adjusted")
    return dataclasses.replace(options, recipe=dataclasses.replace(options.recipe, loss=Loss(logit_adjustment=0.5)))


def test_the_biases_of_the_head_are_all_that_moves(short_run: ShortRun, tmp_path: Path, adjusted: TrainOptions) -> None:
    plain = short_run(tmp_path / "plain")
    for options in (plain, adjusted):
        train(options)

    before, after = (read_checkpoint(options.out)[2].state_dict() for options in (plain, adjusted))
    weights = weights_of_classes(open_training_set(open_dataset(plain.data), plain)[0], Loss(), 11)
    assert weights is not None
    expected = before.pop("head.bias") - 0.5 * weights.log()
    torch.testing.assert_close(after["head.bias"], expected, rtol=0, atol=1e-5)
    assert all(torch.equal(values, after[name]) for name, values in before.items())


def test_a_finished_run_that_is_resumed_is_adjusted_once(adjusted: TrainOptions) -> None:
    train(adjusted)
    once = read_checkpoint(adjusted.out)[2].state_dict()

    train(dataclasses.replace(adjusted, resume=True))

    again = read_checkpoint(adjusted.out)[2].state_dict()
    assert all(torch.equal(values, again[name]) for name, values in once.items())
