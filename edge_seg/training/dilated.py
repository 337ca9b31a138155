"""Grouped convolutions with a dilation, whose weights bf16 teaches wrongly on CPUs."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class InFloat32:
    """A module's `forward`, in FP32 whatever autocast says; a copy of the module has one of its own."""

    def __init__(self, forward: Callable[[Tensor], Tensor]) -> None:
        self.forward = forward

    def __call__(self, x: Tensor) -> Tensor:
        """The module's answer to `x`, as FP32."""
        with torch.autocast(x.device.type, enabled=False):
            return self.forward(x.float())


def compute_dilated_in_float32(net: nn.Module) -> int:
    """Let the convolutions of `net` that have both groups and a dilation compute in FP32; how many they are.

    PyTorch 2.15 on a CPU with AVX512-BF16, in channels_last: the gradient of such a depthwise convolution's weights
    has nothing to do with the one of FP32, and is infinite now and then. Without a dilation it is right, as are the
    outputs and the gradients of the input. `tests/training/test_dilated.py` compares them.
    """
    found = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.groups > 1 and max(m.dilation) > 1]
    for module in found:
        module.forward = InFloat32(module.forward)  # type: ignore[assignment, method-assign]
    return len(found)
