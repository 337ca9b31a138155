"""TensorRT engines on a GPU: accuracy, agreement, latency, the pipelined loop, against PyTorch.

    python tests/gpu/prepare.py --data camvid:CamVid --out runs/gpu           # on any machine, first
    python tests/gpu/bench.py --files runs/gpu --data camvid:CamVid/test --out runs/gpu/rows --torch /usr/bin/python3

Runs under the Python that has TensorRT, pycuda and what edge-seg needs; of that ONNX Runtime, OpenVINO and PyAV may be
missing. --torch names one that has PyTorch and CUDA (it may be the same), without which nothing is compared. Each
engine's build, its times, its accuracy and each comparison is a file in --out, and is not made again, but where there
was an error, or it is of another ONNX file, calibration, TensorRT, GPU, PyTorch, engine or bench than is there now;
timings of tactics are kept there too, and make later builds quicker. A row has a process of its own, and another one
behind each error; what went wrong is tried again last when the bench is started again, and calibrators, which do most
that is unproven, come behind all else. Prints the machine and the tables for docs/tensorrt.md of all that is there. A
net whose name ends in -untrained has no accuracy.
"""

import argparse
import hashlib
import statistics
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gpu_parts import kept, plain, read_or_why, read_part, run_rows, why_missing
from gpu_tables import Row, tables
from gpu_timing import time_engine
from gpu_torch import TORCH_WAYS, compare, torch_versions

from edge_seg.apps.engine_calibration import by_cache, by_pictures
from edge_seg.calib.manifest import read_manifest, write_manifest
from edge_seg.data import open_dataset
from edge_seg.evaluate import evaluate
from edge_seg.export.build_engine import build_engine
from edge_seg.export.calibrated import Calibration
from edge_seg.export.to_engine import BuildOptions
from edge_seg.runners.artefact_files import files_of, hash_of
from edge_seg.runners.cuda import open_device
from edge_seg.runners.engine_file import read_sidecar, sidecar_of, this_system
from edge_seg.runners.tensorrt_api import has, import_tensorrt
from edge_seg.runners.trt_runner import TrtRunner
from edge_seg.segmenter import Segmenter

BATCHES = (1, 8, 32)
OURS = ("edge-seg-n", "edge-seg-s")
UNTRAINED = "-untrained"
VERSION = "2"
"""Of what a part's file holds and of how it is measured: files of another one are made anew."""


class Way(NamedTuple):
    """A way to an engine: the kind of file, the precision asked for, and what calibrates it."""

    file: str
    precision: str
    calibration: str = ""


WAYS = {
    "FP32": Way("fp32", "fp32"),
    "FP16": Way("fp32", "fp16"),
    "INT8, Q/DQ": Way("qdq", "int8"),
    "INT8, Q/DQ, rest in FP16": Way("qdq", "best"),
    "INT8, entropy calibrator": Way("fp32", "best", "entropy"),
    "INT8, min-max calibrator": Way("fp32", "best", "min-max"),
    "INT8, our ranges as a cache": Way("fp32", "best", "cache"),
}


def main() -> None:
    """Measure what is missing, each row in a process of its own; print the tables."""
    options = parse_arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.only:
        net, _, name = options.only.partition("/")
        measure(net, name, WAYS[name], options)
        return
    options.torch_is = torch_versions(options.torch) if options.torch else ""
    nets = options.nets.split(",") if options.nets else nets_in(options.files)
    rows = [(net, name) for net in nets for name in ways_here()]
    run_rows(sorted(rows, key=lambda row: bool(WAYS[row[1]].calibration)), options)
    found = []
    for net, name in rows:
        options.reading = why_missing(net, name, options.out)
        found.append(measure(net, name, WAYS[name], options))
    print("\n".join([", ".join(filter(None, [machine(), options.torch_is])), "", *tables(found)]))


def ways_here() -> list[str]:
    """The names of the ways that the installed TensorRT has."""
    calibrators = has(import_tensorrt(), "calibrators")
    return [name for name, way in WAYS.items() if calibrators or not way.calibration]


def machine() -> str:
    """What the tables are of, as a line."""
    device, version = open_device(), import_tensorrt().__version__
    return f"{device.name} (sm {device.sm}), driver for CUDA {device.driver}, TensorRT {version}, {this_system()}"


def nets_in(files: Path) -> list[str]:
    """The nets that prepare.py wrote, ours first."""
    found = {path.name.removesuffix(".fp32.onnx") for path in files.glob("*.fp32.onnx")}
    return [*(net for net in OURS if net in found), *sorted(found.difference(OURS), reverse=True)]


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=Path, required=True, help="what prepare.py wrote")
    parser.add_argument("--data", required=True, help="labelled set to judge on")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--nets", help="names with commas between; all that there are where not given")
    parser.add_argument("--torch", help="a Python with PyTorch and CUDA")
    parser.add_argument("--tactic-sources", default="", help="TensorRT's names, where some libraries are missing")
    parser.add_argument("--calib-data", help="the set that prepare.py picked from; train beside --data where not given")
    parser.add_argument("--only", help="measure NET/WAY alone, and print nothing: what the bench runs for each row")
    parser.add_argument("--torch-is", default="", help=argparse.SUPPRESS)  # the bench has asked --torch already
    parser.set_defaults(reading="")
    return parser.parse_args()


def measure(net: str, name: str, way: Way, options: argparse.Namespace) -> Row:
    """One row: an engine for each batch, built, timed and compared; the first one is judged."""
    source, stem = options.files / f"{net}.{way.file}.onnx", f"{net}.{plain(name)}"
    row: Row = {"net": net, "way": name, "batches": {}, "judged": {}}
    for batch in BATCHES:
        measured = partial(measure_batch, source, f"{stem}.{batch}", way, batch, options)
        row["batches"][str(batch)] = read_or_why(measured, options)
    if "error" not in row["batches"][str(BATCHES[0])] and not net.endswith(UNTRAINED):
        row["judged"] = read_or_why(partial(judged, source, stem, options), options)
    return row


def judged(source: Path, stem: str, options: argparse.Namespace) -> dict[str, Any]:
    """The accuracy of a row's first engine."""
    engine = options.out / f"{stem}.{BATCHES[0]}.engine"
    of = made_of(engine) | {"data": options.data, "labels": _hash(source.with_suffix(".npz"))}
    made = partial(judge, engine, source, options.data)
    return kept(options.out / f"{stem}.judged.row", made, of, options)


def measure_batch(source: Path, stem: str, way: Way, batch: int, options: argparse.Namespace) -> dict[str, Any]:
    """Of one engine what it took to build, its times, and those of PyTorch against them for our own nets."""
    engine, net = options.out / f"{stem}.engine", source.name.split(".")[0]
    built, of = options.out / f"{stem}.build.row", built_of(source, way, options)
    if not (engine.is_file() and sidecar_of(engine).is_file()) and "error" not in read_part(built):
        built.unlink(missing_ok=True)
    found = kept(built, partial(build, source, engine, way, batch, options), of, options)
    if "error" in found:
        return found
    of = made_of(engine)
    found |= kept(options.out / f"{stem}.times.row", partial(time_engine, engine, batch), of, options)
    if "error" not in found and options.torch and net in OURS:
        found["against"] = compared(engine, net, stem, batch, options)
    return found


def compared(engine: Path, net: str, stem: str, batch: int, options: argparse.Namespace) -> dict[str, Any]:
    """An engine against each way of PyTorch, by its name."""
    of, found = made_of(engine) | {"torch": options.torch_is}, {}
    for theirs in TORCH_WAYS:
        made = partial(compare, engine, net, theirs, options.torch, batch)
        found[theirs] = kept(options.out / f"{stem}.{theirs}.row", made, of, options, elsewhere=True)
    return found


def built_of(source: Path, way: Way, options: argparse.Namespace) -> dict[str, str]:
    """What an engine is built of and by: where that differs from what a kept part says, it is none of this engine."""
    calibration = calibrated_by(way, source, options)
    return {
        "onnx": _hash(source),
        "calibration": "" if calibration is None else _hash(calibration),
        "machine": machine(),
        "tactic_sources": options.tactic_sources,
        "bench": VERSION,
    }


def made_of(engine: Path) -> dict[str, str]:
    """What an engine's times and labels are of, where it has been built."""
    return {"engine": read_sidecar(engine).engine, "machine": machine(), "bench": VERSION}


def _hash(path: Path) -> str:
    return hash_of(files_of(path)) if path.is_file() else ""


def build(source: Path, engine: Path, way: Way, batch: int, options: argparse.Namespace) -> dict[str, Any]:
    """Build an engine; what it is and how long it took."""
    engine.unlink(missing_ok=True)  # one that is there would not be built again
    sources = tuple(filter(None, options.tactic_sources.split(",")))
    timings = timings_here(options.out)
    known = timings.is_file()
    wanted = BuildOptions(way.precision, timing_cache=timings, batch=(batch,) * 3, tactic_sources=sources)
    start = time.perf_counter()
    found = build_engine(source, engine, wanted, calibration=_calibration(way, source, options))
    told = {"tensorrt": found.tensorrt, "gpu": found.gpu, "precision": found.precision}
    took_s = time.perf_counter() - start
    return told | {"build_s": took_s, "timings_known": known, "engine_mb": engine.stat().st_size / 1e6}


def timings_here(out: Path) -> Path:
    """The timings of tactics on this machine: those of another GPU or TensorRT would be refused, and stay."""
    return out / f"timings-{hashlib.sha256(machine().encode()).hexdigest()[:12]}"


def calibrated_by(way: Way, source: Path, options: argparse.Namespace) -> Path | None:
    """The cache or the manifest that a way's calibrator has; None without one."""
    if way.calibration == "cache":
        return source.with_name(source.name.replace("fp32.onnx", "cache"))
    return options.files / "calib.json" if way.calibration else None


def _calibration(way: Way, source: Path, options: argparse.Namespace) -> Calibration | None:
    by = calibrated_by(way, source, options)
    if by is None:
        return None
    if way.calibration == "cache":
        return by_cache(source, by)
    known = options.out / f"{source.stem}.{way.calibration}.cache"
    return by_pictures(source, manifest_here(by, options), known, way.calibration, 8)


def manifest_here(manifest: Path, options: argparse.Namespace) -> Path:
    """The manifest with the place that its set has on this machine, in --out; of sets without splits as it is.

    The pictures' hashes tell where it is another set.
    """
    whole, slash, _ = options.data.rpartition("/")
    place = options.calib_data or (f"{whole}/train" if slash else None)
    found = read_manifest(manifest)
    write_manifest(options.out / "calib.json", found if place is None else replace(found, sources=(place,)))
    return options.out / "calib.json"


def judge(engine: Path, source: Path, data: str) -> dict[str, Any]:
    """mIoU, and the share of pixels that ONNX Runtime labels alike, where its labels are there."""
    dataset, expected = open_dataset(data), source.with_suffix(".npz")
    same: list[float] = []
    known = np.load(expected)["labels"] if expected.is_file() else None

    def look(frame: Any, labels: Any) -> None:  # noqa: ANN401
        if known is not None:
            same.append(float((labels == known[frame.index]).mean()))

    with Segmenter(TrtRunner(engine)) as segment:
        scores = evaluate(segment, dataset, on_image=look)
    return {"miou": scores.miou, "class_iou": scores.class_iou, "agreement": statistics.fmean(same) if same else None}


if __name__ == "__main__":
    main()
