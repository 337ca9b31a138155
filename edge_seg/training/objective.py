"""The loss of a recipe: its terms, weighted and summed."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_seg.losses import (
    cross_entropy,
    focal,
    inverse_log_weights,
    median_frequency_weights,
    near_borders,
    ohem_cross_entropy,
    soft_dice,
    soft_jaccard,
)
from edge_seg.recipe import Loss
from edge_seg.types import VOID

PixelLoss = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class Objective(nn.Module):
    """The loss that `settings` ask for, of logits [N, C, H, W] against truth [N, H, W]; `weights` [C] or None."""

    def __init__(self, settings: Loss, weights: Tensor | None) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, logits: Tensor, truth: Tensor) -> Tensor:
        """The loss of the main head."""
        settings, truth, logits = self.settings, truth.long(), logits.float()
        loss = self.of_pixels(logits, truth)
        if settings.border:
            loss = loss + settings.border * self.of_pixels(logits, truth.masked_fill(~near_borders(truth), VOID))
        if settings.dice:
            loss = loss + settings.dice * soft_dice(logits, truth)
        if settings.jaccard:
            loss = loss + settings.jaccard * soft_jaccard(logits, truth)
        return loss

    def of_pixels(self, logits: Tensor, truth: Tensor) -> Tensor:
        """The first term alone, which is all that the auxiliary heads are given."""
        weights: Tensor | None = self.weights  # type: ignore[assignment]
        return loss_of_pixels(self.settings)(logits.float(), truth.long(), weights)


def loss_of_pixels(settings: Loss) -> PixelLoss:
    """The loss that `kind` names, with the fields that are its own."""
    kinds: dict[str, PixelLoss] = {
        "cross-entropy": cross_entropy,
        "ohem": partial(ohem_cross_entropy, sure=settings.ohem_sure, least=settings.ohem_least),
        "focal": partial(focal, gamma=settings.focal_gamma),
    }
    return kinds[settings.kind]


def class_weights(settings: Loss, pixels: NDArray[np.int64], where_present: NDArray[np.int64]) -> Tensor | None:
    """Weights [C] from the pixels of each class and those of the pictures that show it; None for equal ones.

    No class weighs more than `settings.most_weight` times the lightest that occurs.

    >>> class_weights(Loss(most_weight=2.0), np.array([900, 100]), np.array([1000, 1000])).tolist()
    [0.66..., 1.33...]
    """
    if settings.class_weights == "none":
        return None
    by_log = settings.class_weights == "inverse-log"
    weights = inverse_log_weights(pixels) if by_log else median_frequency_weights(pixels, where_present)
    lightest = weights[weights > 0].min() if (weights > 0).any() else torch.tensor(1.0)
    capped = weights.clamp_max(settings.most_weight * lightest)
    return capped / capped.mean()
