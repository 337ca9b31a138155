"""What `edge-seg build --calib implicit` calibrates by: a cache as it is, or the pictures of a manifest."""

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from edge_seg.apps.calibration_data import check_calibration_data
from edge_seg.errors import DataError
from edge_seg.files import write_whole

if TYPE_CHECKING:
    from edge_seg.export.build_engine import Calibration
    from edge_seg.runners.cuda import Device
    from edge_seg.spec import ModelSpec
    from edge_seg.types import UInt8Array


def calibration_of(
    calib: str, *, source: Path, out: Path, cache: Path | None, manifest: Path | None, calibrator: str, batch: int
) -> "Calibration | None":
    """The calibration that the options ask for; None for `qdq`. Wrong usage for options that do not go together.

    By pictures, the cache is kept beside the engine `out` as `out.cache`, and serves again for the same model, pictures
    and calibrator. DataError for a cache or manifest that cannot be used.
    """
    if calib not in ("qdq", "implicit"):
        raise typer.BadParameter(f"--calib {calib}: expected qdq or implicit.")
    if (calib == "implicit") != ((cache is None) != (manifest is None)):
        raise typer.BadParameter(
            "--calib implicit takes either --cache FILE (of edge-seg calib cache) or --manifest FILE (of "
            "edge-seg calib images), and these are for it alone."
        )
    if cache is not None:
        return by_cache(cache)
    if manifest is not None:
        return by_pictures(source, manifest, out.with_name(f"{out.name}.cache"), calibrator, batch)
    return None


def by_cache(path: Path) -> "Calibration":
    """The calibration of a cache that is there."""
    from edge_seg.calib.tensorrt_cache import ALGORITHMS, read_cache
    from edge_seg.calib.trt_calibrator import make_calibrator
    from edge_seg.export.build_engine import Calibration
    from edge_seg.runners.engine_file import sha256

    found, content = read_cache(path), path.read_bytes()
    kinds = {ALGORITHMS["entropy2"]: "entropy", ALGORITHMS["min-max"]: "min-max"}
    if found.algorithm not in kinds:
        raise DataError(f"{path} is of {found.algorithm}. Write one of entropy2 or min-max: edge-seg calib cache")
    kind = kinds[found.algorithm]
    return Calibration(lambda trt, device: make_calibrator(trt, kind, cache=content), sha256(content))


def by_pictures(source: Path, manifest: Path, cache: Path, kind: str, batch: int) -> "Calibration":
    """The calibration of a manifest's pictures, `batch` at a time, with its cache kept for the same again."""
    from edge_seg.calib.manifest import manifest_hash, manifest_images, read_manifest
    from edge_seg.calib.trt_calibrator import KINDS, make_calibrator
    from edge_seg.export.build_engine import Calibration
    from edge_seg.runners.contract import read_onnx_spec
    from edge_seg.runners.engine_file import sha256

    if kind not in KINDS:
        raise typer.BadParameter(f"--calibrator {kind}: expected {' or '.join(KINDS)}.")
    found, spec = read_manifest(manifest), read_onnx_spec(source)
    check_calibration_data(*found.sources)
    key = sha256(f"{sha256(source.read_bytes())} {manifest_hash(found)} {kind} {batch}".encode())

    def make(trt: Any, device: "Device") -> Any:  # noqa: ANN401
        known = kept_cache(cache, f"{key} {trt.__version__}")
        pictures = manifest_images(found, spec) if known is None else ()
        return make_calibrator(
            trt,
            kind,
            batches=batches_of(pictures, batch, spec),
            device=device,
            cache=known,
            on_cache=lambda content: keep_cache(cache, content, f"{key} {trt.__version__}"),
        )

    return Calibration(make, key)


def batches_of(pictures: "Iterable[UInt8Array]", count: int, spec: "ModelSpec") -> "Iterator[UInt8Array]":
    """Pictures uint8 [1, H, W, 3] joined, `count` at a time; the last batch may be smaller."""
    left = iter(pictures)
    while batch := list(islice(left, count)):
        yield np.concatenate(batch).reshape(-1, spec.height, spec.width, 3)


def kept_cache(path: Path, key: str) -> bytes | None:
    """The cache of an earlier build, where it is of the same model, pictures and TensorRT; else None, and says why."""
    beside = path.with_name(f"{path.name}.json")
    if not path.is_file():
        return None
    try:
        stale = json.loads(beside.read_text())["of"] != key
    except (OSError, ValueError, KeyError, TypeError):
        stale = True
    if stale:
        print(f"{path} is of another model, other pictures or another TensorRT: calibrating anew.", file=sys.stderr)
        return None
    return path.read_bytes()


def keep_cache(path: Path, content: bytes, key: str) -> None:
    """Keep what TensorRT has found, and what it is of."""
    write_whole(path, content)
    write_whole(path.with_name(f"{path.name}.json"), json.dumps({"of": key}).encode())
