"""The features of timm's networks, as its `features_only` gives them."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from edge_seg.errors import ModelError, import_extra
from edge_seg.models.encoders import Pyramid, no_pyramid, unknown_network
from edge_seg.models.net import STRIDES
from edge_seg.models.published import Normalisation, fetch


def open_pyramid(network: str, *, published: bool) -> Pyramid:
    """timm's `network` down to its last feature, the indices of its outputs at strides 4 to 32, and what its weights
    were trained on: None for weights of chance."""
    timm = import_extra("timm", "train")
    if not timm.is_model(network):
        raise unknown_network("timm", network, timm.list_models())
    options, normalisation = _published(network) if published else ({}, None)
    try:
        with _remarks() as remarks:
            net: nn.Module = timm.create_model(network, features_only=True, pretrained=published, **options)
        strides: list[int] = net.feature_info.reduction()  # type: ignore[union-attr,operator]
    except Exception as error:  # whatever a builder makes of an option that its network has not, or of a file
        reason = f"{type(error).__name__}: {str(error).strip()}"[:200]
        hint = "Is the file of this network?" if published else "Choose another, such as timm:resnet18."
        raise ModelError(f"timm:{network} cannot be an encoder ({reason}). {hint}{_file_of(options)}") from None
    missing = next((remark.count(", ") + 1 for remark in remarks if remark.startswith("Missing keys")), 0)
    if missing > len(net.state_dict()) / 2:  # some networks miss a few, which they have as encoders only
        raise ModelError(f"{missing} tensors of timm:{network} are missing in its file.{_file_of(options)}")
    if any(stride not in strides for stride in STRIDES):
        raise no_pyramid(f"timm:{network}", sorted(set(strides)))
    return net, tuple(len(strides) - 1 - strides[::-1].index(stride) for stride in STRIDES), normalisation


def _file_of(options: dict[str, Any]) -> str:
    """What to do about the file in the options, after a space; nothing where there is none."""
    file = options.get("pretrained_cfg_overlay", {}).get("file")
    return f" Delete {file} and start again." if file else ""


@contextmanager
def _remarks() -> Iterator[list[str]]:
    """What timm says of a file while it builds a network, such as that nothing took the classifier's tensors."""
    said: list[str] = []
    logger = logging.getLogger("timm.models._builder")

    def keep(record: logging.LogRecord) -> bool:
        said.append(record.getMessage())
        return False

    level = logger.level
    logger.addFilter(keep)
    logger.setLevel(logging.INFO)
    try:
        yield said
    finally:
        logger.setLevel(level)
        logger.removeFilter(keep)


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
