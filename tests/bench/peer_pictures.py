"""The pictures that the peers of `tests/bench/peers.py` calibrate on: those of our own file, where --data has them."""

import json
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from edge_seg.apps.ladder import GATE_IMAGES
from edge_seg.calib.images import calibration_images, pick_indices
from edge_seg.calib.manifest import manifest_hash, manifest_images, read_manifest
from edge_seg.calib.split import split
from edge_seg.data import open_dataset
from edge_seg.spec import ModelSpec
from edge_seg.types import UInt8Array
from edge_seg.weights import BUNDLED, FOLDER

IMAGES = 120
"""As many as `edge-seg quantize` takes, and took for the bundled nets."""


class Pictures(NamedTuple):
    """A set by the name that ranges have for it, a text that tells it from others, and a reader of [1, H, W, 3] BGR."""

    name: str
    key: str
    read: Callable[[], Iterator[UInt8Array]]


def choose_pictures(spec: ModelSpec, options: Namespace, shipped: str = "") -> Pictures:
    """Those of --manifest, else of --data at the net's size: the set named `shipped`, where the gates of `edge-seg
    quantize` would calibrate on that, else 120 spread evenly.
    """
    if options.manifest is not None:
        manifest = read_manifest(options.manifest)
        return Pictures(manifest_hash(manifest), options.manifest.read_text(), lambda: manifest_images(manifest, spec))
    dataset = open_dataset(options.data)
    if shipped:
        apart = split(dataset, IMAGES, GATE_IMAGES)[0]
        if apart.name == shipped:
            key = f"{options.data}: {apart.name}"
            return Pictures(apart.name, key, lambda: calibration_images(apart, spec, len(apart)))
    count = len(pick_indices(len(dataset), IMAGES))
    name = f"{dataset.name}, {count} pictures spread evenly"
    return Pictures(name, options.data, lambda: calibration_images(dataset, spec, count))


def shipped_pictures(given: str) -> str:
    """The name of the pictures that an INT8 file was calibrated on, a bundled name or a path, from the ranges that
    `edge-seg quantize` wrote beside it; empty where there are none.
    """
    ranges = FOLDER / f"{given}.ranges.json" if given in BUNDLED else Path(given).with_suffix(".ranges.json")
    return str(json.loads(ranges.read_text())["pictures"]) if ranges.is_file() else ""


def describe(name: str, shipped: str, *, given: bool) -> str:
    """What the peers were calibrated on, and whether ours was too.

    >>> describe("a, 9 pictures", "a, 9 pictures", given=True)
    'peers: a, 9 pictures; ours: the same, by the name in its ranges'
    """
    if not given:
        return f"peers: {name}; ours: the same pictures"
    if not shipped:
        return f"peers: {name}; ours: not known, no ranges lie beside the file"
    return f"peers: {name}; ours: {'the same, by the name in its ranges' if name == shipped else f'OTHERS, {shipped}'}"
