"""What the GPU bench builds engines of, made on any machine with edge-seg installed, for a GPU machine without it.

    python tests/gpu/prepare.py --data camvid:CamVid --out runs/gpu

For each bundled net: the FP32 file with the ends that TensorRT takes, the Q/DQ file for TensorRT 8.5, the calibration
cache of our ranges, and the Q/DQ file's labels on ONNX Runtime, to compare with. 120 pictures of train as a manifest.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from edge_seg.data import open_dataset
from edge_seg.runners import open_runner
from edge_seg.weights import FOLDER

NETS = ("edge-seg-n", "edge-seg-s")
TENSORRT = "8.5.3"


def main() -> None:
    """Write what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="camvid:CamVid")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    manifest = options.out / "calib.json"
    if not manifest.is_file():
        edge_seg("calib", "images", "--data", f"{options.data}/train", "--images", 120, "--out", manifest)
    for net in NETS:
        write_files(net, options.out)
        write_labels(options.out / f"{net}.qdq.onnx", f"{options.data}/test")


def write_files(net: str, out: Path) -> None:
    """The files of one net, of its committed ranges."""
    ranges, fp32, raw, qdq = (out / f"{net}.{kind}" for kind in ("ranges.json", "fp32.onnx", "raw.onnx", "qdq.onnx"))
    shutil.copy(FOLDER / f"{net}.ranges.json", ranges)
    edge_seg("quantize", f"{net}-fp32", "--ranges", ranges, "--target", "tensorrt", "--out", raw)
    edge_seg("lint", raw, "--target", "tensorrt", "--tensorrt", "8.5", "--fix", "--out", qdq)
    cache = ["--model", f"{net}-fp32", "--ranges", ranges, "--tensorrt", TENSORRT, "--out", out / f"{net}.cache"]
    edge_seg("calib", "cache", *cache, "--onnx", fp32)


def write_labels(model: Path, data: str) -> None:
    """The labels of a set on ONNX Runtime, uint8 [N, H, W]."""
    with open_runner(model, "onnxruntime") as runner:
        labels = [runner.infer(frame.image[None])[0] for frame in open_dataset(data)]
    np.savez_compressed(model.with_suffix(".npz"), labels=np.stack(labels))


def edge_seg(*words: object) -> None:
    """Run a command."""
    subprocess.run([sys.executable, "-m", "edge_seg.apps", *map(str, words)], check=True)


if __name__ == "__main__":
    main()
