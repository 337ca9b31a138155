"""The moving average of the weights, which is what a training keeps."""

from collections.abc import Callable

import torch
from torch import Tensor


def share_kept(decay: float, averaged: int) -> float:
    """The share of the average that stays when one more net comes to `averaged` ones: at first small, later `decay`.

    A fixed decay would hold on to the weights of chance: after 1 / (1 - decay) steps they are still a third of the
    average. Source of the warm-up: TensorFlow's ExponentialMovingAverage, `num_updates`.

    >>> [round(share_kept(0.999, averaged), 3) for averaged in (1, 10, 100, 1000, 10_000)]
    [0.182, 0.55, 0.918, 0.991, 0.999]
    """
    return min(decay, (1 + averaged) / (10 + averaged))


def moving_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor], None]:
    """What takes current tensors of one type into the averaged ones, in place; equal ones, as frozen, stay bit for bit.

    >>> kept = [torch.zeros(1)]
    >>> moving_average(0.5)(kept, [torch.ones(1)], torch.tensor(100))
    >>> kept
    [tensor([0.5000])]
    """

    def average(kept: list[Tensor], current: list[Tensor], averaged: Tensor) -> None:
        if kept[0].is_floating_point():
            torch._foreach_lerp_(kept, current, 1 - share_kept(decay, int(averaged)))
            return
        for counter, now in zip(kept, current, strict=True):  # BatchNorm's number of steps
            counter.copy_(now)

    return average
