"""Augmentation of one labelled picture, on a CPU or a GPU: every choice a function of the generator it is given."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from edge_seg.recipe import Samples
from edge_seg.types import VOID, UInt8Array

MID_GREY = 128
"""Colour outside the picture: zero after normalisation, as the convolutions' own padding."""
BEND_PX = 10.0
"""Standard deviation of the elastic displacements, on a grid of 3 x 3 points: U-Net (2015), section 3.1."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What is done to one picture: `box` is (top, left, height, width) in its pixels and may reach beyond it.

    `colours` [3, 4] maps (B, G, R, 1) to the new colours, `bend` [2, 3, 3] are displacements (x, y) in pixels.
    """

    box: tuple[float, float, float, float]
    mirrored: bool
    colours: NDArray[np.float32]
    bend: NDArray[np.float32] | None
    outside: str = "void"


def plan_view(truth: UInt8Array, rng: np.random.Generator, samples: Samples, rare: tuple[int, ...] = ()) -> View:
    """A random view of a picture with labels `truth` [H, W]; some hold a pixel of one of the classes `rare`."""
    height, width = truth.shape
    scale = float(np.exp(rng.uniform(np.log(samples.scale_least), np.log(samples.scale_most))))
    stretch = 2.0 ** rng.uniform(-samples.stretch, samples.stretch)
    box_height, box_width = height / (scale / stretch), width / (scale * stretch)
    corner = rng.random(2) * (height - box_height, width - box_width)
    if rng.random() < samples.rare and (pixel := _rare_pixel(truth, rng, rare)) is not None:
        around = pixel - rng.random(2) * (box_height, box_width)
        room = np.array([height - box_height, width - box_width])
        corner = np.where(room > 0, np.clip(around, 0, np.maximum(room, 0)), corner)
    mirrored = bool(rng.random() < samples.mirror)
    colours = _random_colours(rng, samples.colour)
    bend = rng.normal(0, BEND_PX, (2, 3, 3)).astype(np.float32) if rng.random() < samples.elastic else None
    return View((float(corner[0]), float(corner[1]), box_height, box_width), mirrored, colours, bend, samples.outside)


def _rare_pixel(truth: UInt8Array, rng: np.random.Generator, rare: tuple[int, ...]) -> NDArray[np.int64] | None:
    """Row and column of a pixel of one of the rare classes, each of those in the picture as likely."""
    there = [label for label in np.flatnonzero(np.bincount(truth.ravel(), minlength=256)) if label in rare]
    if not there:
        return None
    pixels = np.flatnonzero(truth.ravel() == there[rng.integers(len(there))])
    return np.array(divmod(int(pixels[rng.integers(len(pixels))]), truth.shape[1]))


def _random_colours(rng: np.random.Generator, strength: float) -> NDArray[np.float32]:
    """Brightness, contrast, saturation and a colour cast in one affine map [3, 4] of the colours."""
    saturation = 1 + strength * rng.uniform(-0.5, 0.5)
    contrast = 2.0 ** (strength * rng.uniform(-0.4, 0.4))
    cast = 2.0 ** (strength * rng.uniform(-0.1, 0.1, (3, 1)))
    mix = (saturation * np.eye(3) + (1 - saturation) / 3) * contrast * cast
    offset = MID_GREY * (1 - contrast) + strength * rng.uniform(-24, 24)
    return np.hstack([mix, np.full((3, 1), offset)]).astype(np.float32)


def take_view(image: Tensor, truth: Tensor, view: View) -> tuple[Tensor, Tensor]:
    """Image uint8 [3, H, W] BGR and labels uint8 [H, W] as `view` shows them, in the same size and on the same device.

    What the picture does not cover is grey and VOID, or its mirror image; what a bend pulls in, grey and VOID always.
    """
    pixels, labels = _cut(_recolour(image, view.colours), truth[None], view)
    if view.mirrored:
        pixels, labels = pixels.flip(-1), labels.flip(-1)
    if view.bend is not None:
        pixels, labels = _bend(pixels, labels, view.bend)
    return pixels, labels[0]


def _cut(image: Tensor, truth: Tensor, view: View) -> tuple[Tensor, Tensor]:
    """The view's box of a picture in the picture's own size."""
    (rows, into_rows), (columns, into_columns) = (
        _overlap(view.box[axis], view.box[axis + 2], truth.shape[axis + 1]) for axis in (0, 1)
    )
    area, size = (rows[0], columns[0], rows[1], columns[1]), [into_rows[1], into_columns[1]]
    pixels = tv.resized_crop(image, *area, size, antialias=True)
    labels = tv.resized_crop(truth, *area, size, interpolation=InterpolationMode.NEAREST_EXACT)
    height, width = truth.shape[1:]
    above, left = into_rows[0], into_columns[0]
    if size == [height, width]:
        return pixels, labels
    if view.outside == "mirror":
        seen = _mirrored(size[0], above, height, image.device), _mirrored(size[1], left, width, image.device)
        return pixels[:, seen[0]][:, :, seen[1]], labels[:, seen[0]][:, :, seen[1]]
    around = [left, above, width - size[1] - left, height - size[0] - above]
    return tv.pad(pixels, around, fill=MID_GREY), tv.pad(labels, around, fill=VOID)


def _overlap(start: float, length: float, side: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """First pixel and length of what a box holds of a picture's side, and where that lies in the view.

    >>> _overlap(10.0, 50.0, 100), _overlap(-50.0, 200.0, 100)
    (((10, 50), (0, 100)), ((0, 100), (25, 50)))
    """
    first, end = max(0, round(start)), min(side, round(start + length))
    begin = max(0, round((first - start) * side / length))
    stop = min(side, round((end - start) * side / length))
    if first == round(start) and end == round(start + length):
        begin, stop = 0, side  # all of it is within
    return (first, max(1, end - first)), (begin, max(1, stop - begin))


def _mirrored(inner: int, before: int, side: int, device: torch.device) -> Tensor:
    """Indices [side] into a part of `inner` pixels that begins at `before`, mirrored at its ends as often as needed.

    >>> _mirrored(3, 2, 8, torch.device("cpu")).tolist()
    [1, 0, 0, 1, 2, 2, 1, 0]
    """
    place = (torch.arange(side, device=device) - before) % (2 * inner)
    return torch.minimum(place, 2 * inner - 1 - place)


def _bend(image: Tensor, labels: Tensor, bend: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    """Both displaced by a smooth field: `bend` [2, 3, 3], bicubic in between."""
    height, width = labels.shape[-2:]
    grid = torch.from_numpy(bend)[None].to(image.device)
    shift = F.interpolate(grid, size=(height, width), mode="bicubic", align_corners=True)[0]
    field = torch.stack((2 * shift[0] / width, 2 * shift[1] / height), -1)[None]
    pixels = tv.elastic(image, field, fill=[float(MID_GREY)] * 3)
    return pixels, tv.elastic(labels, field, interpolation=InterpolationMode.NEAREST, fill=[float(VOID)])


def _recolour(image: Tensor, colours: NDArray[np.float32]) -> Tensor:
    """New colours, saturating at 0 and 255."""
    matrix = torch.from_numpy(colours).to(image.device)
    mixed = torch.addmm(matrix[:, 3:], matrix[:, :3], image.reshape(3, -1).float())
    return mixed.round_().clamp_(0, 255).to(torch.uint8).view_as(image)
