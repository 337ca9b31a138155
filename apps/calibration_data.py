"""Which pictures a calibration may see, not those that are to tell how good its result is; and what it saw."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edge_seg.errors import DataError
from edge_seg.files import read_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from edge_seg.calib.ranges import Ranges

MOST_DEPTH = 8
"""Unions in unions, beyond which none is read: one may name itself."""

SPLITS = {"test": {"test", "testing"}, "val": {"val", "valid", "validation"}}
"""What the splits are called that results are measured on."""

IMAGES = 120
"""Pictures of --data to calibrate on, where no number is given."""


def image_count(images: int | None, given: Path | None) -> int:
    """The number of --images; wrong usage where a file is `given` that says itself which pictures they are."""
    if images is not None and given is not None:
        raise typer.BadParameter(f"--images counts pictures of --data. Those of {given} are all taken: leave it out.")
    return images or IMAGES


def check_calibration_data(*uris: str) -> None:
    """Wrong usage where a set is a split called test, or all are called val; the sets of a union are looked at too."""
    splits = [split_of(part) for uri in uris for part in _parts(uri)]
    split = "test" if "test" in splits else "val" if set(splits) == {"val"} else None
    if split is not None:
        raise typer.BadParameter(
            f"{' '.join(uris)}: what is learned or chosen on {split} cannot be measured there. Give pictures of train."
        )


def tell_zeros(ranges: "Ranges") -> None:
    """Warn on stderr of tensors that are zero on every picture."""
    if zeros := ranges.zeros():
        one = len(zeros) == 1
        print(
            f"Warning: {len(zeros)} tensor{' is' if one else 's are'} zero on every calibration image ({zeros[0]}"
            f"{'' if one else ' and others'}): a part of the model does nothing there. Is the model trained, and are "
            "these its images?",
            file=sys.stderr,
        )


def split_of(uri: str) -> str:
    """The split by the last name in a data set's URI, or in the path of a folder or film: test, val, or that name.

    Of a glob, an image file or a film the folder's name counts; a path is followed to where it leads.

    >>> split_of("camvid:CamVid/testing/"), split_of("S/test/*/*.png"), split_of("val/images"), split_of("drive:seed=1")
    ('test', 'test', 'val', 'seed=1')
    """
    from edge_seg.calib.pictures import split_uri

    scheme, location = split_uri(uri)
    if scheme.startswith("drive:"):
        return scheme.partition(":")[2]
    path = os.path.normpath(location)
    names = [_telling_name(Path(path))]
    if "\0" not in path:  # which no file can have: that is told where it is opened
        names.append(_telling_name(Path(os.path.realpath(path))))
    return next((split for split, known in SPLITS.items() if not known.isdisjoint(names)), names[0])


def _telling_name(path: Path) -> str:
    """The last name that is no file's, no pattern and no `images`; of a city of Cityscapes' that of its split.

    >>> _telling_name(Path("/home/test/train/images")), _telling_name(Path("C/leftImg8bit/val/ulm/*.png"))
    ('train', 'val')
    """
    from edge_seg.data.images import IMAGE_SUFFIXES, is_glob

    if path.suffix.lower() in IMAGE_SUFFIXES or os.path.isfile(path):
        path = path.parent
    parts = [part for part in path.parts if not is_glob(part)]
    if parts[-1:] == ["images"]:
        parts.pop()
    if parts[-3:-2] == ["leftImg8bit"]:
        parts.pop()
    return parts[-1] if parts else ""


def _parts(uri: str, depth: int = 0) -> Iterator[str]:
    """The sets of a union by their URIs, or the one set that this is; a damaged union is told where it is opened."""
    scheme, _, location = uri.partition(":")
    if scheme != "union" or depth == MOST_DEPTH:
        yield uri
        return
    try:
        entries = tomllib.loads(read_text(Path(location), DataError)).get("set", [])
        found = [str(entry["data"]) for entry in entries]
    except (DataError, tomllib.TOMLDecodeError, KeyError, TypeError):
        found = []
    for part in found:
        yield from _parts(part, depth + 1)
