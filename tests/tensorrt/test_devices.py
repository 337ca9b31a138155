"""Engines for more than a GPU alone: a deep learning accelerator, and memory that CPU and GPU share."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edge_seg.errors import ModelError
from edge_seg.runners.engine_file import read_sidecar

Gpu = Callable[..., tuple[Any, Any]]
Build = Callable[..., list[str]]


def test_a_dla_is_asked_for(gpu: Gpu, build: Build, fake: ModuleType, tiny_model: Path, tmp_path: Path) -> None:
    trt, _ = gpu("8.6.1")
    trt.Builder.num_DLA_cores = 2
    build(tiny_model, tmp_path / "tiny.engine", dla=1)
    config = fake.Builder._last[1]

    assert (config.default_device_type, config.DLA_core, config._flags) == ("DLA", 1, ["GPU_FALLBACK", "FP16"])
    trt, _ = gpu()
    trt.Builder.num_DLA_cores = 2
    with pytest.raises(ModelError, match="takes INT8 from a calibrator"):
        build(tiny_model, tmp_path / "tiny.engine", dla=1)


def test_a_dla_takes_no_qdq_nodes(gpu: Gpu, build: Build, qdq_model: Path, tmp_path: Path) -> None:
    """Also where the network is weakly typed: the engine would be there, with all its layers on the GPU."""
    trt, _ = gpu("8.6.1")
    trt.Builder.num_DLA_cores = 2
    with pytest.raises(ModelError, match=r"takes INT8 from a calibrator: build the FP32 file with --calib implicit"):
        build(qdq_model, tmp_path / "tiny.engine", dla=1)
    assert not list(tmp_path.glob("*.engine"))


@pytest.mark.parametrize(
    ("version", "integrated", "asked", "available_kb", "tactic"),
    [
        ("10.3.0", True, {"workspace_mb": 64}, 1, 768),
        ("10.3.0", True, {}, 1, 768),
        ("10.3.0", True, {}, 4 << 20, 3072),  # copies of files, which CUDA may not count as free
        ("10.3.0", True, {"workspace_mb": 64, "tactic_memory_mb": 99}, 1, 99),
        ("10.3.0", False, {"workspace_mb": 64}, 4 << 20, None),
        ("8.5.3", True, {"workspace_mb": 64}, 1, None),  # has no such pool
    ],
)
def test_where_memory_is_shared_the_build_takes_what_is_free(
    version: str,
    integrated: bool,
    asked: dict[str, int],
    available_kb: int,
    tactic: int | None,
    gpu: Gpu,
    build: Build,
    fake: ModuleType,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is told, and no other engine where other memory is free."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal:  9 kB\nMemAvailable:   {available_kb} kB\n")
    monkeypatch.setattr("edge_seg.runners.cuda.MEMINFO", meminfo)
    _, cuda = gpu(version, integrated=integrated)
    cuda.left = 1 << 30
    out = tmp_path / "tiny.engine"
    told = build(tiny_model, out, **asked)
    derived = tactic is not None and "tactic_memory_mb" not in asked

    assert any(f"the build may take {tactic} MiB" in line for line in told) == derived
    assert fake.Builder._last[1]._pools.get("TACTIC_DRAM") == (None if tactic is None else tactic << 20)
    flags = [flag for flag in read_sidecar(out).fingerprint.flags if flag.startswith("tactic")]
    assert flags == (["tactic memory 99"] if "tactic_memory_mb" in asked else [])
    cuda.left = 1 << 29
    assert build(tiny_model, out, **asked) == [f"{out} is up to date."]
