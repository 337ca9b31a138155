"""An engine is built once, by one process, and again where something changed, on a fake GPU."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from filelock import FileLock

from edge_seg.errors import ModelError
from edge_seg.export.build_engine import build_engine
from edge_seg.export.to_engine import BuildOptions
from edge_seg.runners.contract import add_score
from edge_seg.runners.engine_file import lock_of, read_whole_engine

Gpu = Callable[..., tuple[Any, Any]]
Build = Callable[..., list[str]]


def test_it_is_built_once_and_again_where_something_changed(
    gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tiny.engine"
    gpu()
    assert build(tiny_model, out) == [f"Building {out}: there is none yet."]
    assert build(tiny_model, out) == [f"{out} is up to date."]
    assert build(tiny_model, out, batch=(1, 1, 1)) == [f"Building {out}: batch was (1, 2, 3) and is (1, 1, 1)."]
    assert "flags was () and is ('workspace 8',)" in build(tiny_model, out, batch=(1, 1, 1), workspace_mb=8)[0]
    gpu("10.16.0.72", sm=(11, 0))
    assert "tensorrt was 10.3.0 and is 10.16.0.72; sm was 9.0 and is 11.0; batch was" in build(tiny_model, out)[0]
    other = tmp_path / "tiny.onnx"
    other.write_bytes(tiny_model.read_bytes())
    add_score(other, "any", 0.5)
    assert build(other, out) == [f"Building {out}: onnx has changed."]
    out.write_bytes(b"cut")
    assert "is not the engine that tiny.engine.json describes" in build(tiny_model, out, batch=(1, 1, 1))[0]


def test_of_two_processes_one_builds_and_the_other_waits(gpu: Gpu, tiny_model: Path, tmp_path: Path) -> None:
    gpu()
    out = tmp_path / "tiny.engine"
    lock = FileLock(tmp_path / ".tiny.engine.lock")
    lock.acquire()
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        if "waiting" in line:
            lock.release()

    build_engine(tiny_model, out, BuildOptions(), tell=tell)

    assert told == [
        f"Another process is building {out}: waiting for it.",
        f"Building {out}: there is none yet.",
    ]


def test_other_weights_beside_a_file_are_another_file(gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path) -> None:
    gpu()
    source, out, weights = tmp_path / "split.onnx", tmp_path / "split.engine", tmp_path / "split.data"
    onnx.save_model(onnx.load(tiny_model), source, save_as_external_data=True, location=weights.name, size_threshold=0)
    build(source, out)
    assert build(source, out) == [f"{out} is up to date."]
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    assert build(source, out) == [f"Building {out}: onnx has changed."]


def test_without_filelock_it_is_built_without_a_lock(
    gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu()
    monkeypatch.setitem(sys.modules, "filelock", None)
    out = tmp_path / "tiny.engine"

    assert build(tiny_model, out) == [f"Building {out}: there is none yet."]
    assert not list(tmp_path.glob(".*"))
    assert read_whole_engine(out)[1].spec.name == "tiny"
    lock_of(out).touch()  # of a machine that has it
    out.write_bytes(b"altered")
    with pytest.raises(ModelError, match="cut short, altered or exchanged"):
        read_whole_engine(out)
