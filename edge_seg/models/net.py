"""What all nets share: a light top-down decoder over features at strides 4, 8, 16 and 32, and heads on it.

The top-down path is after Lin et al., Feature Pyramid Networks (2017). A subclass brings the encoder.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TypeVar

from torch import Tensor, nn
from torch.nn import functional as F

Net = TypeVar("Net", bound="SegmentationNet")

STRIDES = (4, 8, 16, 32)
"""Where an encoder gives features; a size that does not divide rounds as its convolutions do."""


def conv_bn(inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1) -> nn.Sequential:
    """Convolution of odd kernel with zero padding, then BatchNorm."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def conv_bn_relu(inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU."""
    return nn.Sequential(*conv_bn(inputs, outputs, kernel, stride=stride), nn.ReLU(inplace=True))


def upsample_to(x: Tensor, like: Tensor) -> Tensor:
    """x [N, C, h, w] up-sampled bilinearly to the height and width of `like`."""
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


class TrainableNet(nn.Module, ABC):
    """What a training needs of a net: features of normalised images [N, 3, H, W], and heads on them."""

    classes: int

    @abstractmethod
    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """What the heads read, and a teacher's features are compared with."""

    @abstractmethod
    def heads(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Logits [N, C, h, w], and behind them those of auxiliary heads, which exist for the training alone."""


class SegmentationNet(TrainableNet):
    """A net from normalised images [N, 3, H, W] to logits [N, C, H/4, W/4]; its encoder can be frozen."""

    encoder_frozen = False

    def _add_decoder(self, classes: int, widths: Sequence[int], decoder: int) -> None:
        """Decoder and heads over features of `widths` channels, for a subclass to add after its encoder."""
        self.classes = classes
        self.laterals = nn.ModuleList(conv_bn(width, decoder, 1) for width in widths)
        self.smooth8 = conv_bn_relu(decoder, decoder)
        self.smooth4 = conv_bn_relu(decoder, decoder)
        self.head = nn.Conv2d(decoder, classes, 1)
        self.aux_heads = nn.ModuleList(nn.Conv2d(decoder, classes, 1) for _ in range(2))

    @abstractmethod
    def pyramid(self, x: Tensor) -> Iterator[Tensor]:
        """The encoder's features at strides 4, 8, 16 and 32, one after the other."""

    @abstractmethod
    def encoder_parts(self) -> list[nn.Module]:
        """The modules that are the encoder."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, C, H/4, W/4] of normalised images [N, 3, H, W]."""
        return self.head(self.features(x)[0])  # type: ignore[no-any-return]

    def forward_with_aux(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits at strides 4, 8 and 16; the last two exist to train the deeper levels."""
        return self.heads(self.features(x))

    def features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The decoder's features [N, D, H/s, W/s] at strides s of 4, 8 and 16."""
        at4, at8, at16, at32 = (lateral(level) for level, lateral in zip(self.pyramid(x), self.laterals, strict=True))
        at16 = F.relu(at16 + upsample_to(at32, at16))
        at8 = self.smooth8(F.relu(at8 + upsample_to(at16, at8)))
        return self.smooth4(F.relu(at4 + upsample_to(at8, at4))), at8, at16

    def heads(self, features: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Logits at strides 4, 8 and 16 of `features`."""
        at4, at8, at16 = features
        return self.head(at4), self.aux_heads[0](at8), self.aux_heads[1](at16)

    def freeze_encoder(self) -> None:
        """Keep the encoder as it is: no gradient, and BatchNorm and dropout in evaluation mode whatever the net's."""
        self.encoder_frozen = True
        for part in self.encoder_parts():
            part.requires_grad_(False)
        self.train(self.training)

    def train(self: Net, mode: bool = True) -> Net:
        """Training or evaluation mode; a frozen encoder stays in the latter."""
        super().train(mode)
        if self.encoder_frozen:
            for part in self.encoder_parts():
                part.eval()
        return self
