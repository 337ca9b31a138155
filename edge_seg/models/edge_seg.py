"""edge-seg-n and edge-seg-s: a residual encoder down to stride 32 and a light top-down decoder to a head at stride 4.

Every operator runs in INT8 on every run-time at hand and stays dense: 3x3 and 1x1 convolutions, BatchNorm (folded at
export), ReLU, Add, bilinear up-sampling. No depthwise convolution and no gate: both lose accuracy in INT8 and speed on
CPUs. Residual blocks after He et al. (2016), the top-down path after Lin et al., Feature Pyramid Networks (2017).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv_bn(inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1) -> nn.Sequential:
    """Convolution of odd kernel with zero padding, then BatchNorm."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def conv_bn_relu(inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU."""
    return nn.Sequential(*conv_bn(inputs, outputs, kernel, stride=stride), nn.ReLU(inplace=True))


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


def upsample_to(x: Tensor, like: Tensor) -> Tensor:
    """x [N, C, h, w] up-sampled bilinearly to the height and width of `like`."""
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


class EdgeSeg(nn.Module):
    """The family; `widths` are the channels at strides 4, 8, 16 and 32, `depths` the residual blocks there."""

    def __init__(self, classes: int, *, stem: int, widths: Sequence[int], depths: Sequence[int], decoder: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn_relu(3, stem, stride=2), conv_bn_relu(stem, widths[0], stride=2))
        self.stages = nn.ModuleList()
        for level, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            first = Block(widths[max(level - 1, 0)], width, stride=1 if level == 0 else 2)
            self.stages.append(nn.Sequential(first, *(Block(width, width) for _ in range(depth - 1))))
        self.laterals = nn.ModuleList(conv_bn(width, decoder, 1) for width in widths)
        self.smooth8 = conv_bn_relu(decoder, decoder)
        self.smooth4 = conv_bn_relu(decoder, decoder)
        self.head = nn.Conv2d(decoder, classes, 1)
        self.aux_heads = nn.ModuleList(nn.Conv2d(decoder, classes, 1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, C, H/4, W/4] of normalised images [N, 3, H, W]."""
        return self.head(self._decode(x)[0])  # type: ignore[no-any-return]

    def forward_with_aux(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits at strides 4, 8 and 16; the last two exist to train the deeper levels."""
        at4, at8, at16 = self._decode(x)
        return self.head(at4), self.aux_heads[0](at8), self.aux_heads[1](at16)

    def _decode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.stem(x)
        levels = []
        for stage, lateral in zip(self.stages, self.laterals, strict=True):
            x = stage(x)
            levels.append(lateral(x))
        at4, at8, at16, at32 = levels
        at16 = F.relu(at16 + upsample_to(at32, at16))
        at8 = self.smooth8(F.relu(at8 + upsample_to(at16, at8)))
        return self.smooth4(F.relu(at4 + upsample_to(at8, at4))), at8, at16


def edge_seg_n(classes: int) -> EdgeSeg:
    """The smaller net: 1.1 GMAC at 480x360."""
    return EdgeSeg(classes, stem=16, widths=(32, 48, 96, 128), depths=(1, 2, 2, 2), decoder=48)


def edge_seg_s(classes: int) -> EdgeSeg:
    """The default net: 2.2 GMAC at 480x360."""
    return EdgeSeg(classes, stem=32, widths=(32, 64, 128, 256), depths=(1, 2, 3, 2), decoder=64)


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
