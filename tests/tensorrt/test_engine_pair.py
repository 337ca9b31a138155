"""An engine and its sidecar are read as one build wrote them, also while another one is written."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import filelock
import pytest
from filelock import FileLock

from edge_seg.errors import ModelError
from edge_seg.files import write_whole
from edge_seg.runners import engine_file
from edge_seg.runners.engine_file import Sidecar, read_engine, read_whole_engine, sha256

Gpu = Callable[..., tuple[Any, Any]]
Build = Callable[..., list[str]]


def test_a_reader_between_the_two_writes_of_a_rebuild_waits_for_the_second(
    gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader is in the midst of it: it finds a new sidecar beside the old engine, and only then is that written."""
    gpu()
    out = tmp_path / "tiny.engine"
    build(tiny_model, out)
    before = read_engine(out)[1]
    found, waits = [], threading.Event()

    class Lock(FileLock):
        def __enter__(self) -> Any:  # noqa: ANN401
            waits.set()
            return super().__enter__()

    monkeypatch.setattr(filelock, "FileLock", Lock)
    with ThreadPoolExecutor(1) as reader:

        def write_slowly(path: Path, content: bytes) -> None:
            if path == out:
                with pytest.raises(ModelError, match=r"is not the engine that tiny.engine.json describes"):
                    read_engine(out)
                found.append(reader.submit(read_whole_engine, out))
                assert waits.wait(60)
            write_whole(path, content)

        monkeypatch.setattr(engine_file, "write_whole", write_slowly)
        build(tiny_model, out, batch=(1, 1, 1))
        content, sidecar = result_of(found)

    assert sha256(content) == sidecar.engine
    assert (before.fingerprint.batch, sidecar.fingerprint.batch) == ((1, 2, 3), (1, 1, 1))


def result_of(found: list[Future[tuple[bytes, Sidecar]]]) -> tuple[bytes, Sidecar]:
    (only,) = found
    return only.result(60)


def test_a_writer_that_does_not_end_is_not_waited_for_for_ever(
    gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu()
    out = tmp_path / "tiny.engine"
    build(tiny_model, out)
    out.write_bytes(b"altered")
    monkeypatch.setattr(engine_file, "LOCK_S", 0.0)
    with FileLock(engine_file.lock_of(out)), pytest.raises(ModelError, match="cut short, altered or exchanged"):
        read_whole_engine(out)


def test_where_nothing_was_built_no_lock_is_made(gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path) -> None:
    """An engine that was copied here, perhaps to a disk that is read alone."""
    gpu()
    build(tiny_model, tmp_path / "tiny.engine")
    there = tmp_path / "there"
    there.mkdir()
    for name in ("tiny.engine", "tiny.engine.json"):
        (there / name).write_bytes((tmp_path / name).read_bytes())
    (there / "tiny.engine").write_bytes(b"altered")
    with pytest.raises(ModelError, match="cut short, altered or exchanged"):
        read_whole_engine(there / "tiny.engine")

    assert len(list(there.iterdir())) == 2
