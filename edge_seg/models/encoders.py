"""Classification networks of torchvision and timm as encoders under our decoder: `torchvision:NAME`, `timm:NAME`.

The first convolution has a bias in every case, since published weights put the middle of their normalisation there.
"""

import difflib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from edge_seg.errors import ModelError
from edge_seg.models.net import STRIDES, SegmentationNet
from edge_seg.models.published import Normalisation, fold_normalisation

DECODER = 64
"""Channels of the decoder, as those of edge-seg-s."""

PROBE_SIZE = (96, 128)
"""Height and width of the zeros that a network is tried with."""

Pyramid = tuple[nn.Module, tuple[int, ...], Normalisation | None]
"""A network down to its last feature, the indices of its outputs at strides 4 to 32, and what its weights expect."""

LIBRARIES = ("torchvision", "timm")


class EncoderNet(SegmentationNet):
    """A network that gives features at strides 4, 8, 16 and 32 (a list, or a dict in that order) under our decoder."""

    def __init__(self, classes: int, encoder: nn.Module, *, picked: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.picked = tuple(picked)
        self._add_decoder(classes, widths, DECODER)

    def pyramid(self, x: Tensor) -> Iterator[Tensor]:
        """The features at strides 4, 8, 16 and 32, one after the other."""
        found = _as_list(self.encoder(x))
        return (found[index] for index in self.picked)

    def encoder_parts(self) -> list[nn.Module]:
        """The library's network."""
        return [self.encoder]


def is_encoder_name(name: str) -> bool:
    """True for `torchvision:NAME` and `timm:NAME`, whether the library knows NAME or not.

    >>> is_encoder_name("timm:resnet18"), is_encoder_name("edge-seg-s")
    (True, False)
    """
    library, colon, _ = name.partition(":")
    return bool(colon) and library in LIBRARIES


def build_encoder_net(name: str, classes: int, *, published: bool = False) -> EncoderNet:
    """The net of `torchvision:NAME` or `timm:NAME`, its encoder with published weights or with weights of chance.

    ModelError for an unknown name, with near ones, for a network without features at strides 4, 8, 16 and 32, and for
    weights that are published nowhere or cannot be fetched.
    """
    library, _, network = name.partition(":")
    if library == "timm":
        from edge_seg.models.timm_pyramid import open_pyramid
    else:
        from edge_seg.models.torchvision_pyramid import open_pyramid
    encoder, picked, normalisation = open_pyramid(network, published=published)
    features, first = probe(encoder, name)
    widths = [_width(features[index], name) for index in picked]
    for convolution in first:
        if convolution.bias is None:
            convolution.bias = nn.Parameter(torch.zeros(convolution.out_channels))
        if normalisation is not None:
            fold_normalisation(convolution, *normalisation)
    return EncoderNet(classes, encoder.train(), picked=picked, widths=widths)


@torch.no_grad()
def probe(encoder: nn.Module, name: str) -> tuple[list[Tensor], list[nn.Conv2d]]:
    """The features of a picture of zeros, and the convolutions that read the picture itself."""
    image, first = torch.zeros(1, 3, *PROBE_SIZE), []

    def notice(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if isinstance(module, nn.Conv2d) and inputs[0] is image:
            first.append(module)

    hooks = [module.register_forward_pre_hook(notice) for module in encoder.modules()]
    try:
        features = _as_list(encoder.eval()(image))
    except Exception as error:  # whatever a network of a fixed size makes of another one
        raise ModelError(f"{name} takes no pictures of any size ({str(error).splitlines()[0]}).") from None
    finally:
        for hook in hooks:
            hook.remove()
    if not first or any(conv.groups != 1 for conv in first):
        raise ModelError(f"{name} does not start with a plain convolution of the picture. Choose another network.")
    return features, first


def _width(feature: Tensor, name: str) -> int:
    height, width = PROBE_SIZE
    # Channels last, as some transformers give them, would show as a height or width that is none.
    if feature.ndim != 4 or abs(feature.shape[2] * width - feature.shape[3] * height) > max(PROBE_SIZE):
        raise ModelError(f"{name} gives features {list(feature.shape)}, expected [N, C, H, W]. Choose another network.")
    return feature.shape[1]


def _as_list(features: dict[str, Tensor] | list[Tensor]) -> list[Tensor]:
    return list(features.values()) if isinstance(features, dict) else list(features)


def unknown_network(library: str, network: str, known: Sequence[str]) -> ModelError:
    """The error for a name that `library` has not, with the nearest that it has.

    >>> str(unknown_network("timm", "resnet19", ["resnet18", "vgg11"]))
    "timm has no network 'resnet19'. Near it: timm:resnet18."
    """
    near = difflib.get_close_matches(network, known, n=3)
    hint = f"Near it: {', '.join(f'{library}:{name}' for name in near)}." if near else f"Try {library}:resnet18."
    return ModelError(f"{library} has no network {network!r}. {hint}")


def no_pyramid(name: str, found: Sequence[int]) -> ModelError:
    """The error for a network with features at the strides `found` alone.

    >>> print(no_pyramid("timm:vit", [16]))
    timm:vit has features at strides 16; an encoder needs them at 4, 8, 16, 32. Choose another, such as ...
    """
    strides, wanted = (", ".join(map(str, values)) or "none" for values in (found, STRIDES))
    return ModelError(
        f"{name} has features at strides {strides}; an encoder needs them at {wanted}. "
        "Choose another, such as torchvision:resnet18."
    )
