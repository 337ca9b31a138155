"""The table of architectures."""

import difflib
from collections.abc import Callable

from edge_seg.errors import ModelError
from edge_seg.models.edge_seg import EdgeSeg, edge_seg_l, edge_seg_n, edge_seg_s
from edge_seg.models.encoders import build_encoder_net, is_encoder_name
from edge_seg.models.net import SegmentationNet

MODELS: dict[str, Callable[[int], EdgeSeg]] = {
    "edge-seg-n": edge_seg_n,
    "edge-seg-s": edge_seg_s,
    "edge-seg-l": edge_seg_l,
}

WEIGHTS = ("random", "published")
"""What an encoder starts from."""


def list_models() -> list[str]:
    """Names of our own architectures, sorted.

    >>> list_models()
    ['edge-seg-l', 'edge-seg-n', 'edge-seg-s']
    """
    return sorted(MODELS)


def build_model(name: str, classes: int, *, weights: str = "random") -> SegmentationNet:
    """A net for `classes` classes with weights of chance, or with published ones in the encoder (`published`).

    `name` is one of `list_models`, `torchvision:NAME` or `timm:NAME`. ModelError with the nearest name for an unknown
    one, and where no weights are published for it.
    """
    if is_encoder_name(name):
        return build_encoder_net(name, classes, published=weights == "published")
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        others = "and torchvision:NAME or timm:NAME for their networks as encoders"
        raise ModelError(f"Unknown model {name!r}; known: {', '.join(list_models())}, {others}.{hint}")
    if weights == "published":
        raise ModelError(
            f"Nobody publishes encoder weights for {name}. Choose --arch torchvision:NAME or timm:NAME, or start from "
            "the bundled net: --init edge-seg-s-fp32"
        )
    return MODELS[name](classes)
