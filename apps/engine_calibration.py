"""What `edge-seg build --calib implicit` calibrates by: a cache as it is, or the pictures of a manifest."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from edge_seg.apps.calibration_data import check_calibration_data
from edge_seg.errors import DataError
from edge_seg.files import write_whole

if TYPE_CHECKING:
    from edge_seg.calib.tensorrt_cache import Cache
    from edge_seg.export.calibrated import Calibration
    from edge_seg.runners.cuda import Device
    from edge_seg.types import UInt8Array


def calibration_of(
    calib: str,
    *,
    source: Path,
    out: Path,
    cache: Path | None,
    manifest: Path | None,
    calibrator: str | None,
    batch: int | None,
) -> "Calibration | None":
    """The calibration that the options ask for; None for `qdq`. Wrong usage for options that do not go together.

    By pictures, the cache is kept beside the engine `out` as `out.cache`, and serves again for the same model,
    pictures, calibrator and TensorRT. DataError for a cache or manifest that cannot be used.
    """
    if calib not in ("qdq", "implicit"):
        raise typer.BadParameter(f"--calib {calib}: expected qdq or implicit.")
    if (calib == "implicit") != ((cache is None) != (manifest is None)):
        raise typer.BadParameter(
            "--calib implicit takes either --cache FILE (of edge-seg calib cache) or --manifest FILE (of "
            "edge-seg calib images), and these are for it alone."
        )
    if manifest is None and (calibrator or batch):
        raise typer.BadParameter("--calibrator and --calib-batch are for the pictures of --manifest alone.")
    if cache is not None:
        return by_cache(source, cache)
    if manifest is not None:
        kept = out.with_name(f"{out.name}.cache")
        return by_pictures(source, manifest, kept, calibrator or "entropy", batch or 8)
    return None


def by_cache(source: Path, path: Path) -> "Calibration":
    """The calibration of a cache that is there; DataError where it is of another graph than that of `source`."""
    from edge_seg.calib.tensorrt_cache import ALGORITHMS, read_cache
    from edge_seg.calib.trt_calibrator import calibrator_by_cache
    from edge_seg.export.calibrated import Calibration
    from edge_seg.runners.engine_file import sha256

    found, content = read_cache(path), path.read_bytes()
    kinds = {ALGORITHMS["entropy2"]: "entropy", ALGORITHMS["min-max"]: "min-max"}
    if found.algorithm not in kinds:
        raise DataError(f"{path} is of {found.algorithm}. Write one of entropy2 or min-max: edge-seg calib cache")
    _check_tensors(found, path, source)

    def make(trt: Any, device: "Device", on_error: object, floats: bool) -> Any:  # noqa: ANN401
        _check_version(found, path, trt.__version__)
        return calibrator_by_cache(trt, kinds[found.algorithm], content)

    return Calibration(make, sha256(content), 1)


def _check_tensors(cache: "Cache", path: Path, source: Path) -> None:
    from edge_seg.runners.contract import load_onnx

    graph = load_onnx(source).graph
    known = {name for node in graph.node for name in node.output} | {value.name for value in graph.input}
    if cache.scales and 2 * len(known & cache.scales.keys()) < len(cache.scales):
        strange = next(iter(cache.scales.keys() - known))
        raise DataError(f"{path} is of another graph: {source} has no {strange}. Write it anew: edge-seg calib cache")


def _check_version(cache: "Cache", path: Path, installed: str) -> None:
    """TensorRT skips a cache of another version without a word."""
    from edge_seg.calib.tensorrt_cache import parse_version

    wanted = parse_version(".".join(installed.split(".")[:3]))
    if cache.version != wanted.number:
        raise DataError(
            f"{path} is for TensorRT {cache.version}, and here is {wanted.number}. Write it anew: edge-seg calib cache "
            f"--tensorrt {installed}"
        )


def by_pictures(source: Path, manifest: Path, cache: Path, kind: str, batch: int) -> "Calibration":
    """The calibration of a manifest's pictures, `batch` at a time, with its cache kept for the same again."""
    from edge_seg.calib.manifest import manifest_hash, manifest_images, read_manifest
    from edge_seg.calib.trt_calibrator import KINDS, calibrator_by_cache, calibrator_by_pictures
    from edge_seg.export.calibrated import Calibration
    from edge_seg.runners.artefact_files import files_of, hash_of
    from edge_seg.runners.contract import read_onnx_spec
    from edge_seg.runners.engine_file import sha256

    if kind not in KINDS:
        raise typer.BadParameter(f"--calibrator {kind}: expected {' or '.join(KINDS)}.")
    found, spec = read_manifest(manifest), read_onnx_spec(source)
    check_calibration_data(*found.sources)
    _check_count(len(found.pictures), batch, manifest)
    key = sha256(f"{hash_of(files_of(source))} {manifest_hash(found)} {kind} {batch}".encode())

    def make(trt: Any, device: "Device", on_error: Callable[[BaseException], None], floats: bool) -> Any:  # noqa: ANN401
        of = f"{key} {trt.__version__}"
        known = kept_cache(cache, of)
        if known is not None:
            return calibrator_by_cache(trt, kind, known)
        return calibrator_by_pictures(
            trt,
            kind,
            batches_of(manifest_images(found, spec), batch),
            device,
            shape=(batch, spec.height, spec.width, 3),
            on_cache=lambda content: keep_cache(cache, content, of),
            on_error=on_error,
            floats=floats,
        )

    return Calibration(make, key, batch)


def _check_count(count: int, batch: int, manifest: Path) -> None:
    """DataError for fewer pictures than are shown at a time; says how many do not fill the last batch."""
    if count < batch:
        raise DataError(
            f"{manifest} has {count} pictures, fewer than the {batch} shown at a time. Lower --calib-batch."
        )
    if count % batch:
        print(f"{count % batch} of {count} pictures are left out: --calib-batch is {batch}.", file=sys.stderr)


def batches_of(pictures: "Iterable[UInt8Array]", count: int) -> "Iterator[UInt8Array]":
    """Pictures uint8 [1, H, W, 3] joined, `count` at a time; the last batch may be smaller."""
    left = iter(pictures)
    while batch := list(islice(left, count)):
        yield np.concatenate(batch)


def kept_cache(path: Path, of: str) -> bytes | None:
    """The cache of an earlier build, where it is whole and of the same; else None, and says why."""
    from edge_seg.runners.engine_file import sha256

    if not path.is_file():
        return None
    try:
        content = path.read_bytes()
        told = json.loads(path.with_name(f"{path.name}.json").read_text())
        fresh = told == {"of": of, "cache": sha256(content)}
    except (OSError, ValueError):
        fresh = False
    if not fresh:
        print(f"{path} is of another model, other pictures or another TensorRT: calibrating anew.", file=sys.stderr)
        return None
    return content


def keep_cache(path: Path, content: bytes, of: str) -> None:
    """Keep what TensorRT has found, and what it is of; the cache last, so that a stop between the two is seen."""
    from edge_seg.runners.engine_file import sha256

    told = {"of": of, "cache": sha256(content)}
    write_whole(path.with_name(f"{path.name}.json"), json.dumps(told).encode())
    write_whole(path, content)
