"""Where the time goes within a graph: its layers as the run-time ran them, and what follows from them."""

import functools
from collections.abc import Iterable
from pathlib import Path

from edge_seg.apps.profile.layers_worker import ask, check_runtime
from edge_seg.apps.profile.roof import measure_roof
from edge_seg.apps.profile.rows import Layer, Layers
from edge_seg.runners import RUNTIMES
from edge_seg.runners.contract import EXACT_PREFIX

_roof_of = functools.cache(measure_roof)


def profile_layers(path: Path, runtime: str, *, threads: int, label: str, roof: bool = True) -> Layers:
    """The time of each layer of an artefact, one picture at a time, by the run-time's own profiler.

    Measured in a process of its own, with the settings of `open_runner` and `threads` (0 leaves their number to the
    run-time). After some calls that do not count, a layer's time is the median of the quicker half of its calls. The
    roof is measured once for each run-time and number of threads, where the run-time takes an ONNX file, as its net is.
    ModelError for a run-time that does not tell its layers, and as `open_runner`.
    """
    check_runtime(runtime)
    found = ask("layers", str(path), runtime, str(threads))
    layers = tuple(Layer(**layer) for layer in found)
    has_roof = roof and RUNTIMES[runtime].suffix == ".onnx"
    return Layers(label, layers, _roof_of(runtime, threads) if has_roof else None)


def tail_share(layers: Layers) -> float:
    """The share of up-sampling and argmax: of the integer tail, or else of all behind the last layer that multiplies.

    >>> head = Layer("head", "Conv", "f32", "compute", 3.0, gmacs=0.1)
    >>> tail_share(Layers("net", (head, Layer("argmax", "ArgMax", "f32", "compute", 1.0))))
    0.25
    """
    tail = [layer for layer in layers.layers if _in_integer_tail(layer.name)]
    if not tail:
        last = max((place for place, layer in enumerate(layers.layers) if layer.gmacs), default=len(layers.layers))
        tail = list(layers.layers[last + 1 :])
    whole_ms = _sum_ms(layers.layers)
    return _sum_ms(tail) / whole_ms if whole_ms else 0.0


def _in_integer_tail(name: str) -> bool:
    """Whether a layer is of edge_seg.calib.integer_tail, or reorders something for it.

    >>> [_in_integer_tail(name) for name in ("tail/best", "/head/Conv_abcd_acdb_tail/padded", "/detail/Conv")]
    [True, True, False]
    """
    return name.startswith(EXACT_PREFIX) or f"_{EXACT_PREFIX}" in name


def _sum_ms(layers: Iterable[Layer]) -> float:
    return sum(layer.ms for layer in layers)
