"""A calibration set as a file: which pictures of which sources, each with the hash of its pixels."""

import dataclasses
import hashlib
import json
import os
import re
import reprlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_seg.calib.pictures import Pictures, open_pictures, split_uri
from edge_seg.errors import DataError, EdgeSegError
from edge_seg.files import read_text, write_whole
from edge_seg.resize import resize_image
from edge_seg.spec import ModelSpec
from edge_seg.types import UInt8Array

VERSION = 1
MOST_PICTURES = 100_000
_PICK_AGAIN = "Pick again: edge-seg calib images"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a calibration set: its place in one of the set's sources, its name there, and what it looks like.

    `sha256` is `hash_image`'s. Brightness and contrast, the mean and the standard deviation of its grey, and saturation
    are in 0..1; `scene` numbers the scenes among which it was picked, over all sources.
    """

    source: int
    index: int
    name: str
    width: int
    height: int
    sha256: str
    scene: int
    brightness: float
    contrast: float
    saturation: float


@dataclass(frozen=True, slots=True)
class Manifest:
    """A calibration set: its sources by URI, its pictures in order of source and index, and what chose them.

    `model` names the model whose labels took part in the choice, `model_sha256` is the hash of its file; both are empty
    where there was none.
    """

    sources: tuple[str, ...]
    pictures: tuple[Picture, ...]
    seed: int
    model: str = ""
    model_sha256: str = ""


def hash_image(image: UInt8Array) -> str:
    """SHA-256 of a picture uint8 [H, W, 3] in BGR: of its size as text, and of its bytes row by row.

    >>> import numpy as np
    >>> hash_image(np.zeros((2, 3, 3), np.uint8)) == hashlib.sha256(b"3x2 " + bytes(18)).hexdigest()
    True
    """
    height, width = image.shape[:2]
    return hashlib.sha256(f"{width}x{height} ".encode() + image.tobytes()).hexdigest()


def manifest_hash(manifest: Manifest) -> str:
    """SHA-256 of the pictures' hashes in their order, as compact JSON: the same wherever the pictures lie.

    >>> manifest_hash(Manifest((), (), 1)) == hashlib.sha256(b"[]").hexdigest()
    True
    """
    return hash_hashes([picture.sha256 for picture in manifest.pictures])


def hash_hashes(hashes: Sequence[str]) -> str:
    """SHA-256 of the hashes of pictures in their order, as compact JSON."""
    return hashlib.sha256(json.dumps(list(hashes), separators=(",", ":")).encode()).hexdigest()


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest as JSON; a relative path of a source becomes one as seen from the manifest's own folder.

    SinkError where the file cannot be written.
    """
    folder = os.path.realpath(path.parent)
    head = {
        "version": VERSION,
        "hash": manifest_hash(manifest),
        "seed": manifest.seed,
        "model": manifest.model,
        "model_sha256": manifest.model_sha256,
        "sources": [_relative_to(folder, uri) for uri in manifest.sources],
    }
    lines = [f'  "{name}": {json.dumps(value)},' for name, value in head.items()]
    pictures = ",\n    ".join(json.dumps(dataclasses.asdict(picture)) for picture in manifest.pictures)
    text = "\n".join(["{", *lines, f'  "pictures": [\n    {pictures}\n  ]', "}"])
    write_whole(path, f"{text}\n".encode())


def _relative_to(folder: str, uri: str) -> str:
    scheme, location = split_uri(uri)
    if not location or os.path.isabs(location):
        return uri
    return scheme + os.path.relpath(os.path.realpath(location), folder)


def read_manifest(path: Path) -> Manifest:
    """Read what `write_manifest` wrote, its sources with whole paths; DataError, with the field, where it is none."""
    text = read_text(path, DataError)
    try:
        found: dict[str, Any] = json.loads(text)
        if found["version"] != VERSION:
            shown = reprlib.repr(found["version"])
            raise DataError(f"{path} is a manifest of version {shown}; this program reads {VERSION}. {_PICK_AGAIN}")
        pictures = tuple(Picture(**entry) for entry in found["pictures"])
        sources, claimed = found["sources"], found["hash"]
        manifest = Manifest(tuple(sources), pictures, found["seed"], found["model"], found["model_sha256"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} is no manifest of a calibration set ({error}). {_PICK_AGAIN}") from None
    _check(path, manifest)
    if claimed != manifest_hash(manifest):
        raise DataError(f"{path} was edited: its pictures have another hash than it says. {_PICK_AGAIN}")
    folder = os.path.realpath(path.parent)
    return dataclasses.replace(manifest, sources=tuple(_seen_from(folder, uri) for uri in manifest.sources))


def _seen_from(folder: str, uri: str) -> str:
    scheme, location = split_uri(uri)
    return scheme + os.path.normpath(os.path.join(folder, location)) if location else uri


_WHOLE = ("source", "index", "width", "height", "scene")
_NUMBERS = ("brightness", "contrast", "saturation")


def _check(path: Path, manifest: Manifest) -> None:
    """DataError for a field of another type or range: the text comes from a file, and the annotations bind no file."""
    pictures = manifest.pictures
    texts = [*manifest.sources, manifest.model, manifest.model_sha256]
    _expect(all(isinstance(text, str) for text in texts), path, "sources, model or model_sha256", "text")
    _expect(type(manifest.seed) is int, path, "seed", "a whole number")
    _expect(0 < len(pictures) <= MOST_PICTURES, path, "pictures", f"1 to {MOST_PICTURES} of them")
    for number, picture in enumerate(pictures):
        where = f"pictures[{number}]"
        for name in _WHOLE:
            value = getattr(picture, name)
            _expect(type(value) is int and value >= 0, path, f"{where}.{name}", "a whole number, 0 or more")
        for name in _NUMBERS:
            value = getattr(picture, name)
            _expect(type(value) in (int, float) and 0 <= value <= 1, path, f"{where}.{name}", "a number from 0 to 1")
        _expect(isinstance(picture.name, str), path, f"{where}.name", "text")
        good = isinstance(picture.sha256, str) and re.fullmatch("[0-9a-f]{64}", picture.sha256)
        _expect(bool(good), path, f"{where}.sha256", "64 hexadecimal digits")
        _expect(picture.source < len(manifest.sources), path, f"{where}.source", "the number of a source, from 0")
    places = [(picture.source, picture.index) for picture in pictures]
    _expect(places == sorted(set(places)), path, "pictures", "each once, in order of source and index")


def _expect(good: bool, path: Path, field: str, expected: str) -> None:
    if not good:
        raise DataError(f"{path} is no manifest of a calibration set: {field} is not {expected}. {_PICK_AGAIN}")


def manifest_images(manifest: Manifest, spec: ModelSpec) -> Iterator[UInt8Array]:
    """The set's pictures in order, uint8 [1, H, W, 3] BGR at the model's size, each compared with its hash before.

    One picture is in memory at a time. DataError, naming the picture, where one is missing or has changed.
    """
    for number, uri in enumerate(manifest.sources):
        wanted = [picture for picture in manifest.pictures if picture.source == number]
        for image in _read_checked(uri, wanted):
            yield resize_image(image, spec.width, spec.height)[None]


def _read_checked(uri: str, wanted: Sequence[Picture]) -> Iterator[UInt8Array]:
    found = _open_source(uri).read([picture.index for picture in wanted])
    for picture in wanted:
        shot = next(found, None)
        if shot is None or shot.index != picture.index:
            raise DataError(f"{_name(picture, uri)} is missing or damaged. Put it back. {_PICK_AGAIN}")
        if hash_image(shot.image) != picture.sha256:
            now = "" if shot.name == picture.name else f" In its place is {shot.name}: files were added or removed."
            raise DataError(
                f"{_name(picture, uri)} has other pixels than when it was picked.{now} The file was changed, or "
                f"another version of the decoder reads it. Put the old one back. {_PICK_AGAIN}"
            )
        yield shot.image


def _open_source(uri: str) -> Pictures:
    try:
        return open_pictures(uri)
    except EdgeSegError as error:
        raise DataError(
            f"{error} It is a source of the calibration set. If its files have moved, correct `sources` in the "
            f"manifest. {_PICK_AGAIN}"
        ) from None


def _name(picture: Picture, uri: str) -> str:
    return f"Calibration picture {picture.name} (number {picture.index} of {uri})"
