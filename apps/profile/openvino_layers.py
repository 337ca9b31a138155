"""Times of the layers on OpenVINO's CPU plug-in, from its own counters, with types and shapes of its runtime model.

A counter is the mean of all calls since the graph was compiled, cut to whole microseconds. One call that the machine
disturbed stays in it for good. So each call's own time is taken from how the mean moves, and since n calls make the cut
n times as large, graphs are compiled anew after some.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import openvino as ov

from edge_seg.apps.profile.kernels import (
    QUANTIZES,
    WARM_UP,
    Timed,
    computed_in,
    is_convolution,
    is_matrix_product,
    is_weighted,
    precision_of,
    role_of,
    turns,
    undisturbed,
)
from edge_seg.apps.profile.rows import Layer
from edge_seg.export.graph import Array, name_of
from edge_seg.runners.contract import load_onnx
from edge_seg.runners.openvino_runner import compile_graph, cpu_config

ROUNDS = 4
LEAST_CALLS, MOST_CALLS, LIMIT_S = WARM_UP + 4, WARM_UP + 9, 0.5
"""Of each round."""

_MICROSECOND = timedelta(microseconds=1)


def time_layers(path: Path, image: Array, threads: int, floats: str) -> list[Timed]:
    """The layers of an ONNX file of one input, in the order in which they run; ModelError as the runner."""
    operators = {name_of(node): node.op_type for node in load_onnx(path).graph.node}
    rounds = []
    for _ in range(ROUNDS):
        compiled = compile_graph(path, image.shape, cpu_config(threads, floats) | {"PERF_COUNT": "YES"})
        infos, means_us = _round(compiled, image)
        rounds.append(means_us)
    nodes = {node.get_friendly_name(): node for node in compiled.get_runtime_model().get_ordered_ops()}
    # By their place: what OpenVINO adds has a number in its name that is another in each compilation.
    ran = [(info, found) for info, *found in zip(infos, *rounds, strict=True) if any(map(any, found))]
    return [
        _timed(info, nodes.get(info.node_name), [time_us for each in found for time_us in own_times(each)], operators)
        for info, found in ran
    ]


def _round(compiled: ov.CompiledModel, image: Array) -> tuple[list[ov.ProfilingInfo], list[tuple[float, ...]]]:
    """The layers, and each one's mean after each call, in microseconds."""
    request, means_us = compiled.create_infer_request(), []
    for _ in turns(LEAST_CALLS, MOST_CALLS, LIMIT_S):
        request.infer([image], share_inputs=True, share_outputs=True)
        infos = request.get_profiling_info()
        means_us.append([info.real_time / _MICROSECOND for info in infos])
    return infos, list(zip(*means_us, strict=True))


def own_times(means_us: Sequence[float]) -> list[float]:
    """Each call's own time, those of the warm-up left out, from the means after 1, 2, 3 ... calls.

    A mean is cut to whole microseconds; the middle of what that leaves open is taken.

    >>> own_times([9.0, 8.0, 7.0, 7.0, 8.0])
    [7.5, 12.5]
    """
    sums_us = [calls * mean_us + (calls - 1) / 2 for calls, mean_us in enumerate(means_us, 1)]
    return [after - before for before, after in pairwise(sums_us[WARM_UP - 1 :])]


def _timed(info: ov.ProfilingInfo, node: Any, times_us: list[float], operators: Mapping[str, str]) -> Timed:  # noqa: ANN401
    kind = info.node_type
    gives = [] if node is None else node.outputs()
    takes = [] if node is None else node.inputs()
    layer = Layer(
        info.node_name,
        kind,
        precision_as_run(kind, info.exec_type, [_word(value) for value in gives]),
        "quantize" if not is_weighted(kind) and _only_quantizes(node, operators) else role_of(kind),
        max(0.0, undisturbed(times_us) / 1e3),
        _gmacs(kind, [_shape(value) for value in takes], [_shape(value) for value in gives]),
        None if node is None else sum(map(_bytes, (*takes, *gives))) / 1e6,
    )
    return Timed(layer, max(0.0, min(times_us) / 1e3))


def precision_as_run(kind: str, exec_type: str, gives: list[str]) -> str:
    """The precision in which a layer computed, by the last part of OpenVINO's `exec_type` and the types that it gives.

    >>> precision_as_run("Convolution", "brgconv_avx512_amx_I8", ["f32"])
    'int8'
    >>> precision_as_run("Subgraph", "jit_avx512_I8", ["f32"])
    'f32'
    """
    return computed_in(kind, precision_of(exec_type.rpartition("_")[2]), precision_of(gives[0]) if gives else "")


def _only_quantizes(node: Any, operators: Mapping[str, str]) -> bool:  # noqa: ANN401
    """Whether all that the layer is made of, as far as the file knows it, are Q and DQ nodes."""
    names = [] if node is None else str(_astext(node.get_rt_info()["originalLayersNames"])).split(",")
    found = {operators[name] for name in names if name in operators}
    return bool(found) and found <= QUANTIZES


def _astext(value: Any) -> str:  # noqa: ANN401
    return str(value.astype(str) if hasattr(value, "astype") else value)


def _gmacs(kind: str, takes: list[list[int]], gives: list[list[int]]) -> float | None:
    """Multiply-accumulates in units of 1e9; weights of a grouped convolution are [groups, outputs, inputs, H, W]."""
    if len(takes) < 2 or not gives:
        return None
    if is_matrix_product(kind):
        return math.prod(gives[0]) * takes[0][-1] / 1e9
    if not is_convolution(kind):
        return None
    each = math.prod(takes[1][len(takes[1]) - len(takes[0]) + 1 :])
    counted = takes[0] if "Backprop" in kind or "Deconvolution" in kind else gives[0]
    return math.prod(counted) * each / 1e9


def _shape(value: Any) -> list[int]:  # noqa: ANN401
    """The sizes; 0 for one that is only known when the layer runs."""
    return [int(size.get_length()) if size.is_static else 0 for size in value.get_partial_shape()]


def _word(value: Any) -> str:  # noqa: ANN401
    return str(value.get_element_type().get_type_name())


def _bytes(value: Any) -> float:  # noqa: ANN401
    return math.prod(_shape(value)) * float(value.get_element_type().size)
