"""What a recipe does to a trained net before it is written: statistics of unaltered pictures, lighter rare classes."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from torch import nn

from edge_seg.checkpoint import read_checkpoint
from edge_seg.data import open_dataset
from edge_seg.models import build_model
from edge_seg.models.deploy import normalise
from edge_seg.recipe import Loss, Recipe
from edge_seg.train import train
from edge_seg.training.batches import open_training_set, weights_of_classes
from edge_seg.training.finish import BATCH, MOST_BATCHES, finish_net, use_clean_statistics
from edge_seg.training.options import TrainOptions

ShortRun = Callable[..., TrainOptions]
PARTS = ("running_mean", "running_var")


def with_recipe(options: TrainOptions, **tables: dict[str, float]) -> TrainOptions:
    """The run with other fields in its recipe."""
    changed = {name: dataclasses.replace(getattr(options.recipe, name), **fields) for name, fields in tables.items()}
    return dataclasses.replace(options, recipe=dataclasses.replace(options.recipe, **changed))


@pytest.fixture
def finished(short_run: ShortRun, tmp_path: Path) -> TrainOptions:
    """A short run whose net forgets half of the class weights and has half of its statistics of clean pictures."""
    options = short_run(tmp_path / "finished")
    return with_recipe(options, loss={"logit_adjustment": 0.5}, schedule={"clean_statistics": 0.5})


@pytest.fixture
def pictures() -> torch.Tensor:
    """Twelve drive frames as bytes, [12, 3, 72, 96]."""
    frames = open_dataset("drive:frames=12,size=96x72")
    return torch.stack([torch.from_numpy(frame.image).permute(2, 0, 1) for frame in frames])


def test_the_biases_of_the_head_are_all_that_an_adjustment_moves(short_run: ShortRun, tmp_path: Path) -> None:
    plain = short_run(tmp_path / "plain")
    adjusted = with_recipe(short_run(tmp_path / "adjusted"), loss={"logit_adjustment": 0.5})
    for options in (plain, adjusted):
        train(options)

    before, after = (read_checkpoint(options.out)[2].state_dict() for options in (plain, adjusted))
    weights = weights_of_classes(open_training_set(open_dataset(plain.data), plain)[0], Loss(), 11)
    assert weights is not None
    expected = before.pop("head.bias") - 0.5 * weights.log()
    torch.testing.assert_close(after["head.bias"], expected, rtol=0, atol=1e-5)
    assert all(torch.equal(values, after[name]) for name, values in before.items())


def test_a_finished_run_that_is_resumed_is_finished_once(finished: TrainOptions) -> None:
    train(finished)
    once = read_checkpoint(finished.out)[2].state_dict()

    train(dataclasses.replace(finished, resume=True))

    again = read_checkpoint(finished.out)[2].state_dict()
    assert all(torch.equal(values, again[name]) for name, values in once.items())


def test_all_of_clean_statistics_are_those_of_training_mode(pictures: torch.Tensor) -> None:
    """Of one batch: what PyTorch's own BatchNorm keeps of it in training mode, each layer seeing those before it so."""
    few = pictures[:BATCH]
    torch.manual_seed(1)
    net = build_model("edge-seg-n", 11)
    reference = build_model("edge-seg-n", 11)
    reference.load_state_dict(net.state_dict())
    for part in reference.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
    reference.train()(normalise(few))

    use_clean_statistics(net.eval(), few, 1.0)

    expected = reference.state_dict()
    for name, values in net.state_dict().items():
        if name.endswith(PARTS):
            torch.testing.assert_close(values, expected[name], rtol=1e-4, atol=1e-5)
        elif not name.endswith("num_batches_tracked"):
            assert torch.equal(values, expected[name])


def test_a_share_of_the_statistics_lies_between(pictures: torch.Tensor) -> None:
    net = build_model("edge-seg-n", 11).eval()
    before = {name: values.clone() for name, values in net.state_dict().items()}
    whole = build_model("edge-seg-n", 11).eval()
    whole.load_state_dict(before)
    use_clean_statistics(whole, pictures, 1.0)

    use_clean_statistics(net, pictures, 0.25)

    clean = whole.state_dict()
    moved = [name for name in before if name.endswith(PARTS)]
    assert moved
    for name in moved:
        expected = 0.75 * before[name] + 0.25 * clean[name]
        torch.testing.assert_close(net.state_dict()[name], expected)
        assert not torch.equal(before[name], clean[name])
    assert not net.training


def test_a_frozen_encoder_keeps_its_statistics(pictures: torch.Tensor) -> None:
    net = build_model("edge-seg-n", 11)
    net.freeze_encoder()
    kept = {name: values.clone() for part in net.encoder_parts() for name, values in part.state_dict().items()}

    use_clean_statistics(net, pictures, 0.5)

    now = {name: values for part in net.encoder_parts() for name, values in part.state_dict().items()}
    assert all(torch.equal(values, now[name]) for name, values in kept.items())
    assert net.smooth4[1].running_mean.abs().max() > 0


def test_pictures_are_spread_over_a_large_set() -> None:
    """As many as count, and from its end too: the first of a film would look alike."""
    seen: list[float] = []

    class Watched(nn.Module):
        def features(self, x: torch.Tensor) -> torch.Tensor:
            seen.extend((x[:, 0, 0, 0] * 64 + 128).tolist())
            return self.norm(x)  # type: ignore[no-any-return]

    net = Watched()
    net.norm = nn.BatchNorm2d(3)
    count = 2 * BATCH * MOST_BATCHES
    images = (torch.arange(count) * 255 // count).to(torch.uint8)[:, None, None, None].expand(count, 3, 2, 2)

    use_clean_statistics(net, images, 1.0)  # type: ignore[arg-type]

    assert len(seen) == BATCH * MOST_BATCHES
    assert min(seen) < 2
    assert max(seen) > 252
    for first in range(0, len(seen), BATCH):
        assert max(seen[first : first + BATCH]) - min(seen[first : first + BATCH]) > 200


def test_drive_frames_alone_have_no_pictures_to_go_by() -> None:
    net = build_model("edge-seg-n", 11)
    before = {name: values.clone() for name, values in net.state_dict().items()}
    schedule = dataclasses.replace(Recipe().schedule, clean_statistics=0.5)

    finish_net(net, torch.empty(0, 3, 72, 96, dtype=torch.uint8), None, Recipe(schedule=schedule))

    assert all(torch.equal(values, net.state_dict()[name]) for name, values in before.items())
