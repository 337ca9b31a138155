"""A cuda-python without a GPU: what `edge_seg.runners.cuda_graph` touches of its driver module, on the fake CUDA.

It bites where a real graph would go wrong without a word: a graph that is started after the shape has changed, or that
is given up twice or not at all, a recording on a stream that keeps others from the default one, and work in it that
waits, sets a shape, or is a shape's first.
"""

from collections.abc import Callable
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import pytest


class CUresult(IntEnum):
    """Errors."""

    CUDA_SUCCESS = 0
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901


OK = CUresult.CUDA_SUCCESS


class Recording(list[Callable[[], None]]):
    """A stream's work while it is recorded, which cannot be waited for."""

    def __iter__(self) -> Any:  # noqa: ANN401
        raise AssertionError("a stream was waited for while it is recorded")


class CudaPython:
    """The driver module, and the hooks into the fake TensorRT's execution context that tell it of shapes."""

    CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL=1)

    def __init__(self, cuda: Any, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401
        self.cuda, self.refuse = cuda, ""
        self.recordings: dict[int, tuple[Recording, list[Any]]] = {}
        self.graphs: dict[int, list[Any]] = {}
        self.launchable: dict[int, tuple[int, list[Any]]] = {}
        self.shapes = 0
        self.launches = 0
        self.unsettled = True
        set_shape, execute = context.set_input_shape, context.execute_async_v3
        monkeypatch.setattr(context, "set_input_shape", lambda *told: self._set_shape(set_shape, told))
        monkeypatch.setattr(context, "execute_async_v3", lambda *told: self._execute(execute, told))

    def _set_shape(self, as_it_is: Callable[..., bool], told: tuple[Any, ...]) -> bool:
        assert not self.recordings, "a shape was set while work is recorded"
        self.shapes, self.unsettled = self.shapes + 1, True
        return as_it_is(*told)

    def _execute(self, as_it_is: Callable[..., bool], told: tuple[Any, ...]) -> bool:
        recorded = told[-1] in self.recordings
        assert not (recorded and self.unsettled), "a shape's first run was recorded"
        self.unsettled = False
        return not (recorded and self.refuse == "execute") and as_it_is(*told)

    def cuDriverGetVersion(self) -> tuple[CUresult, int]:
        return OK, 12060

    def cuStreamBeginCapture(self, handle: int, mode: int) -> tuple[CUresult]:
        self.cuda.inside()
        assert mode == 1, "other threads may allocate meanwhile"
        assert not self.cuda.streams[handle].blocking, "other threads may use the default stream meanwhile"
        if self.refuse == "begin":
            return (CUresult.CUDA_ERROR_OUT_OF_MEMORY,)
        stream = self.cuda.streams[handle]
        recording = Recording()
        self.recordings[handle] = (recording, stream.pending)
        stream.pending = recording
        return (OK,)

    def cuStreamEndCapture(self, handle: int) -> tuple[CUresult, int | None]:
        recording, self.cuda.streams[handle].pending = self.recordings.pop(handle)
        if self.refuse == "end":
            return CUresult.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, None
        number = 1 + len(self.graphs) + len(self.launchable)
        self.graphs[number] = list(list.__iter__(recording))
        return OK, number

    def cuGraphInstantiate(self, graph: int, flags: int) -> tuple[CUresult, int | None]:
        if self.refuse == "instantiate":
            return CUresult.CUDA_ERROR_OUT_OF_MEMORY, None
        self.launchable[graph] = (self.shapes, self.graphs[graph])
        return OK, graph

    def cuGraphDestroy(self, graph: int) -> tuple[CUresult]:
        del self.graphs[graph]
        return (OK,)

    def cuGraphLaunch(self, launchable: int, handle: int) -> tuple[CUresult]:
        self.cuda.inside()
        if self.refuse == "launch":
            return (CUresult.CUDA_ERROR_OUT_OF_MEMORY,)
        shapes, work = self.launchable[launchable]
        assert shapes == self.shapes, "the shape has changed since this was recorded"
        self.cuda.streams[handle].pending.extend(work)
        self.launches += 1
        return (OK,)

    def cuGraphExecDestroy(self, launchable: int) -> tuple[CUresult]:
        self.cuda.inside()
        del self.launchable[launchable]
        return (OK,)
