"""Training losses and pixel weights, each with its formula and source.

Logits are [N, C, H, W], truth is [N, H, W] with labels 0..C-1 and VOID, which no loss counts. Where all is void a loss
is 0 and not NaN, since one batch without truth must not make NaN of a whole net.

Focal, Dice and Jaccard are written here because the libraries' count something else: torchvision's focal loss is a
sigmoid's and knows no void; segmentation-models-pytorch's Dice and Jaccard, one more dependency, take the mean over all
classes, also those absent from the batch, and its Jaccard knows no void; torchmetrics' count labels, which have no
gradient. Where the definitions meet, tests/test_losses.py holds these to torchvision's and torchmetrics'.

`binary_log_loss` and `border_weights` are for training loops of one's own: no recipe and no command uses them.
"""

import math

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from edge_seg.types import VOID, UInt8Array


def cross_entropy(logits: Tensor, truth: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean of -w_t log p_t over the pixels, over the sum of their weights w [C].

    Source: Bishop, Pattern Recognition and Machine Learning (2006), equation 4.108, with weights as PyTorch's.

    >>> logits = torch.tensor([[[[2.0, 0.0]], [[0.0, 0.0]]]])  # two classes, two pixels, one of them void
    >>> round(float(cross_entropy(logits, torch.tensor([[[0, VOID]]]))), 4)  # ln(1 + e^-2)
    0.1269
    """
    loss = F.cross_entropy(logits, truth, weights, ignore_index=VOID, reduction="sum")
    known = truth[truth != VOID]
    counted = known.new_tensor(len(known)) if weights is None else weights[known].sum()
    return loss / counted.clamp_min(1.0)


def binary_log_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean of -t log p - (1 - t) log(1 - p), p the sigmoid of logits [N, 1, H, W]: cross-entropy for a binary mask.

    For Python only: a recipe trains a mask as two classes with `cross_entropy`, which is this loss of the difference of
    their logits. Source: Bishop, Pattern Recognition and Machine Learning (2006), equation 4.90.

    >>> round(float(binary_log_loss(torch.zeros(1, 1, 1, 2), torch.tensor([[[1, VOID]]]))), 4)  # ln 2
    0.6931
    """
    known = truth != VOID
    loss = F.binary_cross_entropy_with_logits(logits[:, 0][known], truth[known].to(logits.dtype), reduction="sum")
    return loss / known.sum().clamp_min(1)


def focal(logits: Tensor, truth: Tensor, weights: Tensor | None = None, *, gamma: float = 2.0) -> Tensor:
    """Mean of -w_t (1 - p_t)^gamma log p_t: what is right already counts little; gamma 0 is `cross_entropy` unweighted.

    Source: Lin et al., Focal Loss for Dense Object Detection (2017), equation 5, with softmax in place of sigmoid.

    >>> logits, truth = torch.tensor([[[[2.0]], [[0.0]]]]), torch.tensor([[[0]]])
    >>> round(float(focal(logits, truth)), 5), round(float(focal(logits, truth, gamma=0.0)), 4)
    (0.0018, 0.1269)
    """
    plain, known = _log_losses(logits, truth), truth[truth != VOID]
    losses = (1 - torch.exp(-plain)) ** gamma * plain
    return (losses if weights is None else weights[known] * losses).sum() / max(len(known), 1)


def ohem_cross_entropy(
    logits: Tensor, truth: Tensor, weights: Tensor | None = None, *, sure: float = 0.7, least: float = 1 / 16
) -> Tensor:
    """Mean of -w_t log p_t over the hard pixels, those with p_t below `sure`, and at least the hardest share `least`.

    Source: Shrivastava et al., Training Region-based Object Detectors with Online Hard Example Mining (2016), by pixel
    as in Yu et al., BiSeNet (2018), section 4.1.

    >>> logits = torch.tensor([[[[9.0, 0.0]], [[0.0, 0.0]]]])
    >>> round(float(ohem_cross_entropy(logits, torch.tensor([[[0, 0]]]))), 4)  # the sure pixel is left out: ln 2
    0.6931
    """
    plain, known = _log_losses(logits, truth), truth[truth != VOID]
    if not len(known):
        return logits.sum() * 0.0
    with torch.no_grad():
        hardest = torch.topk(plain, max(1, int(least * len(plain))), sorted=False).values.min()
        hard = plain >= hardest.clamp_max(-math.log(sure))
    losses = plain if weights is None else weights[known] * plain
    return losses[hard].mean()


def _log_losses(logits: Tensor, truth: Tensor) -> Tensor:
    """-log p_t of each pixel with truth [K]."""
    return F.cross_entropy(logits, truth, ignore_index=VOID, reduction="none")[truth != VOID]


def soft_dice(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - mean over the classes of 2 sum(p t) / (sum(p) + sum(t)), sums over the whole batch.

    Only classes that the truth holds count: the others have no best value but 0 of their own.
    Source: Milletari et al., V-Net (2016), section 3, without the squares.

    >>> sure = torch.tensor([[[[50.0, -50.0]], [[-50.0, 50.0]]]])
    >>> [round(float(soft_dice(sure, torch.tensor([[truth]]))), 4) for truth in ([0, 1], [1, 0])]
    [0.0, 1.0]
    """
    both, shares, truths = _overlaps(logits, truth)
    return _one_minus_mean(2 * both / (shares + truths).clamp_min(1e-6), truths)


def soft_jaccard(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - mean over the classes of sum(p t) / (sum(p) + sum(t) - sum(p t)): the soft IoU, classes as in `soft_dice`.

    Source: Rahman and Wang, Optimizing Intersection-Over-Union in Deep Neural Networks (2016), equation 3.

    >>> even = torch.zeros(1, 2, 1, 2)
    >>> round(float(soft_jaccard(even, torch.tensor([[[0, 1]]]))), 4)  # 0.5 / (1 + 1 - 0.5)
    0.6667
    """
    both, shares, truths = _overlaps(logits, truth)
    return _one_minus_mean(both / (shares + truths - both).clamp_min(1e-6), truths)


def _overlaps(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """By class [C]: sum(p t), sum(p) and sum(t) over the pixels with truth."""
    known = truth != VOID
    shares = logits.float().softmax(1) * known[:, None]
    labels = truth.clamp_max(logits.shape[1] - 1)  # void's share is 0 whatever label it gets
    right = shares.gather(1, labels[:, None]).flatten()
    both = shares.new_zeros(logits.shape[1]).index_add(0, labels.flatten(), right)
    counts = torch.bincount(truth.flatten(), minlength=logits.shape[1])[: logits.shape[1]]
    return both, shares.sum((0, 2, 3)), counts.to(shares.dtype)


def _one_minus_mean(values: Tensor, truths: Tensor) -> Tensor:
    present = truths > 0
    return torch.where(present, 1 - values, 0.0).sum() / present.sum().clamp_min(1)


def inverse_log_weights(pixels: NDArray[np.int64], smoothing: float = 1.1) -> Tensor:
    """Class weights 1 / ln(smoothing + share), scaled to a mean of 1, from pixel counts [C].

    Source: Paszke et al., ENet (2016), section 5.2; the larger `smoothing`, the nearer the weights to each other.

    >>> inverse_log_weights(np.array([900, 100])).tolist()
    [0.41..., 1.58...]
    """
    share = pixels / max(int(pixels.sum()), 1)
    weights = 1 / np.log(smoothing + share)
    return torch.tensor(weights / weights.mean(), dtype=torch.float32)


def median_frequency_weights(pixels: NDArray[np.int64], where_present: NDArray[np.int64]) -> Tensor:
    """Class weights median(f) / f_c, f_c = pixels of the class / pixels of all images that show it, both counts [C].

    Classes that never occur weigh 0. Source: Eigen and Fergus, Predicting Depth, Surface Normals and Semantic Labels
    (2015), section 6.3.2.

    >>> median_frequency_weights(np.array([80, 20, 5, 0]), np.array([100, 100, 50, 0])).tolist()
    [0.25, 1.0, 2.0, 0.0]
    """
    seen = pixels > 0
    frequency = np.where(seen, pixels / np.maximum(where_present, 1), np.nan)
    weights = np.where(seen, np.nanmedian(frequency) / frequency, 0.0) if seen.any() else np.zeros(len(pixels))
    return torch.tensor(weights, dtype=torch.float32)


def near_borders(truth: Tensor, radius: int = 2) -> Tensor:
    """True [N, H, W] within `radius` pixels (a square) of a pixel of another label, void being none.

    >>> near_borders(torch.tensor([[[0, 0, 0, 1, 1, 1]]]), radius=1).tolist()
    [[[False, False, True, True, False, False]]]
    """
    labels = truth[:, None].float()
    void = labels == VOID
    highest = _highest_near(labels.masked_fill(void, -1.0), radius)
    lowest = -_highest_near(-labels.masked_fill(void, float(VOID)), radius)
    return ((highest > lowest) & ~void)[:, 0]


def _highest_near(values: Tensor, radius: int) -> Tensor:
    """The maximum of each square of 2 radius + 1 pixels, by rows and then by columns."""
    size = 2 * radius + 1
    return F.max_pool2d(F.max_pool2d(values, (1, size), 1, (0, radius)), (size, 1), 1, (radius, 0))


def border_weights(
    truth: UInt8Array,
    class_weights: NDArray[np.float32],
    *,
    background: int = 0,
    strength: float = 10.0,
    sigma: float = 5,
) -> NDArray[np.float32]:
    """U-Net's weight map [H, W] for truth [H, W]: w(x) = wc(x) + w0 exp(-(d1 + d2)^2 / (2 sigma^2)).

    wc are the class weights [C], d1 and d2 the distances in pixels from a background pixel to the nearest and the
    second nearest object, w0 is `strength`: what parts two objects that nearly touch weighs most. An object is a
    connected region of one label other than `background`. Pixels of objects have no second term, void weighs nothing.
    For Python only: no recipe uses it. Source: Ronneberger et al., U-Net (2015), equation 2.

    >>> truth = np.array([[1, 0, 1, 0, 0, 0]], np.uint8)
    >>> border_weights(truth, np.ones(2, np.float32), sigma=2.0).round(2)
    array([[1.  , 7.07, 1.  , 2.35, 1.11, 1.  ]], dtype=float32)
    """
    by_label = np.append(class_weights, np.zeros(VOID + 1 - len(class_weights), np.float32))
    reach = _two_nearest(truth, background)
    between = strength * np.exp(-(reach**2) / (2 * sigma**2))
    weights: NDArray[np.float32] = (by_label[truth] + np.where(truth == background, between, 0)).astype(np.float32)
    return weights


def _two_nearest(truth: UInt8Array, background: int) -> NDArray[np.float64]:
    """d1 + d2 [H, W]: distances in pixels to the nearest and second nearest object, infinite where there is none."""
    nearest: NDArray[np.float64] = np.full(truth.shape, np.inf)
    second: NDArray[np.float64] = np.full(truth.shape, np.inf)
    for label in set(np.unique(truth).tolist()) - {background, VOID}:
        count, parts = cv2.connectedComponents((truth == label).astype(np.uint8))
        for part in range(1, count):
            away = cv2.distanceTransform((parts != part).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            second = np.minimum(second, np.maximum(nearest, away))
            nearest = np.minimum(nearest, away)
    return nearest + second
