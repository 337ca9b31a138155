"""Training losses."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from edge_seg.types import VOID


def inverse_log_weights(pixels: NDArray[np.int64], smoothing: float = 1.1) -> Tensor:
    """Class weights 1 / ln(smoothing + share), scaled to a mean of 1, from pixel counts [C].

    Source: Paszke et al., ENet (2016), section 5.2; the larger `smoothing`, the nearer the weights to each other.

    >>> inverse_log_weights(np.array([900, 100])).tolist()
    [0.41..., 1.58...]
    """
    share = pixels / max(int(pixels.sum()), 1)
    weights = 1 / np.log(smoothing + share)
    return torch.tensor(weights / weights.mean(), dtype=torch.float32)


def cross_entropy(logits: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy of logits [N, C, H, W] against truth [N, H, W], VOID ignored; 0 where all is void."""
    # The sum over weights is clamped, since a batch without truth must not make NaN of the whole net.
    loss = F.cross_entropy(logits, truth, weights, ignore_index=VOID, reduction="sum")
    counted = weights[truth[truth != VOID]].sum()
    return loss / counted.clamp_min(1.0)
