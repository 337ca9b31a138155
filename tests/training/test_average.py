"""The average of the weights: near the net from the first steps on, smooth later, exact where nothing changes."""

import pytest

torch = pytest.importorskip("torch")

from torch.optim.swa_utils import AveragedModel

from edge_seg.training.average import moving_average, share_kept


def test_the_weights_of_chance_are_soon_forgotten() -> None:
    net = torch.nn.Linear(1, 1, bias=False)
    averaged = AveragedModel(net, multi_avg_fn=moving_average(0.999))
    net.weight.data.fill_(100.0)
    averaged.update_parameters(net)
    net.weight.data.fill_(1.0)
    for _ in range(100):
        averaged.update_parameters(net)

    assert float(averaged.module.weight.detach()) == pytest.approx(1.0, abs=1e-3)


def test_later_it_is_the_plain_moving_average() -> None:
    kept, current = [torch.tensor([1.0, 2.0])], [torch.tensor([3.0, -2.0])]

    moving_average(0.99)(kept, current, torch.tensor(10**6))

    torch.testing.assert_close(kept[0], torch.tensor([0.99 * 1 + 0.01 * 3, 0.99 * 2 - 0.01 * 2]))


@pytest.mark.parametrize("averaged", [1, 5, 100, 10**6])
def test_equal_tensors_stay_bit_for_bit(averaged: int) -> None:
    values = torch.randn(1000, generator=torch.Generator().manual_seed(1))
    kept = [values.clone()]

    moving_average(0.999)(kept, [values], torch.tensor(averaged))

    assert torch.equal(kept[0], values)


def test_counters_are_taken_over() -> None:
    kept = [torch.tensor(3)]

    moving_average(0.9)(kept, [torch.tensor(7)], torch.tensor(100))

    assert kept == [torch.tensor(7)]


def test_no_average_at_all_keeps_the_last_net() -> None:
    assert share_kept(0.0, 1) == share_kept(0.0, 10**6) == 0.0
