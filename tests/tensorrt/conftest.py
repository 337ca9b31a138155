"""A TensorRT and a CUDA that are not there."""

import importlib
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from edge_seg.apps.cli import app
from edge_seg.export.build_engine import build_engine
from edge_seg.export.to_engine import BuildOptions


@pytest.fixture(scope="session")
def fake() -> ModuleType:
    """The module beside this file, which the tests change classes of."""
    return importlib.import_module("fake")


@pytest.fixture
def gpu(fake: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, Any]]:
    """A function that puts a fake GPU into this machine, and gives its TensorRT and its CUDA.

    `version` is that of TensorRT, other options are those of CUDA.
    """

    def install(version: str = "10.3.0", **options: Any) -> tuple[Any, Any]:  # noqa: ANN401
        cuda = fake.Cuda(**options)
        trt = fake.make_tensorrt(cuda, version)
        package = ModuleType("pycuda")
        package.__spec__ = ModuleSpec("pycuda", None)
        package.driver = cuda  # type: ignore[attr-defined]
        for name, module in (("tensorrt", trt), ("pycuda", package), ("pycuda.driver", cuda)):
            monkeypatch.setitem(sys.modules, name, module)
        for name in ("cuda.bindings.driver", "cuda.cuda"):  # a real one knows no fake stream
            monkeypatch.setitem(sys.modules, name, None)
        return trt, cuda

    return install


@pytest.fixture
def build() -> Callable[..., list[str]]:
    """A function that builds an engine of one to three pictures at a time, and gives what is told of it."""

    def run(source: Path, out: Path, **options: Any) -> list[str]:  # noqa: ANN401
        told: list[str] = []
        build_engine(source, out, BuildOptions(**({"batch": (1, 2, 3)} | options)), tell=told.append)
        return told

    return run


@pytest.fixture(scope="session")
def qdq_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny net in INT8 for TensorRT."""
    path = tmp_path_factory.mktemp("models") / "tiny.trt.onnx"
    words = ["quantize", str(tiny_model), "--data", "drive:seed=3,frames=8,size=96x72", "--target", "tensorrt"]
    assert CliRunner().invoke(app, [*words, "--images", "8", "--out", str(path)], catch_exceptions=False).exit_code == 0
    return path


@pytest.fixture
def bench_files(tiny_model: Path, write_camvid: Callable[..., None], tmp_path: Path) -> Path:
    """A folder as the GPU bench's prepare.py leaves it for TensorRT 8.6.1, of one net of ours, without Q/DQ nodes.

    Its pictures are files: another OpenCV draws another drive.
    """
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "edge-seg-n.fp32.onnx").write_bytes(tiny_model.read_bytes())
    (folder / "edge-seg-n.cache").write_text("TRT-8601-EntropyCalibration2\nimage: 3c010204\n")
    write_camvid(tmp_path / "CamVid", "train", names="abcdefgh")
    words = ["calib", "images", "--data", f"camvid:{tmp_path}/CamVid/train", "--images", "8"]
    assert CliRunner().invoke(app, [*words, "--out", str(folder / "calib.json")]).exit_code == 0
    return folder


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU bench times a few calls alone."""
    few = {"CALLS": 2, "CALLS_OF_ONE": 2, "ROUNDS": 2, "WARM_UP": 2, "WARM_UP_S": 0.0, "ENQUEUE_S": 0.0, "LOOP_S": 0.01}
    for name, value in few.items():
        monkeypatch.setattr(f"gpu_timing.{name}", value)
