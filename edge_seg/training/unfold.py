"""BatchNorm out of convolutions that an export has folded it into, so that the net can be trained on.

A folded convolution keeps the weights; its BatchNorm first adds the folded bias and nothing else. `settle` then gives
it the statistics of pictures, without changing what the net computes, so that training mode computes nearly the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from edge_seg.models import SegmentationNet
from edge_seg.models.encoders import PROBE_SIZE


@torch.no_grad()
def executed(net: SegmentationNet) -> tuple[list[str], dict[str, str]]:
    """The names of the convolutions in the order of their work, and convolution -> BatchNorm that takes its result."""
    outputs: list[tuple[str, Tensor]] = []
    pairs: dict[str, str] = {}

    def watch(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            outputs.append((name, output))
        else:
            pairs.update({convolution: name for convolution, made in outputs if made is inputs[0]})

    hooks = [
        module.register_forward_hook(partial(watch, name))
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d)
    ]
    was_training = net.training
    net.eval()(torch.zeros(1, 3, *PROBE_SIZE))
    net.train(was_training)
    for hook in hooks:
        hook.remove()
    return [name for name, _ in outputs], pairs


def unfolded(tensors: Mapping[str, Tensor], folded: Sequence[str], net: SegmentationNet) -> dict[str, Tensor]:
    """`tensors` of an export by the names of `net`, with each folded bias made a BatchNorm that adds it.

    `folded` are the export's convolutions in their order. The BatchNorm has mean 0, variance 1 - eps and weight 1, so
    in evaluation mode it scales by exactly 1.
    """
    order, norms = executed(net)
    result, wanted = _renamed(tensors, folded, order), net.state_dict()
    for convolution, norm in norms.items():
        if f"{convolution}.bias" not in result or f"{norm}.weight" in result:
            continue
        bias = result.pop(f"{convolution}.bias")
        module = net.get_submodule(norm)
        assert isinstance(module, nn.BatchNorm2d)
        zeros, ones = torch.zeros_like(bias), torch.ones_like(bias)
        if f"{convolution}.bias" in wanted:
            result[f"{convolution}.bias"] = zeros
        parts = {"weight": ones, "bias": bias, "running_mean": zeros, "running_var": ones - module.eps}
        result |= {f"{norm}.{part}": value for part, value in parts.items()}
    return result


def _renamed(tensors: Mapping[str, Tensor], folded: Sequence[str], order: Sequence[str]) -> dict[str, Tensor]:
    """`tensors` by the names of `order` where the file's say nothing, as those of a traced network, but are as many."""
    if set(folded) <= set(order) or len(folded) != len(order):
        return dict(tensors)
    kinds = ("weight", "bias")
    old = {f"{name}.{kind}" for name in folded for kind in kinds}
    renamed = {name: tensor for name, tensor in tensors.items() if name not in old}
    for there, here in zip(folded, order, strict=True):
        renamed |= {f"{here}.{kind}": tensors[f"{there}.{kind}"] for kind in kinds if f"{there}.{kind}" in tensors}
    return renamed


@torch.no_grad()
def settle(net: SegmentationNet, images: Iterable[Tensor], norms: Sequence[str]) -> None:
    """Give the BatchNorms `norms` of an unfolded net the statistics of batches of normalised images [N, 3, H, W].

    With mean m and variance v of what a BatchNorm takes, mean and variance become m and v, and weight and bias such
    that evaluation mode computes what it did.
    """
    modules = [net.get_submodule(name) for name in norms]
    sums: dict[nn.Module, list[Tensor]] = {module: [] for module in modules}

    def watch(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].double()
        sums[module].append(torch.stack([x.mean((0, 2, 3)), x.square().mean((0, 2, 3))]))

    hooks = [module.register_forward_pre_hook(watch) for module in modules]
    was_training = net.training
    net.eval()
    for batch in images:
        net.forward_with_aux(batch)
    net.train(was_training)
    for hook in hooks:
        hook.remove()
    for module, found in sums.items():
        assert isinstance(module, nn.BatchNorm2d)
        if found:
            mean, square = torch.stack(found).mean(0)
            _shift(module, mean, (square - mean.square()).clamp_min(0))


def _shift(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """The same function of evaluation mode with other statistics."""
    assert norm.running_mean is not None and norm.running_var is not None
    gain = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    offset = norm.bias.double() - gain * norm.running_mean.double()
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_(gain * torch.sqrt(variance + norm.eps))
    norm.bias.copy_(offset + gain * mean)
