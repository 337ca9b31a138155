"""Times of the layers on ONNX Runtime, from the JSON trace of its own profiler.

A trace has an event for each kernel of each call, with the types and shapes of what it took and gave. Constants that
ONNX Runtime has packed for itself are not among them, and channels are those of its blocks (11 become 16): weights and
multiplications are those of the file's own convolution, found by the name that the kernel kept of it.
"""

import json
import math
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import onnx

from edge_seg.apps.profile.kernels import (
    WARM_UP,
    Timed,
    is_convolution,
    is_matrix_product,
    precision_of,
    role_of,
    turns,
    undisturbed,
)
from edge_seg.apps.profile.rows import Layer
from edge_seg.calib.placement import name_nodes
from edge_seg.export.graph import CONVOLUTIONS, Array, Graph, multiplications, weight_source
from edge_seg.runners.contract import load_onnx
from edge_seg.runners.ort_runner import open_session, session_options

LEAST_CALLS, MOST_CALLS, LIMIT_S = 16, 40, 2.0
_KERNEL = "_kernel_time"
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
"""Where weights in files beside the model are, which ONNX Runtime cannot know of a model in memory."""


class Work(NamedTuple):
    """Multiply-accumulates for a picture, and the number of weights."""

    macs: int
    weights: int


def time_layers(path: Path, image: Array, threads: int) -> list[Timed]:
    """The kernels of an ONNX file of one input, in the order in which they ran on `image`; ModelError as the runner."""
    model = load_onnx(path)
    name_nodes(model)  # a kernel without a name could not be told from others
    works = work_by_name(Graph(model))
    return [_timed(name, events, works) for name, events in _kernels(_trace(model, path, image, threads))]


def work_by_name(graph: Graph) -> dict[str, Work]:
    """The work of each convolution under the names that a kernel may have of it.

    Those are the node's own, and each tensor's down to the next branch: a kernel that does a convolution and the Relu
    behind it may be named after either.
    """
    found: dict[str, Work] = {}
    for node in graph.of(*CONVOLUTIONS):
        weights = graph.shapes.get(weight_source(graph, node), ())
        work = Work(multiplications(graph, node), math.prod(size or 0 for size in weights))
        found[node.name] = work
        tensor: str | None = node.output[0]
        while tensor is not None:
            found.setdefault(tensor, work)
            reader = graph.only_reader(tensor)
            tensor = None if reader is None or reader.op_type in CONVOLUTIONS else reader.output[0]
    return found


def _trace(model: onnx.ModelProto, path: Path, image: Array, threads: int) -> list[dict[str, Any]]:
    """The events of some calls; the trace's file is gone when this returns."""
    with tempfile.TemporaryDirectory() as folder:
        options = session_options(threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder, "trace"))
        options.add_session_config_entry(_WEIGHTS_FOLDER, str(path.parent))
        session = open_session(model.SerializeToString(), options, path.name)
        feed = {session.get_inputs()[0].name: image}
        for _ in range(WARM_UP):
            session.run(None, feed)
        for _ in turns(LEAST_CALLS, MOST_CALLS, LIMIT_S):
            session.run(None, feed)
        events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return events


def _kernels(events: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """The name of each kernel and its events of the calls that count."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            found.setdefault((event["name"], event["args"]["node_index"]), []).append(event)
    return [(name.removesuffix(_KERNEL), each[WARM_UP:]) for (name, _), each in found.items()]


def _timed(name: str, events: list[Mapping[str, Any]], works: Mapping[str, Work]) -> Timed:
    times_ms, args = [event["dur"] / 1e3 for event in events], events[0]["args"]
    kind, work = args["op_name"], _work(name, args, works)
    taken = args["input_type_shape"] or args["output_type_shape"]
    precision = precision_of(next(iter(taken[0]))) if taken else ""
    moved = sum(int(args[key]) for key in ("activation_size", "parameter_size", "output_size"))
    if work is not None and not _shows_weights(args):
        moved += work.weights * (1 if precision == "int8" else 4)
    layer = Layer(
        re.sub(r"_token_\d+$", "", name),  # a counter, another one in each session
        kind,
        precision,
        role_of(kind),
        undisturbed(times_ms),
        None if work is None else work.macs / 1e9,
        moved / 1e6,
    )
    return Timed(layer, min(times_ms))


def _work(name: str, args: Mapping[str, Any], works: Mapping[str, Work]) -> Work | None:
    """The work of a convolution or matrix product; None for other kernels, and where it is not known."""
    if is_convolution(args["op_name"]):
        kept = name.removeprefix("fused ")
        names = [known for known in works if kept == known or kept.startswith(f"{known}_")]
        return works[max(names, key=len)] if names else None
    if is_matrix_product(args["op_name"]):
        (taken, *_), (given, *_) = (_shapes(args[key]) for key in ("input_type_shape", "output_type_shape"))
        return Work(math.prod(given) * taken[-1], taken[-1] * given[-1])
    return None


def _shapes(types: list[dict[str, list[int]]]) -> list[list[int]]:
    return [next(iter(each.values())) for each in types]


def _shows_weights(args: Mapping[str, Any]) -> bool:
    """Whether the trace has a second array of two or more dimensions beside the activations."""
    return sum(len(shape) >= 2 for shape in _shapes(args["input_type_shape"])) >= 2
