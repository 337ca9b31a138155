"""INT8 files of one net by every method of ranges, with and without equalised channels, judged on both run-times.

    python tests/bench/rungs.py edge-seg-s-fp32 --data camvid:CamVid --judge camvid:CamVid/train \
        --judge camvid:CamVid/val --out runs/rungs

Ranges are of 120 pictures that `edge-seg quantize` would calibrate on behind its gates. The table has the share of
pixels that keep the label of the FP32 file on the same run-time, and what mIoU and the worst class lose, over all
pictures of the --judge sets together. Pixels tell more: they change by thousands where mIoU of pictures that the net
has learned from hardly moves. Beside each file lie its ranges and its rung, for `edge-seg quantize --ranges --rung`.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_seg.calib.builder import Builder
from edge_seg.calib.images import calibration_images
from edge_seg.calib.quantize import open_fp32
from edge_seg.calib.rung import Rung
from edge_seg.calib.split import split
from edge_seg.data import open_dataset
from edge_seg.metrics import ConfusionMatrix
from edge_seg.resize import resize_image
from edge_seg.runners import open_runner
from edge_seg.runners.contract import check_contract
from edge_seg.types import Frame, UInt8Array
from edge_seg.weights import find_model

METHODS = ("min-max", "mse", "percentile", "entropy")
RUNTIMES = ("onnxruntime", "openvino")

Labels = Sequence[UInt8Array]


def main() -> None:
    """Write the files, label the pictures, print the table as Markdown."""
    options = parse_arguments()
    fp32 = find_model(options.model)
    frames = [frame for uri in options.judge for frame in open_dataset(uri)]
    names = check_contract(open_fp32(fp32), options.model).class_names
    files = list(write_files(fp32, options))
    exact = {runtime: label(fp32, runtime, frames) for runtime in RUNTIMES}
    print(f"{len(frames)} pictures, {options.target}\n")
    print("| ranges | run-time | pixels as FP32 | mIoU lost | worst class |\n|---|---|---|---|---|")
    for name, path in files:
        for runtime in RUNTIMES:
            cells = judge(label(path, runtime, frames), exact[runtime], frames, names)
            print(f"| {name} | {runtime} | {cells} |", flush=True)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", required=True)
    parser.add_argument("--judge", action="append", required=True)
    parser.add_argument("--target", default="onnxruntime-x86")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def write_files(fp32: Path, options: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """Each rung's title and its INT8 file."""
    model = open_fp32(fp32)
    calibration = split(open_dataset(options.data), 120, 200).calibration
    pictures = list(calibration_images(calibration, check_contract(model, options.model), len(calibration)))
    builder = Builder(model, pictures, calibration.name)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, rung in rungs(builder, options.target):
        path = options.out / f"{name.replace(' ', '-').replace(',', '')}.onnx"
        path.write_bytes(builder.build(rung).SerializeToString())
        path.with_suffix(".ranges.json").write_text(builder.ranges(rung).to_json())
        path.with_suffix(".rung.toml").write_text(rung.to_toml())
        yield name, path


def rungs(builder: Builder, target: str) -> Iterator[tuple[str, Rung]]:
    """Every method alone, and for each tensor the one of least error; then all again with channels equalised."""
    for plain, ending in ((Rung(target), ""), (Rung(target, equalised=True), ", equalised")):
        for method in METHODS:
            yield method + ending, replace(plain, method=method)
        ways = builder.methods(plain)
        others = {tensor: way for tensor, way in ways.items() if way != "mse"}
        yield f"by tensor{ending}", replace(plain, method="mse", methods=others)


def label(path: Path, runtime: str, frames: Sequence[Frame]) -> Labels:
    """Labels of each picture, uint8 [H, W] at the net's size."""
    with open_runner(path, runtime) as runner:
        size = runner.spec.width, runner.spec.height
        return [runner.infer(resize_image(frame.image, *size)[None])[0] for frame in frames]


def judge(found: Labels, exact: Labels, frames: Sequence[Frame], names: Sequence[str]) -> str:
    """Cells of the table: pixels that keep their label, and IoU lost on average and at worst."""
    alike = np.mean([(one == other).mean() for one, other in zip(found, exact, strict=True)])
    lost = class_iou(exact, frames, len(names)) - class_iou(found, frames, len(names))
    return f"{alike:.3%} | {np.nanmean(lost):+.4f} | {names[int(np.nanargmax(lost))]} {np.nanmax(lost):+.4f}"


def class_iou(labels: Labels, frames: Sequence[Frame], classes: int) -> NDArray[np.float64]:
    """IoU by class [C] against the truth, which has the net's size."""
    matrix = ConfusionMatrix(classes)
    for found, frame in zip(labels, frames, strict=True):
        assert frame.truth is not None
        matrix.update(found[None], frame.truth[None])
    return np.asarray(matrix.class_iou())


if __name__ == "__main__":
    main()
