"""Nets of torchvision, segmentation-models-pytorch and transformers, as our training and their users have them."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from edge_seg.errors import ModelError
from edge_seg.files import written_whole
from edge_seg.models import SegmentationNet
from edge_seg.spec import INPUT_MIDDLE, INPUT_SCALE

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, of red, green and blue in 0..1: what these libraries' nets are used with."""


class Library(NamedTuple):
    """What a library's nets give: logits at their own stride, to train by; all of it, to export; their last layer."""

    logits: Callable[[Any, Tensor], Tensor]
    full: Callable[[Any, Tensor], Tensor]
    last: Callable[[Any], nn.Conv2d]
    divisor: int = 1


def _torchvision_logits(net: Any, x: Tensor) -> Tensor:  # noqa: ANN401
    found = net.backbone(x)
    logits: Tensor = net.classifier(found.get("out", found))
    return logits


def _torchvision_last(net: Any) -> nn.Conv2d:  # noqa: ANN401
    classifier = net.classifier
    last: nn.Conv2d = classifier[-1] if isinstance(classifier, nn.Sequential) else classifier.low_classifier
    return last


LIBRARIES = {
    "torchvision": Library(_torchvision_logits, lambda net, x: net(x)["out"], _torchvision_last),
    # Without the up-sampling and the softmax, which come after the first module of the head.
    "smp": Library(
        lambda net, x: net.segmentation_head[0](net.decoder(net.encoder(x))),
        lambda net, x: net(x),
        lambda net: net.segmentation_head[0],
        32,
    ),
    "transformers": Library(
        lambda net, x: net(x).logits, lambda net, x: net(x).logits, lambda net: net.decode_head.classifier
    ),
}


def build_torchvision(name: str, classes: int) -> nn.Module:
    """A segmentation net of torchvision."""
    from torchvision.models import segmentation

    net: nn.Module = getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=classes)
    return net


def build_smp(name: str, encoder: str, classes: int, **decoder: int) -> nn.Module:
    """A net of segmentation-models-pytorch."""
    import segmentation_models_pytorch as smp  # type: ignore[import-not-found,unused-ignore]

    net: nn.Module = getattr(smp, name)(encoder_name=encoder, encoder_weights=None, classes=classes, **decoder)
    return net


def build_transformers(classes: int) -> nn.Module:
    """SegFormer of transformers, whose default configuration is that of B0 (Xie et al., 2021)."""
    import transformers  # type: ignore[import-not-found,unused-ignore]

    net: nn.Module = transformers.SegformerForSemanticSegmentation(transformers.SegformerConfig(num_labels=classes))
    return net


NETS: dict[str, Callable[[int], nn.Module]] = {
    "torchvision-lraspp": lambda classes: build_torchvision("lraspp_mobilenet_v3_large", classes),
    "torchvision-deeplabv3": lambda classes: build_torchvision("deeplabv3_mobilenet_v3_large", classes),
    "smp-unet": lambda classes: build_smp("Unet", "resnet18", classes),
    "smp-fpn": lambda classes: build_smp("FPN", "resnet18", classes),
    "smp-deeplabv3plus": lambda classes: build_smp("DeepLabV3Plus", "mobilenet_v2", classes),
    "smp-segformer": lambda classes: build_smp(
        "Segformer", "tu-regnetx_002", classes, decoder_segmentation_channels=64
    ),
    "transformers-segformer": build_transformers,
}


class LogitsAsFeatures(nn.Identity):
    """The head of a net whose features are its logits: its biases are those of the net's `last` layer."""

    def __init__(self, classes: int, last: nn.Conv2d) -> None:
        super().__init__()
        self.in_channels = self.out_channels = classes
        self._last = (last,)  # in a tuple, so that its tensors are not told twice

    @property
    def bias(self) -> Tensor:
        """[C], to be changed in place."""
        assert self._last[0].bias is not None
        return self._last[0].bias


class ForeignNet(SegmentationNet):
    """A foreign net in the place of one of ours: it takes our normalised BGR pictures, and its features are its logits.

    It has no auxiliary heads, so the recipe's `aux` has to be 0; a teacher teaches it by logits alone.
    """

    def __init__(self, net: nn.Module, classes: int, library: Library) -> None:
        super().__init__()
        self.classes, self.net, self.library = classes, net, library
        self.head = LogitsAsFeatures(classes, library.last(net))  # type: ignore[assignment]
        self.aux_heads = nn.ModuleList()

    def features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The logits three times, at the foreign net's own stride."""
        mean, std = (torch.tensor(values, device=x.device)[:, None, None] for values in (MEAN, STD))
        rgb = (x.flip(1) * INPUT_SCALE + INPUT_MIDDLE) / 255
        logits = self.library.logits(self.net, (rgb - mean) / std)
        return logits, logits, logits

    def heads(self, features: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """The same: the recipe's `aux` of 0 leaves two of them out."""
        at4, at8, at16 = features
        return at4, at8, at16

    def pyramid(self, x: Tensor) -> Iterator[Tensor]:
        """Nothing that is known."""
        raise ModelError("A foreign net does not tell its encoder's features.")

    def encoder_parts(self) -> list[nn.Module]:
        """None that are known, so that nothing can be frozen."""
        return []


def build_foreign(name: str, classes: int) -> ForeignNet:
    """One of NETS with weights of chance, in the place of one of ours."""
    return ForeignNet(NETS[name](classes), classes, LIBRARIES[name.partition("-")[0]])


class Exported(nn.Module):
    """The foreign net as its library's users have it: float RGB pictures in, logits alone out."""

    def __init__(self, foreign: ForeignNet) -> None:
        super().__init__()
        self.net, self.full = foreign.net, foreign.library.full

    def forward(self, x: Tensor) -> Tensor:
        return self.full(self.net, x)


EXPORTERS = ("torchscript", "dynamo")


def export(
    net: ForeignNet, size: tuple[int, int], out: Path, *, exporter: str = "torchscript", batch: int | None = None
) -> None:
    """Write the library's own net as ONNX for pictures of `size` (width, height), by either of PyTorch's exporters.

    The batch is free where none is given.
    """
    pictures = torch.zeros(batch or 2, 3, *size[::-1])
    named: dict[str, Any] = {"input_names": ["input"], "output_names": ["logits"], "verbose": False}
    if exporter == "torchscript":
        named |= {"dynamo": False, "opset_version": 17}
        named |= {} if batch else {"dynamic_axes": {"input": {0: "batch"}, "logits": {0: "batch"}}}
    else:
        named |= {"dynamo": True, "external_data": False}
        named |= {} if batch else {"dynamic_shapes": ({0: torch.export.Dim("batch")},)}
    with written_whole(out) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shapes that are constants, and of the exporter's own future
        torch.onnx.export(Exported(net).eval(), (pictures,), temporary, **named)
