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
def run(short_run: ShortRun, write_camvid: Callable[..., None], tmp_path: Path) -> ShortRun:
    """The options of a short run on pictures, with changes in its recipe; its net lies in a folder of that name."""
    write_camvid(tmp_path / "camvid", "train", names="abcdefghijklmnopqrs")

    def options(name: str, **tables: dict[str, float]) -> TrainOptions:
        return with_recipe(short_run(tmp_path / name, data=f"camvid:{tmp_path / 'camvid'}"), **tables)

    return options


@pytest.fixture
def pictures() -> torch.Tensor:
    """Two batches of drive frames as bytes, [16, 3, 72, 96]."""
    frames = open_dataset(f"drive:frames={2 * BATCH},size=96x72")
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


def test_the_statistics_are_all_that_clean_pictures_move(run: ShortRun) -> None:
    plain, clean = run("plain"), run("clean", schedule={"clean_statistics": 0.5})
    for options in (plain, clean):
        train(options)

    expected = read_checkpoint(plain.out)[2]
    before = {name: values.clone() for name, values in expected.state_dict().items()}
    images = open_training_set(open_dataset(plain.data), plain)[1].images
    use_clean_statistics(expected, images, 0.5)
    after = read_checkpoint(clean.out)[2].state_dict()
    for name, values in expected.state_dict().items():
        torch.testing.assert_close(after[name], values)
        assert torch.equal(before[name], after[name]) != name.endswith(PARTS), name


def test_a_finished_run_that_is_resumed_is_finished_once(run: ShortRun) -> None:
    finished = run("finished", loss={"logit_adjustment": 0.5}, schedule={"clean_statistics": 0.5})
    train(finished)
    once = read_checkpoint(finished.out)[2].state_dict()

    train(dataclasses.replace(finished, resume=True))

    again = read_checkpoint(finished.out)[2].state_dict()
    assert all(torch.equal(values, again[name]) for name, values in once.items())


def test_all_of_clean_statistics_are_those_of_training_mode(pictures: torch.Tensor) -> None:
    """The mean over two batches of what PyTorch's own BatchNorm keeps of each, each layer seeing those before it so."""
    torch.manual_seed(1)
    net, reference = build_model("edge-seg-n", 11), build_model("edge-seg-n", 11)
    reference.load_state_dict(net.state_dict())
    for part in reference.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None  # an even mean over the batches
    for first in range(2):
        reference.train()(normalise(pictures[first::2]))

    use_clean_statistics(net.eval(), pictures, 1.0)

    expected = reference.state_dict()
    for name, values in net.state_dict().items():
        if name.endswith(PARTS):
            torch.testing.assert_close(values, expected[name], rtol=1e-4, atol=1e-5)
        elif not name.endswith("num_batches_tracked"):
            assert torch.equal(values, expected[name])
    assert not net.training


def test_a_share_of_the_statistics_lies_between(pictures: torch.Tensor) -> None:
    net, whole = build_model("edge-seg-n", 11), build_model("edge-seg-n", 11)
    before = {name: values.clone() for name, values in net.state_dict().items()}
    whole.load_state_dict(before)
    use_clean_statistics(whole, pictures, 1.0)

    use_clean_statistics(net, pictures, 0.25)

    clean = whole.state_dict()
    for name in (name for name in before if name.endswith(PARTS)):
        torch.testing.assert_close(net.state_dict()[name], 0.75 * before[name] + 0.25 * clean[name])
        assert not torch.equal(before[name], clean[name])


class Norms(nn.Module):
    """Norms of which one works twice on a picture, and one never."""

    encoder_frozen = False

    def __init__(self) -> None:
        super().__init__()
        self.planes, self.lines, self.unused = nn.BatchNorm2d(3), nn.BatchNorm1d(3), nn.BatchNorm2d(3)
        self.seen: list[float] = []

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """What the two norms make of the pictures."""
        self.seen.extend((x[:, 0, 0, 0] * 64 + 128).tolist())
        return self.lines(self.planes(self.planes(x)).flatten(2))  # type: ignore[no-any-return]


def test_norms_that_work_twice_never_or_on_lines(pictures: torch.Tensor) -> None:
    net = Norms()

    use_clean_statistics(net, pictures[:BATCH], 1.0)  # type: ignore[arg-type]

    x = normalise(pictures[:BATCH]).transpose(0, 1).flatten(1)
    first, second = x.mean(1), torch.zeros(3)  # its second input is its own output
    torch.testing.assert_close(net.planes.running_mean, (first + second) / 2, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net.lines.running_var, torch.ones(3), rtol=1e-2, atol=0)
    assert torch.equal(net.unused.running_var, torch.ones(3))


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
    net, count = Norms(), 2 * BATCH * MOST_BATCHES
    images = (torch.arange(count) * 255 // count).to(torch.uint8)[:, None, None, None].expand(count, 3, 2, 2)

    use_clean_statistics(net, images, 1.0)  # type: ignore[arg-type]

    assert len(net.seen) == BATCH * MOST_BATCHES
    assert min(net.seen) < 2
    assert max(net.seen) > 252
    for first in range(0, len(net.seen), BATCH):
        assert max(net.seen[first : first + BATCH]) - min(net.seen[first : first + BATCH]) > 200


def test_drive_frames_alone_have_no_pictures_to_go_by() -> None:
    net = build_model("edge-seg-n", 11)
    before = {name: values.clone() for name, values in net.state_dict().items()}
    schedule = dataclasses.replace(Recipe().schedule, clean_statistics=0.5)

    finish_net(net, torch.empty(0, 3, 72, 96, dtype=torch.uint8), None, Recipe(schedule=schedule))

    assert all(torch.equal(values, net.state_dict()[name]) for name, values in before.items())
