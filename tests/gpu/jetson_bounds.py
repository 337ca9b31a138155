"""The least time that a net's INT8 layers can take on a Jetson, by the roofline: a plan, and no measurement.

    python tests/gpu/jetson_bounds.py edge-seg-n-fp32 edge-seg-s-fp32

A convolution takes as long as its multiplications at the board's INT8 rate, or as its bytes at its memory's, whichever
is longer: picture or features read, weights read, features written, a byte each. The tail writes the up-sampled logits
in FP32, reads them and writes the labels. All else is taken to be fused, and a launch to cost nothing, so that a real
engine is slower. Rates and bandwidths are NVIDIA's: dense INT8, which is half of what it names with sparsity; those of
Xavier and Orin count their DLAs too.
"""

import argparse
import math
from collections.abc import Iterator

from edge_seg.export.graph import Graph, multiplications
from edge_seg.runners.contract import check_contract, load_onnx
from edge_seg.weights import find_model

BOARDS = {
    "Xavier NX": (21.0, 59.7),
    "AGX Xavier": (32.0, 136.5),
    "Orin Nano 8GB": (20.0, 68.0),
    "Orin Nano 8GB Super": (33.5, 102.0),
    "Orin NX 16GB": (50.0, 102.4),
    "AGX Orin 64GB": (137.5, 204.8),
    "Thor T5000": (517.0, 273.0),
}
"""10^12 operations a second in dense INT8, two for a multiplication, and GB/s of the memory."""


def main() -> None:
    """Print a row of Markdown for each board."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="FP32 files")
    models = {name: list(layers_of(name)) for name in parser.parse_args().models}
    heads = [f"{name}: least ms (layers bound by memory)" for name in models]
    print(f"| board | INT8 TOPS, dense | GB/s | {' | '.join(heads)} |")
    print("|---" * (3 + len(heads)) + "|")
    for board, (tops, bandwidth) in BOARDS.items():
        cells = [bound(layers, tops, bandwidth) for layers in models.values()]
        print(f"| {board} | {tops:g} | {bandwidth:g} | {' | '.join(cells)} |")


def layers_of(name: str) -> Iterator[tuple[int, int]]:
    """Multiplications and bytes of each convolution, and of the tail as the last one, for one picture."""
    model = load_onnx(find_model(name))
    spec, graph = check_contract(model, name), Graph(model)
    for node in graph.of("Conv"):
        tensors = (node.input[0], node.input[1], node.output[0])
        yield multiplications(graph, node), sum(elements(graph, tensor) for tensor in tensors)
    pixels = spec.width * spec.height
    yield 0, pixels * (2 * 4 * len(spec.classes) + 1)


def elements(graph: Graph, tensor: str) -> int:
    """Numbers in a tensor, of one picture where their number is free."""
    value = graph.value(tensor)
    return math.prod(size or 1 for size in (graph.shapes[tensor] if value is None else value.shape))


def bound(layers: list[tuple[int, int]], tops: float, bandwidth: float) -> str:
    """Milliseconds, and how many of the layers wait for memory.

    >>> bound([(10**9, 10**6), (0, 10**8)], tops=2.0, bandwidth=100.0)
    '2.00 (1 of 2)'
    """
    times = [(2 * count / tops / 1e9, size / bandwidth / 1e6) for count, size in layers]
    return f"{sum(map(max, times)):.2f} ({sum(memory > compute for compute, memory in times)} of {len(layers)})"


if __name__ == "__main__":
    main()
