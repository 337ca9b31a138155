"""What is done to a trained net before it is written: nothing is learned any more."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from edge_seg.models import SegmentationNet
from edge_seg.models.deploy import normalise
from edge_seg.recipe import Recipe

BATCH = 8
"""Pictures whose statistics are taken together."""
MOST_BATCHES = 64
"""More would tell the same again."""


def finish_net(net: SegmentationNet, images: Tensor, weights: Tensor | None, recipe: Recipe) -> None:
    """Do what `recipe` asks for to the trained `net`, in place.

    `images` uint8 [K, 3, H, W] are the training pictures as they are, `weights` [C] those of the classes in the loss.
    """
    if recipe.schedule.clean_statistics and len(images):
        use_clean_statistics(net, images, recipe.schedule.clean_statistics)
    if recipe.loss.logit_adjustment and weights is not None:
        adjust_logits(net.head, weights, recipe.loss.logit_adjustment)


@torch.no_grad()
def use_clean_statistics(net: SegmentationNet, images: Tensor, share: float) -> None:
    """Move BatchNorm's statistics `share` of the way to those of `images`, which no augmentation has touched, in place.

    Training sees pictures scaled, recoloured and framed in grey, and normalises by their statistics; the camera's
    pictures have others (Touvron et al., Fixing the train-test resolution discrepancy, 2019; Wu and Johnson, Rethinking
    "Batch" in BatchNorm, 2021). A frozen encoder stays as it is.
    """
    norms = _trained_norms(net)
    before = {norm: _statistics(norm).clone() for norm in norms}
    for norm, seen in _watch(net, norms, images).items():
        if seen:
            _set_statistics(norm, torch.lerp(before[norm], torch.stack(seen).mean(0).to(before[norm]), share))


def _watch(net: SegmentationNet, norms: list[_BatchNorm], images: Tensor) -> dict[_BatchNorm, list[Tensor]]:
    """Mean and variance [2, D] of what each norm takes, batch by batch; leaves the norms with those of the last."""
    found: dict[_BatchNorm, list[Tensor]] = {norm: [] for norm in norms}

    def take(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, _BatchNorm)
        x = inputs[0].float()
        variance, mean = torch.var_mean(x, [0, *range(2, x.ndim)], correction=0)
        _set_statistics(norm, torch.stack([mean, variance]))  # so that what comes after sees it normalised by them
        values = x.numel() // len(mean)
        found[norm].append(torch.stack([mean, variance * values / max(1, values - 1)]))

    home, was_training = next(net.parameters()).device, net.training
    net.eval().to(images.device)
    hooks = [norm.register_forward_pre_hook(take) for norm in norms]
    try:
        for batch in _batches(images):
            net.features(normalise(batch))
    finally:
        for hook in hooks:
            hook.remove()
        net.train(was_training).to(home)
    return found


def _batches(images: Tensor) -> Iterator[Tensor]:
    """BATCH pictures each, spread over all of them, as neighbours in a film look alike; what fills none is left out."""
    step = max(1, len(images) // BATCH)
    count = min(MOST_BATCHES, step)
    for number in range(count):
        yield images[number * step // count :: step][:BATCH]


def _trained_norms(net: SegmentationNet) -> list[_BatchNorm]:
    """The BatchNorms that keep statistics, without those of a frozen encoder."""
    frozen = [part for parts in net.encoder_parts() for part in parts.modules()] if net.encoder_frozen else []
    norms = [part for part in net.modules() if isinstance(part, _BatchNorm) and part not in frozen]
    return [norm for norm in norms if norm.running_mean is not None]


def _statistics(norm: _BatchNorm) -> Tensor:
    """Mean and variance [2, D]."""
    assert norm.running_mean is not None and norm.running_var is not None
    return torch.stack([norm.running_mean, norm.running_var])


def _set_statistics(norm: _BatchNorm, statistics: Tensor) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.copy_(statistics[0])
    norm.running_var.copy_(statistics[1])


def adjust_logits(head: nn.Conv2d, weights: Tensor, share: float) -> None:
    """Take `share` of ln(weights [C]) off the biases of `head`, in place; classes without a weight stay as they are.

    A loss that weighs classes teaches probabilities as if the heavy ones were more frequent by just that much; 1 takes
    all of it back (Menon et al., Long-tail learning via logit adjustment, 2021).

    >>> import math
    >>> head = nn.Conv2d(1, 3, 1)
    >>> before = head.bias.detach().clone()
    >>> adjust_logits(head, torch.tensor([1.0, math.e, 0.0]), 0.5)
    >>> [round(moved, 4) for moved in (head.bias - before).tolist()]
    [0.0, -0.5, 0.0]
    """
    assert head.bias is not None
    logarithm = torch.where(weights > 0, weights, torch.ones_like(weights)).log()
    with torch.no_grad():
        head.bias.sub_(share * logarithm.to(head.bias))
