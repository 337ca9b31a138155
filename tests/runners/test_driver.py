"""What messages tell of NVIDIA's driver: the one that is there, and the one that is needed."""

from email.message import Message
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_seg.runners import driver

PROPRIETARY = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  520.61.05  Thu Sep 29 05:30:25 UTC 2022\nGCC version:\n"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder)\n"


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the kernel module tells its version, which is 520.61.05, and no TensorRT package that names its CUDA."""
    path = tmp_path / "version"
    path.write_text(PROPRIETARY)
    monkeypatch.setattr(driver, "LOADED", path)
    monkeypatch.setattr(driver, "distributions", list)
    return path


@pytest.mark.parametrize(("text", "version"), [(PROPRIETARY, "520.61.05"), (OPEN, "580.65.06"), ("nothing", None)])
def test_the_loaded_module_tells_its_version(text: str, version: str | None, loaded: Path) -> None:
    loaded.write_text(text)

    assert driver.loaded_version() == version


@pytest.mark.parametrize(
    "error",
    [
        "cuInit failed: CUDA driver version is insufficient for CUDA runtime version",
        "CUDA initialization failure with error: 35. Please check your CUDA installation",
        "CUDA initialization failure with error 35. Please check your CUDA installation",
        "cuModuleLoadData failed: the provided PTX was compiled with an unsupported toolchain.",
    ],
)
def test_a_driver_that_is_too_old_is_told_with_the_one_that_is_needed(error: str, loaded: Path) -> None:
    told = driver.advice(error, goes_to="11.8")

    assert "too old: found driver 520.61.05, for CUDA up to 11.8; needed: 450 or newer for CUDA 11, 525" in told
    assert "Update the driver" in told


def test_what_is_needed_is_that_of_the_installed_tensorrt(loaded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for name in ("tensorrt", "tensorrt-cu13", "tensorrt_cu13_libs", "tensorrt_cu99", "numpy"):
        metadata = Message()
        metadata["Name"] = name
        names.append(SimpleNamespace(metadata=metadata))
    monkeypatch.setattr(driver, "distributions", lambda: names)

    assert driver.needed() == "580 or newer for CUDA 13"


def test_a_library_and_a_module_of_two_versions_ask_for_a_restart(loaded: Path) -> None:
    told = driver.advice("cuInit failed: system has unsupported display driver / cuda driver combination")

    assert "kernel module (driver 520.61.05) are of two versions" in told and "Restart the machine" in told
    assert driver.advice("CUDA initialization failure with error: 803. Please") == told


def test_a_pycuda_for_a_newer_cuda_can_be_compiled_again(loaded: Path) -> None:
    told = driver.advice("_driver.cpython-311-x86_64-linux-gnu.so: undefined symbol: cuCtxCreate_v4")

    assert "compiled with a newer CUDA than the driver has: found driver 520.61.05" in told
    assert "--force-reinstall pycuda" in told


def test_of_other_errors_nothing_is_known(loaded: Path) -> None:
    assert driver.advice("cuInit failed: no CUDA-capable device is detected") == ""


def test_a_system_that_does_not_tell_its_driver(loaded: Path) -> None:
    loaded.unlink()

    assert "found a driver that does not tell its version, for CUDA up to 12.2" in driver.advice(
        "error 35", goes_to="12.2"
    )
