"""The features of timm's networks, as its `features_only` gives them."""

import os
from pathlib import Path
from typing import Any

from torch import nn

from edge_seg.errors import ModelError, import_extra
from edge_seg.models.encoders import no_pyramid, unknown_network
from edge_seg.models.net import STRIDES
from edge_seg.models.published import Normalisation, fetch

Pyramid = tuple[nn.Module, tuple[int, ...], Normalisation | None]


def open_pyramid(network: str, *, published: bool) -> Pyramid:
    """timm's `network` down to its last feature, the indices of its outputs at strides 4 to 32, and what its weights
    were trained on: None for weights of chance."""
    timm = import_extra("timm", "train")
    if not timm.is_model(network):
        raise unknown_network("timm", network, timm.list_models())
    options, normalisation = _published(network) if published else ({}, None)
    try:
        net: nn.Module = timm.create_model(network, features_only=True, pretrained=published, **options)
        strides: list[int] = net.feature_info.reduction()  # type: ignore[union-attr,operator]
    except Exception as error:  # whatever a builder makes of an option that its network has not
        raise ModelError(
            f"timm:{network} cannot be an encoder ({type(error).__name__}: {error}). "
            "Choose another, such as timm:resnet18."
        ) from None
    if any(stride not in strides for stride in STRIDES):
        raise no_pyramid(f"timm:{network}", sorted(set(strides)))
    return net, tuple(len(strides) - 1 - strides[::-1].index(stride) for stride in STRIDES), normalisation


def _published(network: str) -> tuple[dict[str, Any], Normalisation]:
    """timm's options for the weights' file, fetched here so that a second run needs no network, and their middle."""
    from timm.models import get_pretrained_cfg

    about: Any = get_pretrained_cfg(network)
    if about is None or not (about.hf_hub_id or about.url):
        raise ModelError(f"timm has no published weights for {network}. Leave out --encoder-weights.")
    if about.hf_hub_id:
        host = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
        url = f"{host}/{about.hf_hub_id}/resolve/main/{about.hf_hub_filename or 'model.safetensors'}"
    else:
        url = about.url
    tag = f".{about.tag}" if about.tag else ""
    file = fetch(url, f"{about.architecture}{tag}{Path(url).suffix}")
    return {"pretrained_cfg_overlay": {"file": str(file)}}, (tuple(about.mean), tuple(about.std))
