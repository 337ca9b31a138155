"""Weights that others published: fetched once, and made to take pictures as our own nets do."""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from edge_seg.errors import ModelError
from edge_seg.spec import INPUT_MIDDLE, INPUT_SCALE

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of red, green and blue in 0..1, by which published weights expect their pictures."""

IMAGENET = "ImageNet"
"""The data set that published weights owe to."""
IMAGENET_LICENCE = "Encoder weights trained on ImageNet: see its terms of access and the weights' publisher"


def fetch(url: str, name: str | None = None, *, sha256_start: str | None = None) -> Path:
    """The file of `url` in torch hub's folder of checkpoints, downloaded where it does not lie there yet.

    `sha256_start` is what the download's hash has to start with. ModelError where it cannot be fetched, and where the
    file holds code in place of weights alone.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / (name or Path(url).name)
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), sha256_start, progress=sys.stderr.isatty())
        except (OSError, RuntimeError) as error:
            raise ModelError(
                f"The published weights {path.name} could not be fetched from {url} ({error}). Put the file into "
                f"{path.parent} by hand, or leave out --encoder-weights to train from scratch."
            ) from None
    _check_weights(path)
    return path


def _check_weights(path: Path) -> None:
    """ModelError for a file that is damaged, or that would run code when the library loads it."""
    try:
        if path.suffix == ".safetensors":  # holds nothing but numbers
            from safetensors import safe_open

            with safe_open(path, "pt") as file:
                file.keys()
        else:
            torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes of the readers
        raise ModelError(
            f"{path} is no file of weights ({type(error).__name__}: {error}). Delete it and start again."
        ) from None


@torch.no_grad()
def fold_normalisation(convolution: nn.Conv2d, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Change a convolution of (rgb / 255 - mean) / std into one of (bgr - 128) / 64, the pictures of our own nets.

    Equal but for the border: there the zeros around the picture stood for the mean and stand for grey now.
    """
    if convolution.bias is None or type(convolution).__name__ not in ("Conv2d", "Conv2dSame"):
        raise ModelError(
            f"The first convolution is a {type(convolution).__name__}, which published weights do not fit."
        )
    middle, spread = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (mean, std))
    weight: Tensor = convolution.weight.double()
    offset = (weight * ((INPUT_MIDDLE / 255 - middle) / spread)).sum((1, 2, 3))
    convolution.bias.copy_(convolution.bias.double() + offset)
    convolution.weight.copy_((weight * (INPUT_SCALE / 255 / spread)).flip(1))
