"""The GPU bench's comparison with PyTorch, without PyTorch: its environment, its versions, its rounds."""

import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import gpu_parts
import gpu_torch
import pytest

from edge_seg.runners.timed import Round


def write_python(path: Path, script: str) -> str:
    """A stand-in for a Python with PyTorch."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_the_versions_of_pytorch_are_told(tmp_path: Path) -> None:
    known = write_python(tmp_path / "known", "echo a note; echo PyTorch 2.6.0, CUDA 12.4, cuDNN 90100")

    assert gpu_torch.torch_versions(known) == "PyTorch 2.6.0, CUDA 12.4, cuDNN 90100"
    with pytest.raises(SystemExit, match=r"none has no PyTorch that works on the GPU:\nNo module named torch"):
        gpu_torch.torch_versions(write_python(tmp_path / "none", "echo No module named torch >&2; exit 1"))


def test_pytorch_gets_the_driver_and_none_of_tensorrts_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    libraries = {"driver": "libcuda.so.1", "kit": "libnvinfer.so.8", "toolkit": "libcudart.so.11.0", "other": "libx.so"}
    for folder, name in libraries.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
    entries = [str(tmp_path / folder) for folder in libraries]
    monkeypatch.setenv("LD_LIBRARY_PATH", os.pathsep.join([*entries, str(Path(sys.prefix) / "lib"), ""]))
    monkeypatch.setenv("PYTHONHOME", "elsewhere")
    found = gpu_torch.torch_environment()

    assert found["LD_LIBRARY_PATH"].split(os.pathsep) == [entries[0], entries[3]]
    assert "PYTHONHOME" not in found
    monkeypatch.setenv("LD_LIBRARY_PATH", entries[1])
    assert "LD_LIBRARY_PATH" not in gpu_torch.torch_environment()


def test_rounds_are_paired_behind_one_that_counts_for_none() -> None:
    asked: list[tuple[str, float]] = []

    class Timed:
        def __init__(self, name: str, times: list[float]) -> None:
            self.name, self.times = name, iter(times)

        def round(self, seconds: float) -> Round:
            asked.append((self.name, seconds))
            return Round((next(self.times),), None)

    processes: Any = [Timed("ours", [99.0, *[1.0] * 9]), Timed("theirs", [99.0, *[2.0] * 9])]

    assert gpu_torch._rounds(processes) == [[1.0, 2.0]] * 9
    assert asked == [("ours", 1.0), ("theirs", 1.0), *[("ours", 0.5), ("theirs", 0.5)] * 9]


def test_an_error_of_another_process_does_not_end_this_one(tmp_path: Path) -> None:
    """As one in here does, after which CUDA may be of no use."""
    options = Namespace(only="net/FP32", reading=False)

    def fail() -> dict[str, Any]:
        raise OSError("no such Python")

    theirs = gpu_parts.kept(tmp_path / "theirs.row", fail, {}, options, elsewhere=True)
    assert theirs["error"] == "OSError: no such Python"
    with pytest.raises(SystemExit) as ended:
        gpu_parts.kept(tmp_path / "ours.row", fail, {}, options)
    assert ended.value.code == gpu_parts.FAILED
    assert gpu_parts.read_part(tmp_path / "ours.row") == theirs
