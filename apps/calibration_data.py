"""Which pictures a calibration may see: not those that are to tell how good its result is."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import typer

from edge_seg.errors import DataError
from edge_seg.files import read_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST_DEPTH = 8
"""Unions in unions, beyond which none is read: one may name itself."""


def check_calibration_data(*uris: str) -> None:
    """Wrong usage where a set is a split called test, or all are called val; the sets of a union are looked at too."""
    splits = [split_of(part) for uri in uris for part in _parts(uri)]
    split = "test" if "test" in splits else "val" if set(splits) == {"val"} else None
    if split is not None:
        raise typer.BadParameter(
            f"{' '.join(uris)}: what is learned or chosen on {split} cannot be measured there. Give pictures of train."
        )


def split_of(uri: str) -> str:
    """The last name in a data set's URI, or in the path of a folder or film.

    >>> split_of("camvid:CamVid/test/"), split_of("val"), split_of("drive:seed=1")
    ('test', 'val', 'seed=1')
    """
    return re.split("[:/]", uri.rstrip("/"))[-1]


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
