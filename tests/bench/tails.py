"""Ways from the logits to the labels of an INT8 graph: what each loses, how long the graph takes, the tail's share.

    python tests/bench/tails.py edge-seg-s-fp32 --ranges edge_seg/weights/edge-seg-s.ranges.json \
        --rung edge_seg/weights/edge-seg-s.rung.toml --data camvid:PATH/test

Every way has the same net in INT8 before it, by --rung's ranges and equalisation,
by default with the min-max ranges of the file.
Times are ratios of two processes that take turns; the first one always runs the graph with the integer tail
(edge_seg.calib.integer_tail).
"""

import argparse
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edge_seg.apps.profile.layers import profile_layers, tail_share
from edge_seg.calib.integer_tail import use_integer_tail
from edge_seg.calib.quantize import float_graph, open_fp32, ranges_of, to_int8
from edge_seg.calib.ranges import read_ranges
from edge_seg.calib.rung import Rung, read_rung
from edge_seg.calib.speed import ROUNDS, compare_speed
from edge_seg.data import open_dataset
from edge_seg.evaluate import evaluate
from edge_seg.export.graph import Graph
from edge_seg.export.target import TARGETS
from edge_seg.segmenter import open_segmenter
from edge_seg.weights import find_model

RUNTIMES = ("onnxruntime", "openvino")
INTEGER = "bilinear in integers, the class packed into each value"


def main() -> None:
    """Print the table."""
    arguments = parse_arguments()
    with TemporaryDirectory() as folder:
        rung = Rung() if arguments.rung is None else read_rung(arguments.rung)
        files = write_files(arguments.model, arguments.ranges, rung, Path(folder))
        print("| tail | run-time | mIoU | lost | ms | times as long as the first | share of the tail |")
        print("|---" * 7 + "|")
        for runtime in RUNTIMES:
            for row in rows(files, runtime, arguments.data, arguments.rounds):
                print(f"| {row} |", flush=True)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=lambda name: find_model(name), help="FP32 file, bundled name or path")
    parser.add_argument("--ranges", type=Path, required=True)
    parser.add_argument("--rung", type=Path, help="TOML file of a rung for onnxruntime-x86")
    parser.add_argument("--data", required=True, help="labelled set")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    return parser.parse_args()


def write_files(source: Path, ranges: Path, rung: Rung, folder: Path) -> dict[str, Path]:
    """The same INT8 net with each of the tails, by the tail's name; the integer one first."""
    model = float_graph(open_fp32(source), rung)
    found = ranges_of(read_ranges(ranges, model), rung)
    target = dataclasses.replace(TARGETS["onnxruntime-x86"], integer_tail=False)
    files = {}
    for number, (name, change) in enumerate(TAILS.items()):
        graph = to_int8(model, found, target)
        change(graph)
        files[name] = folder / f"{number}.onnx"
        onnx.save_model(graph, files[name])
    return files


def rows(files: dict[str, Path], runtime: str, data: str, rounds: int) -> Iterator[str]:
    """Rows of one run-time."""
    exact = None
    for name, path in files.items():
        with open_segmenter(path, runtime) as segment:
            miou = evaluate(segment, open_dataset(data)).miou
        assert miou is not None
        exact = miou if exact is None else exact
        pair = compare_speed((files[INTEGER], runtime), (path, runtime), rounds=rounds)
        share = tail_share(profile_layers(path, runtime, threads=0, label=name, roof=False))
        times = f"{1 / pair.speedup:.2f} ({1 / pair.most:.2f} to {1 / pair.least:.2f})"
        yield f"{name} | {runtime} | {miou:.4f} | {exact - miou:+.4f} | {pair.second_ms:.2f} | {times} | {share:.0%}"


def in_integers(model: onnx.ModelProto) -> None:
    """What `edge-seg quantize` writes."""
    assert use_integer_tail(model)


def in_floats(model: onnx.ModelProto) -> None:
    """The graph as it is: logits dequantized, Resize and ArgMax in float."""


def in_bytes(model: onnx.ModelProto) -> None:
    """The up-sampled logits rounded to bytes again, with the logits' own scale, as most quantizers do."""
    graph = Graph(model)
    quantize, resize, argmax = logits_quantizer(graph), graph.of("Resize")[-1], graph.of("ArgMax")[0]
    parameters = list(quantize.input[1:])
    short = helper.make_node("QuantizeLinear", [resize.output[0], *parameters], ["full_bytes"], "full/q")
    back = helper.make_node("DequantizeLinear", ["full_bytes", *parameters], ["full_logits"], "full/dq")
    place = list(model.graph.node).index(argmax)
    argmax.input[0] = "full_logits"
    for offset, node in enumerate((short, back)):
        model.graph.node.insert(place + offset, node)


def argmax_first(model: onnx.ModelProto) -> None:
    """The class of each logit pixel, repeated over its 4 x 4 pixels."""
    scale_logits(model, 1)
    repeat_labels(model, 4)


def two_steps(model: onnx.ModelProto) -> None:
    """Bilinear by 2 in float, the class there, repeated over 2 x 2 pixels."""
    scale_logits(model, 2)
    repeat_labels(model, 2)


def two_steps_in_integers(model: onnx.ModelProto) -> None:
    """The same with the integer tail for the first factor of 2."""
    scale_logits(model, 2)
    assert use_integer_tail(model)
    repeat_labels(model, 2)


TAILS: dict[str, Callable[[onnx.ModelProto], None]] = {
    INTEGER: in_integers,
    "bilinear in float": in_floats,
    "bilinear, rounded to bytes again": in_bytes,
    "bilinear by 2 in float, pixels doubled": two_steps,
    "bilinear by 2 in integers, pixels doubled": two_steps_in_integers,
    "class before up-sampling, pixels repeated": argmax_first,
}


def logits_quantizer(graph: Graph) -> onnx.NodeProto:
    """The QuantizeLinear of the logits."""
    resize = graph.of("Resize")[-1]
    back = graph.made_by("DequantizeLinear", resize.input[0])
    assert back is not None
    quantize = graph.made_by("QuantizeLinear", back.input[0])
    assert quantize is not None
    return quantize


def scale_logits(model: onnx.ModelProto, factor: int) -> None:
    """Let the last Resize, of logits, scale by another factor."""
    resize = Graph(model).of("Resize")[-1]
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, factor, factor], np.float32), "factor"))
    resize.input[2] = "factor"
    del model.graph.value_info[:]


def repeat_labels(model: onnx.ModelProto, times: int) -> None:
    """Repeat each label over `times` x `times` pixels."""
    last = next(node for node in model.graph.node if "labels" in node.output)
    last.output[0] = "few_labels"
    scales = numpy_helper.from_array(np.array([1, times, times], np.float32), "times")
    options = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    model.graph.initializer.append(scales)
    model.graph.node.append(helper.make_node("Resize", ["few_labels", "", "times"], ["labels"], "repeat", **options))


if __name__ == "__main__":
    main()
