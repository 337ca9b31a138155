"""CUDA graphs by cuda-python, where it is installed: pycuda has no calls for them.

A graph is a picture's whole work, copies and layers, recorded once and started by one call, where else each layer costs
the CPU a call. cuda-python's driver module works on the context and the streams that pycuda made, by their handles.
Its functions return a tuple: an error of CUresult, then what they make.
"""

import importlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from edge_seg.errors import ModelError

MODULES = ("cuda.bindings.driver", "cuda.cuda")
"""The driver module of cuda-python, and its name in older ones, such as 12.2."""


def import_driver() -> Any:  # noqa: ANN401
    """cuda-python's driver module; None where it is not installed or finds no driver's library."""
    for name in MODULES:
        try:
            driver = importlib.import_module(name)
            driver.cuDriverGetVersion()
        except ImportError:
            continue
        except RuntimeError:  # cuda-python's, where libcuda does not load or lacks a function
            return None
        return driver
    return None


class Graph:
    """The work on one stream of pycuda's: run as it is the first time, then recorded, and from then on started at once.

    Where `driver`, which `import_driver` gives, is None, or something of the work cannot be recorded (TensorRT has such
    layers), it goes on as it is. All methods are called within the device's context.
    """

    def __init__(self, driver: Any, cuda: Any, stream: Any) -> None:  # noqa: ANN401
        self._driver, self._cuda, self._stream = driver, cuda, stream
        self._launchable: Any = None
        self._ran = False

    def run(self, work: Callable[[], None]) -> None:
        """Start the work, the same each time, whose last run was waited for; ModelError where the graph does not start.

        What TensorRT puts off until a shape's first run cannot be recorded: so that run is never a graph.
        """
        if self._launchable is None and self._ran and self._driver is not None:
            self._launchable = self._record(self._driver, work)
            if self._launchable is None:
                self._driver = None  # it would fail again with each picture
        if self._launchable is None:
            work()
            self._ran = True
            return
        (error,) = self._driver.cuGraphLaunch(self._launchable, self._stream.handle)
        if error:
            raise ModelError(f"The GPU does not start the engine's graph: {error.name}. Open the engine again.")

    def forget(self) -> None:
        """Give up the graph, as before another shape: the next run is the first one again."""
        if self._launchable is not None:
            self._driver.cuGraphExecDestroy(self._launchable)
        self._launchable, self._ran = None, False

    def _record(self, driver: Any, work: Callable[[], None]) -> Any:  # noqa: ANN401
        """The graph of the work; None where something of it cannot be recorded, or the driver lacks a function."""
        with suppress(RuntimeError):  # cuda-python's, of a function that the driver's library has not
            worked, graph = self._capture(driver, work)
            if graph is not None:
                try:
                    return _instantiate(driver, graph) if worked else None
                finally:
                    driver.cuGraphDestroy(graph)
        return None

    def _capture(self, driver: Any, work: Callable[[], None]) -> tuple[bool, Any]:  # noqa: ANN401
        """Whether the work was recorded to its end, and what of it was; None where that is no graph."""
        # Thread-local: other threads may allocate meanwhile, as another runner's does. That they may use the default
        # stream too is because this one does not wait for it (Device.stream).
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        (error,) = driver.cuStreamBeginCapture(self._stream.handle, mode)
        if error:
            return False, None
        worked = False
        try:
            with suppress(ModelError, self._cuda.Error):
                work()
                worked = True
        finally:
            error, graph = driver.cuStreamEndCapture(self._stream.handle)
        return worked, None if error else graph


def _instantiate(driver: Any, graph: Any) -> Any:  # noqa: ANN401
    # In CUDA 11 the function of this signature has a name of its own.
    instantiate = getattr(driver, "cuGraphInstantiateWithFlags", None) or driver.cuGraphInstantiate
    error, launchable = instantiate(graph, 0)
    return None if error else launchable
