"""A CUDA or a TensorRT that does not start: the message says which driver is there and what to do."""

import importlib
import json
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from edge_seg.errors import ModelError
from edge_seg.runners import driver, open_runner
from edge_seg.runners.cuda import open_device
from edge_seg.runners.tensorrt_api import Log, start

Gpu = Callable[..., tuple[Any, Any]]
Build = Callable[..., list[str]]

MISMATCH = "cuInit failed: system has unsupported display driver / cuda driver combination"
FAILURE = "CUDA initialization failure with error: 35. Please check your CUDA installation"


@pytest.fixture(autouse=True)
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver of 2022."""
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  520.61.05  Thu Sep 29\n")
    monkeypatch.setattr(driver, "LOADED", tmp_path / "version")


def test_a_driver_that_does_not_start_is_told(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    _, cuda = gpu()

    def init() -> None:
        raise cuda.Error(MISMATCH)

    monkeypatch.setattr(cuda, "init", init)
    with pytest.raises(
        ModelError, match=r"combination. The driver's .*driver 520.61.05, for CUDA up to 12.6.* Restart"
    ):
        open_device()


def test_a_driver_that_does_not_even_tell_its_cuda_is_told(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the library that is there to compile against does."""
    _, cuda = gpu()

    def stub() -> int:
        raise cuda.Error("CUDA driver is a stub library")

    monkeypatch.setattr(cuda, "init", stub)
    monkeypatch.setattr(cuda, "get_driver_version", stub)
    with pytest.raises(ModelError, match=r"is a stub library. TensorRT engines need an NVIDIA GPU and its driver"):
        open_device()


def test_a_pycuda_that_does_not_load_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its compiled part fails where the driver's library lacks a function."""
    (tmp_path / "pycuda").mkdir()
    (tmp_path / "pycuda" / "__init__.py").touch()
    lacking = "_driver.so: undefined symbol: cuCtxCreate_v4"
    (tmp_path / "pycuda" / "driver.py").write_text(f"raise ImportError({lacking!r})\n")
    for name in ("pycuda", "pycuda.driver"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ModelError, match=r"cuCtxCreate_v4. pycuda was compiled with a newer CUDA .* driver 520.61.05"):
        open_device()
    sys.modules.pop("pycuda", None)


def test_a_tensorrt_that_does_not_start_is_told(
    gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says why as a warning, and gives nothing, of which the bindings make a TypeError."""
    trt, cuda = gpu()
    build(tiny_model, tmp_path / "tiny.engine")

    def nothing(logger: Any) -> None:  # noqa: ANN401
        logger.log("ILogger.Severity.WARNING", FAILURE)
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(trt, "Runtime", nothing)
    with pytest.raises(
        ModelError, match=r"does not start.\n  CUDA init.*\nThe driver is too old: found driver 520.61.05"
    ):
        open_runner(tmp_path / "tiny.engine")
    assert cuda.depth == 0


def test_a_wrong_call_is_no_matter_of_the_driver() -> None:
    with pytest.raises(TypeError, match="int"):
        start(lambda logger: int(logger), object(), Log())


def test_a_line_after_the_logs_end_is_kept_and_harms_nothing() -> None:
    """TensorRT may speak when an object goes, and ends the process where its logger raises."""
    sink = StringIO()
    log = Log(sink)
    log.add("ERROR", "in time")
    written = sink.getvalue()
    sink.close()
    log.add("ERROR", "late")

    assert written == "ERROR in time\n"
    assert log.errors == ["in time", "late"]


bindings = importlib.import_module("bindings")

OURS = """
import json, tensorrt as trt
from edge_seg.errors import ModelError
from edge_seg.runners.tensorrt_api import Log, make_logger, start
told = []
for kind in (trt.Runtime, trt.Builder):
    log = Log()
    log.add("WARNING", "CUDA initialization failure with error: 35. Please check your CUDA installation")
    try:
        start(kind, make_logger(trt, log), log)
    except ModelError as error:
        told.append(str(error))
print(json.dumps(told))
"""


@pytest.mark.parametrize("version", bindings.PACKAGES)
def test_the_bindings_give_nothing_as_we_take_it(version: str) -> None:
    """The real ones, on libraries that give a null pointer, as TensorRT's do where CUDA does not start."""
    place = Path(sys.prefix) / "tensorrt" / version
    if not (place / "tensorrt.py").is_file():
        pytest.skip(f"no bindings of TensorRT {version} in {place.parent}: make installs those that there are")
    told = json.loads(bindings.run_with(place, "-c", OURS))

    assert len(told) == 2
    assert all("TensorRT does not start.\n  CUDA initialization" in text and "too old" in text for text in told)
