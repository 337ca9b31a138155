"""What TensorRT tells of an engine that a runner has open: its layers, their times, its memory.

A layer's formats hang on the shapes, and the number of pictures is free in each of our engines: the inspector is given
the runner's context, with a number set.
"""

from collections.abc import Iterable
from typing import Any

from edge_seg.errors import ModelError
from edge_seg.runners.tensorrt_api import has, import_tensorrt
from edge_seg.runners.trt_runner import TrtRunner
from edge_seg.types import UInt8Array


def read_layers(runner: TrtRunner, count: int) -> str:
    """The inspector's JSON for `count` pictures at a time; ModelError where the engine does not take so many."""
    trt = import_tensorrt()
    with runner.device.current():
        runner.set_count(count)
        inspector = runner.engine.create_engine_inspector()
        inspector.execution_context = runner.context
        text = str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
        del inspector  # TensorRT frees it in the device's context
    return text


def verbosity(runner: TrtRunner) -> str:
    """How much the engine was built to tell: DETAILED, LAYER_NAMES_ONLY or NONE."""
    return str(runner.engine.profiling_verbosity).rpartition(".")[2]


def device_memory(runner: TrtRunner) -> int:
    """Bytes on the device that a context of the engine works in, without its weights."""
    if has(import_tensorrt(), "device memory size v2"):
        return int(runner.engine.device_memory_size_v2)
    return int(runner.engine.device_memory_size)


def time_layers(runner: TrtRunner, images: UInt8Array, turns: Iterable[object]) -> list[list[tuple[str, float]]]:
    """For each turn one call: the layers' names and milliseconds, as they ran, by TensorRT's profiler.

    ModelError where TensorRT does not report them. The profiler slows the whole call down, not its layers.
    """
    calls = []
    profiler = make_profiler(import_tensorrt())
    runner.context.profiler = profiler
    runner.context.enqueue_emits_profile = False  # a call does not wait for the end of its layers
    for _ in turns:
        profiler.times = []
        runner.infer(images)
        with runner.device.current():
            if not runner.context.report_to_profiler():
                raise ModelError("TensorRT does not report the times of the layers. Leave --layers out.")
        calls.append(profiler.times)
    return calls


def make_profiler(trt: Any) -> Any:  # noqa: ANN401
    """A profiler of TensorRT that collects (name, milliseconds) of each layer in its `times`."""

    class Profiler(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.times: list[tuple[str, float]] = []

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.times.append((layer_name, ms))

    return Profiler()
