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
    ("version", "integrated", "asked", "tactic"),
    [
        ("10.3.0", True, {"workspace_mb": 64}, 64),
        ("10.3.0", True, {"workspace_mb": 64, "tactic_memory_mb": 99}, 99),
        ("10.3.0", True, {}, None),
        ("10.3.0", False, {"workspace_mb": 64}, None),
        ("8.5.3", True, {"workspace_mb": 64}, None),  # has no such pool
    ],
)
def test_where_memory_is_shared_a_bound_holds_for_the_whole_build(
    version: str,
    integrated: bool,
    asked: dict[str, int],
    tactic: int | None,
    gpu: Gpu,
    build: Build,
    fake: ModuleType,
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    gpu(version, integrated=integrated)
    out = tmp_path / "tiny.engine"
    build(tiny_model, out, **asked)

    assert fake.Builder._last[1]._pools.get("TACTIC_DRAM") == (None if tactic is None else tactic << 20)
    flags = [flag for flag in read_sidecar(out).fingerprint.flags if flag.startswith("tactic")]
    assert flags == ([] if tactic is None else [f"tactic memory {tactic}"])
    assert build(tiny_model, out, **asked) == [f"{out} is up to date."]
