"""CUDA graphs: the runner's on a fake GPU, and our calls through the real cuda-python of three generations."""

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edge_seg.data.drive import Drive
from edge_seg.errors import ModelError
from edge_seg.runners import cuda, open_runner
from edge_seg.runners.trt_runner import TrtRunner

Gpu = Callable[..., tuple[Any, Any]]
Build = Callable[..., list[str]]

HERE = Path(__file__).parent
IMAGES = np.stack([frame.image for frame in Drive(1, 96, 72, 8)])


cuda_bindings = importlib.import_module("cuda_bindings")


@pytest.fixture
def engine(
    gpu: Gpu, build: Build, fake: ModuleType, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Any]:
    """An engine of one to three pictures on a fake GPU, and the fake cuda-python beside it."""
    _, cuda = gpu()
    build(tiny_model, tmp_path / "tiny.engine")
    cuda_python = importlib.import_module("fake_graph").CudaPython(cuda, fake.IExecutionContext, monkeypatch)
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", cuda_python)
    return tmp_path / "tiny.engine", cuda_python


def labels_of(path: Path, batches: tuple[int, ...]) -> list[Any]:
    """Labels of the first pictures, so many at a time, by one runner."""
    with open_runner(path) as runner:
        return [runner.infer(IMAGES[index : index + count]) for index, count in enumerate(batches)]


def expected_of(model: Path, batches: tuple[int, ...]) -> list[Any]:
    with open_runner(model, "onnxruntime") as runner:
        return [runner.infer(IMAGES[index : index + count]) for index, count in enumerate(batches)]


@pytest.mark.parametrize(
    ("batches", "launches"),
    [((1, 1, 1, 1), 3), ((1, 2, 1, 2), 0), ((2, 2, 2, 3, 3), 3), ((3,), 0)],
    ids=["one size", "in turns", "another size", "once"],
)
def test_pictures_of_one_size_are_one_graph_from_the_second_on(
    batches: tuple[int, ...], launches: int, engine: tuple[Path, Any], tiny_model: Path
) -> None:
    path, cuda_python = engine
    found = labels_of(path, batches)

    for labels, expected in zip(found, expected_of(tiny_model, batches), strict=True):
        assert np.array_equal(labels, expected)
    assert cuda_python.launches == launches
    assert not cuda_python.graphs and not cuda_python.launchable  # nothing is left on the GPU


@pytest.mark.parametrize("refuse", ["begin", "execute", "end", "instantiate"])
def test_what_cannot_be_recorded_runs_as_it_is(refuse: str, engine: tuple[Path, Any], tiny_model: Path) -> None:
    path, cuda_python = engine
    cuda_python.refuse = refuse
    found = labels_of(path, (1, 1, 1))

    assert np.array_equal(np.stack(found), np.stack(expected_of(tiny_model, (1, 1, 1))))
    assert cuda_python.launches == 0
    assert not cuda_python.graphs and not cuda_python.recordings


def test_a_recording_keeps_nobody_from_the_default_stream(
    engine: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the fake bites."""
    path, cuda_python = engine
    monkeypatch.setattr(cuda, "NON_BLOCKING", 0)

    with pytest.raises(AssertionError, match="other threads may use the default stream"):
        labels_of(path, (1, 1))
    assert not cuda_python.recordings


def test_who_wants_no_graph_has_none(engine: tuple[Path, Any]) -> None:
    path, cuda_python = engine
    with TrtRunner(path, graphs=False) as runner:
        for _ in range(3):
            runner.infer(IMAGES[:1])

    assert cuda_python.launches == 0


def test_a_recording_that_failed_is_not_tried_with_each_picture(
    engine: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cuda_python = engine
    begun: list[int] = []
    monkeypatch.setattr(cuda_python, "cuStreamBeginCapture", lambda handle, mode: begun.append(handle) or (2,))
    labels_of(path, (1, 1, 1, 1))

    assert len(begun) == 1


def test_a_failed_copy_ends_the_recording(engine: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    path, cuda_python = engine
    copy = cuda_python.cuda.memcpy_htod_async

    def failing(*told: Any) -> None:  # noqa: ANN401
        if cuda_python.recordings:
            raise cuda_python.cuda.Error("operation not permitted when stream is capturing")
        copy(*told)

    monkeypatch.setattr(cuda_python.cuda, "memcpy_htod_async", failing)

    assert len(labels_of(path, (1, 1, 1))) == 3
    assert cuda_python.launches == 0 and not cuda_python.graphs


def test_a_graph_that_does_not_start_is_told(engine: tuple[Path, Any]) -> None:
    path, cuda_python = engine
    cuda_python.refuse = "launch"

    with pytest.raises(ModelError, match="does not start the engine's graph: CUDA_ERROR_OUT_OF_MEMORY"):
        labels_of(path, (1, 1))
    assert not cuda_python.launchable


@pytest.fixture(params=cuda_bindings.PACKAGES)
def place(request: pytest.FixtureRequest) -> Path:
    """The folder of one generation of cuda-python, where it is installed."""
    found: Path = Path(sys.prefix) / "tensorrt" / f"cuda-{request.param}"
    if not (found / cuda_bindings.LIBRARY).is_file():
        pytest.skip(f"no cuda-python {request.param} in {found.parent}: make installs those that there are")
    return found


OURS = """
import json
from types import SimpleNamespace
from edge_seg.errors import ModelError
from edge_seg.runners.cuda_graph import Graph, import_driver
graph, done = Graph(import_driver(), SimpleNamespace(Error=ArithmeticError), SimpleNamespace(handle=77)), []
try:
    for picture in range(3):
        graph.run(lambda: done.append(picture))
except ModelError as error:
    done.append(str(error))
graph.forget()
print(json.dumps([import_driver().__name__, done]))
"""

RECORDED = ["begin 77 1", "end 77", "instantiate 1000 0", "destroy 1000"]


@pytest.mark.parametrize(
    ("broken", "done", "calls"),
    [
        ("", [0, 1], [*RECORDED, "launch 2000 77", "launch 2000 77", "give up 2000"]),
        ("begin", [0, 1, 2], RECORDED[:1]),
        ("end", [0, 1, 1, 2], RECORDED[:2]),
        ("instantiate", [0, 1, 1, 2], RECORDED),
    ],
)
def test_cuda_python_is_called_as_it_wants(broken: str, done: list[int], calls: list[str], place: Path) -> None:
    """Through the real package into a libcuda that only tells what it was asked; the lambda's work is on no GPU."""
    printed, told = cuda_bindings.run_with(place, OURS, broken=broken)
    module, found = json.loads(printed)

    assert module == ("cuda.cuda" if place.name == "cuda-12.2.1" else "cuda.bindings.driver")
    assert found == done
    assert told == calls


@pytest.mark.parametrize(
    ("function", "done", "calls"),
    [
        ("cuStreamBeginCapture_v2", [0, 1, 2], []),
        ("cuGraphInstantiateWithFlags", [0, 1, 1, 2], ["begin 77 1", "end 77", "destroy 1000"]),
    ],
)
def test_where_the_driver_lacks_a_function_nothing_is_recorded(
    function: str, done: list[int], calls: list[str], place: Path, tmp_path: Path
) -> None:
    """cuda-python raises then."""
    cuda_bindings.make_library(tmp_path, without=function)
    printed, told = cuda_bindings.run_with(place, OURS, library=tmp_path)

    assert json.loads(printed)[1] == done
    assert told == calls


def test_cuda_pythons_error_is_told_by_its_name(place: Path) -> None:
    printed, _ = cuda_bindings.run_with(place, OURS, broken="launch")

    assert "graph: CUDA_ERROR_STREAM_CAPTURE_INVALIDATED." in printed
