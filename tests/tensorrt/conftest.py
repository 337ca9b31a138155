"""A TensorRT and a CUDA that are not there."""

import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="session")
def fake() -> ModuleType:
    """The module beside this file."""
    spec = importlib.util.spec_from_file_location("fake", Path(__file__).with_name("fake.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def gpu(fake: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, Any]]:
    """A function that puts a fake GPU into this machine, and gives its TensorRT and its CUDA.

    `version` and `lacks` are those of TensorRT, other options those of CUDA.
    """

    def install(version: str = "10.3.0", lacks: tuple[str, ...] = (), **options: Any) -> tuple[Any, Any]:  # noqa: ANN401
        cuda = fake.Cuda(**options)
        trt = fake.make_tensorrt(cuda, version, lacks)
        package = ModuleType("pycuda")
        package.__spec__ = ModuleSpec("pycuda", None)
        package.driver = cuda  # type: ignore[attr-defined]
        for name, module in (("tensorrt", trt), ("pycuda", package), ("pycuda.driver", cuda)):
            monkeypatch.setitem(sys.modules, name, module)
        return trt, cuda

    return install
