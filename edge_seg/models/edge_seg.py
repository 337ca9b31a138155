"""edge-seg-n and edge-seg-s: a residual encoder down to stride 32 under the shared decoder (`net`).

Every operator runs in INT8 on every run-time at hand and stays dense: 3x3 and 1x1 convolutions, BatchNorm (folded at
export), ReLU, Add, bilinear up-sampling. No depthwise convolution and no gate: both lose accuracy in INT8 and speed on
CPUs. Residual blocks after He et al. (2016).
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_seg.models.net import SegmentationNet, conv_bn, conv_bn_relu


class Block(nn.Module):
    """Residual block of two 3x3 convolutions."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        last = conv_bn(outputs, outputs)
        self.body = nn.Sequential(conv_bn_relu(inputs, outputs, stride=stride), last)
        same = inputs == outputs and stride == 1
        self.skip = nn.Identity() if same else conv_bn(inputs, outputs, 1, stride=stride)
        nn.init.zeros_(last[1].weight)  # type: ignore[arg-type]  # starts as the identity: He et al., Bag of Tricks (2019)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.skip(x))


class EdgeSeg(SegmentationNet):
    """The family; `widths` are the channels at strides 4, 8, 16 and 32, `depths` the residual blocks there."""

    def __init__(self, classes: int, *, stem: int, widths: Sequence[int], depths: Sequence[int], decoder: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn_relu(3, stem, stride=2), conv_bn_relu(stem, widths[0], stride=2))
        self.stages = nn.ModuleList()
        for level, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            first = Block(widths[max(level - 1, 0)], width, stride=1 if level == 0 else 2)
            self.stages.append(nn.Sequential(first, *(Block(width, width) for _ in range(depth - 1))))
        self._add_decoder(classes, widths, decoder)

    def pyramid(self, x: Tensor) -> Iterator[Tensor]:
        """The features at strides 4, 8, 16 and 32, one after the other."""
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
            yield x

    def encoder_parts(self) -> list[nn.Module]:
        """Stem and stages."""
        return [self.stem, self.stages]


def edge_seg_n(classes: int) -> EdgeSeg:
    """The smaller net: 1.1 GMAC at 480x360."""
    return EdgeSeg(classes, stem=16, widths=(32, 48, 96, 128), depths=(1, 2, 2, 2), decoder=48)


def edge_seg_s(classes: int) -> EdgeSeg:
    """The default net: 2.2 GMAC at 480x360."""
    return EdgeSeg(classes, stem=32, widths=(32, 64, 128, 256), depths=(1, 2, 3, 2), decoder=64)


def edge_seg_l(classes: int) -> EdgeSeg:
    """A wide net to teach the others, or for a GPU: 8.6 GMAC at 480x360."""
    return EdgeSeg(classes, stem=64, widths=(64, 128, 256, 512), depths=(1, 2, 3, 2), decoder=128)


@torch.no_grad()
def count_gmacs(model: nn.Module, width: int, height: int) -> float:
    """Multiply-accumulates of the convolutions for one image of width x height, in units of 1e9."""
    macs = 0

    def count(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        if isinstance(module, nn.Conv2d):
            macs += output[0].numel() * module.weight[0].numel()

    hooks = [m.register_forward_hook(count) for m in model.modules()]
    model(torch.zeros(1, 3, height, width))
    for hook in hooks:
        hook.remove()
    return macs / 1e9
