"""Times of the layers on TensorRT, from its own profiler, with what its inspector tells of each."""

from collections import defaultdict, deque
from collections.abc import Sequence
from pathlib import Path

from edge_seg.apps.profile.engine_layers import EngineLayer, parse_layers, readable
from edge_seg.apps.profile.kernels import WARM_UP, Timed, turns, undisturbed
from edge_seg.export.graph import Array
from edge_seg.runners import engine_inspector
from edge_seg.runners.trt_runner import TrtRunner

LEAST_CALLS, MOST_CALLS, LIMIT_S = WARM_UP + 16, WARM_UP + 100, 2.0


def time_layers(path: Path, image: Array, threads: int) -> list[Timed]:
    """The layers of an engine in the order in which they ran on `image`; ModelError as the runner.

    Multiplications and bytes are not told.
    """
    with TrtRunner(path, threads, graphs=False) as runner:  # layers are timed one by one
        calls = engine_inspector.time_layers(runner, image, turns(LEAST_CALLS, MOST_CALLS, LIMIT_S))
        layers = parse_layers(engine_inspector.read_layers(runner, len(image)))
    return match(layers, calls[WARM_UP:])


def match(layers: Sequence[EngineLayer], calls: Sequence[Sequence[tuple[str, float]]]) -> list[Timed]:
    """The times of calls, a (name, milliseconds) for each layer, with the inspector's layers of the same names.

    Of several layers of one name the first that ran is the first that the inspector tells. One that it does not tell
    has its name alone.
    """
    known: dict[str, deque[EngineLayer]] = defaultdict(deque)
    for layer in layers:
        known[layer.name].append(layer)
    found = []
    for times in zip(*calls, strict=True):
        name, times_ms = readable(times[0][0]), [ms for _, ms in times]
        layer = known[name].popleft() if known[name] else EngineLayer(name, "", "", "compute")
        found.append(Timed(layer.timed(undisturbed(times_ms)), min(times_ms)))
    return found
