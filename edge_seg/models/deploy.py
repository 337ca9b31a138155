"""The deploy contract around a net: uint8 camera pictures in, uint8 labels out."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_seg.spec import INPUT_MIDDLE, INPUT_SCALE


def normalise(images: Tensor) -> Tensor:
    """Float images in about -2..2 from uint8 0..255."""
    return (images.float() - INPUT_MIDDLE) / INPUT_SCALE


class Deploy(nn.Module):
    """image uint8 [N, height, width, 3] BGR -> labels uint8 [N, height, width], all between inside the graph."""

    def __init__(self, net: nn.Module, *, width: int, height: int) -> None:
        super().__init__()
        self.net = net
        self.size = (height, width)

    def forward(self, image: Tensor) -> Tensor:
        logits = self.net(normalise(image.permute(0, 3, 1, 2)))
        full = F.interpolate(logits, size=self.size, mode="bilinear", align_corners=False)
        return full.argmax(1).to(torch.uint8)
