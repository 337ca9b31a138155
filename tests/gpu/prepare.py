"""What the GPU bench builds engines of, made on any machine with edge-seg installed, for a GPU machine without it.

    python tests/gpu/prepare.py --data camvid:CamVid --out runs/gpu

For each net: the FP32 file with the ends that TensorRT takes, the Q/DQ file for --tensorrt, the calibration cache of
our ranges, and the Q/DQ file's labels on ONNX Runtime, to compare with. 120 pictures of train as a manifest. The nets
are the bundled ones, then U-Net and DeepLabV3+ as tests/bench/foreign_nets.py trained them in --foreign; else, where
segmentation-models-pytorch is installed, with weights of chance, named -untrained: these can be timed, and have no
labels to compare with.

To the GPU machine go this repository, --out, the set's test, and for the calibrators its train, wherever they lie:
bench.py is told by --data and --calib-data.
"""

import argparse
import importlib.util
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge_seg.data import open_dataset
from edge_seg.export.tensorrt_ready import ready_for
from edge_seg.export.tensorrt_support import known_version, version_of
from edge_seg.files import write_whole
from edge_seg.runners.contract import load_onnx, read_onnx_spec
from edge_seg.segmenter import open_segmenter
from edge_seg.weights import FOLDER, find_model

OURS = ("edge-seg-n", "edge-seg-s")
FOREIGN = ("smp-unet", "smp-deeplabv3plus")
"""As tests/bench/foreign_nets.py names them."""


def main() -> None:
    """Write all files anew, but for the manifest of pictures, where that is there."""
    options = parse_arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    manifest = options.out / "calib.json"
    if not manifest.is_file():
        edge_seg("calib", "images", "--data", f"{options.data}/train", "--images", 120, "--out", manifest)
    for net in OURS:
        write_files(net, f"{net}-fp32", options)
        write_labels(options.out / f"{net}.qdq.onnx", f"{options.data}/test")
    for net in FOREIGN:
        trained = options.foreign / net / "net.edge.onnx"
        if trained.is_file():
            write_files(net, trained, options)
            write_labels(options.out / f"{net}.qdq.onnx", f"{options.data}/test")
        elif importlib.util.find_spec("segmentation_models_pytorch"):
            write_files(f"{net}-untrained", untrained(net, options.out), options)
        else:
            print(f"{net} is left out: train it with tests/bench/foreign_nets.py, or install its library.")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="camvid:CamVid")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--foreign", type=Path, default=Path("runs/foreign"), help="what foreign_nets.py wrote")
    parser.add_argument("--tensorrt", default="8.5.3", help="of the GPU machine")
    return parser.parse_args()


def write_files(net: str, model: str | Path, options: argparse.Namespace) -> None:
    """The files of one net, of the ranges that it is bundled with, or that are observed on the manifest's pictures."""
    kinds = ("ranges.json", "fp32.onnx", "raw.onnx", "qdq.onnx", "cache")
    ranges, fp32, raw, qdq, cache = (options.out / f"{net}.{kind}" for kind in kinds)
    bundled = FOLDER / f"{net}.ranges.json"
    if bundled.is_file():
        shutil.copy(bundled, ranges)
    else:
        edge_seg("calib", "observe", model, "--manifest", options.out / "calib.json", "--out", ranges)
    edge_seg("quantize", model, "--ranges", ranges, "--target", "tensorrt", "--out", raw)
    version = known_version(options.tensorrt)
    qdq.unlink(missing_ok=True)
    edge_seg("lint", raw, "--target", "tensorrt", "--tensorrt", version, "--fix", "--out", qdq)
    if not qdq.is_file():  # there was nothing to mend
        shutil.copy(raw, qdq)
    if version_of(version)[0] > 10:  # it has no calibrators, and there is no cache for it
        path = find_model(str(model))
        ready = ready_for(load_onnx(path), options.tensorrt, name=str(model), folder=path.parent)
        write_whole(fp32, ready.SerializeToString())
        cache.unlink(missing_ok=True)
        return
    told = ["--model", model, "--ranges", ranges, "--tensorrt", options.tensorrt, "--out", cache]
    edge_seg("calib", "cache", *told, "--onnx", fp32)


def untrained(net: str, out: Path) -> Path:
    """A foreign net with weights of chance, exported and adopted as a trained one would be."""
    sys.path.append(str(Path(__file__).parents[1] / "bench"))
    import foreign_nets as foreign

    ours = read_onnx_spec(FOLDER / "edge-seg-s.onnx")
    library = foreign.LIBRARIES[net.partition("-")[0]]
    width, height = (side // library.divisor * library.divisor for side in (ours.width, ours.height))
    spec = replace(ours, name=f"{net}-untrained", width=width, height=height, dataset="none", scores={})
    folder = out / net
    folder.mkdir(exist_ok=True)
    classes = len(spec.classes)
    net_of_chance = foreign.ForeignNet(foreign.NETS[net](classes), classes, library)
    foreign.export(net_of_chance, spec, folder / "net.onnx", exporter="torchscript")
    adopted: Path = foreign.adopt(spec, folder)
    return adopted


def write_labels(model: Path, data: str) -> None:
    """The labels of a set on ONNX Runtime, uint8 [N, H, W] at the size of its images, as bench.py has the engine's."""
    with open_segmenter(model, "onnxruntime") as segment:
        labels = [segment(frame.image).labels for frame in open_dataset(data)]
    np.savez_compressed(model.with_suffix(".npz"), labels=np.stack(labels))


def edge_seg(*words: object) -> None:
    """Run a command."""
    subprocess.run([sys.executable, "-m", "edge_seg.apps", *map(str, words)], check=True)


if __name__ == "__main__":
    main()
