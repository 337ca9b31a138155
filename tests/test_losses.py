"""Losses against hand-made values."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edge_seg.losses import cross_entropy, inverse_log_weights
from edge_seg.types import VOID


def test_rare_classes_weigh_more_but_within_bounds() -> None:
    weights = inverse_log_weights(np.array([10_000, 1_000, 10, 0]))

    assert weights.mean() == pytest.approx(1)
    assert weights[0] < weights[1] < weights[2] < weights[3] < 8 * weights[0]


def test_the_weighted_mean_is_pytorchs_and_void_does_not_count() -> None:
    logits, weights = torch.randn(2, 3, 4, 4), torch.tensor([0.5, 1.0, 1.5])
    truth = torch.randint(3, (2, 4, 4))
    truth[0, 0] = VOID

    expected = torch.nn.functional.cross_entropy(logits, truth, weights, ignore_index=VOID)

    assert cross_entropy(logits, truth, weights).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_batch_without_truth_costs_nothing() -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)

    loss = cross_entropy(logits, torch.full((1, 2, 2), VOID), torch.ones(3))
    loss.backward()

    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()
