"""Engines that run on a fake GPU: the labels of their file, on any thread, and what is refused."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from edge_seg.apps.cli import app
from edge_seg.data.drive import Drive
from edge_seg.errors import ModelError
from edge_seg.runners import open_runner
from edge_seg.runners.cuda import open_device
from edge_seg.runners.engine_file import sidecar_of
from edge_seg.segmenter import open_segmenters

Gpu = Callable[..., tuple[Any, Any]]
Build = Callable[..., list[str]]

IMAGES = np.stack([frame.image for frame in Drive(1, 96, 72, 3)])


@pytest.mark.parametrize("integrated", [False, True])
def test_an_engine_gives_the_labels_of_its_file(
    integrated: bool, gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path
) -> None:
    _, cuda = gpu(integrated=integrated)
    out = tmp_path / "tiny.engine"
    build(tiny_model, out)
    with open_runner(tiny_model, "onnxruntime") as runner:
        expected = runner.infer(IMAGES)

    with open_runner(out) as runner:
        first = runner.infer(IMAGES[:1])
        found = runner.infer(IMAGES)

        assert (runner.runtime, runner.spec.name) == ("tensorrt", "tiny")
    assert np.array_equal(found, expected)
    assert np.array_equal(first, expected[:1])  # memory of its own, which the second call did not change
    assert cuda.depth == 0


def test_a_runner_works_on_another_thread(gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path) -> None:
    gpu()
    build(tiny_model, tmp_path / "tiny.engine")
    found: list[Any] = []
    with open_runner(tmp_path / "tiny.engine") as runner:
        thread = threading.Thread(target=lambda: found.append(runner.infer(IMAGES)))
        thread.start()
        thread.join(30)

    assert found[0].shape == (3, 72, 96)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda out: out.write_bytes(out.read_bytes()[:-9]), "is not the engine that tiny.engine.json describes"),
        (lambda out: sidecar_of(out).unlink(), "nothing says what tiny.engine is"),
        (lambda out: sidecar_of(out).write_text("{}"), "is no sidecar of an engine"),
        (lambda out: sidecar_of(out).write_text("[" * 100_000), "is no sidecar of an engine"),
    ],
)
def test_a_damaged_engine_is_refused(
    change: Callable[[Path], object], message: str, gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path
) -> None:
    gpu()
    out = tmp_path / "tiny.engine"
    build(tiny_model, out)
    change(out)

    with pytest.raises(ModelError, match=message):
        open_runner(out)


def test_an_engine_from_elsewhere_is_refused(
    gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "tiny.engine"
    gpu()
    build(tiny_model, out)
    gpu(sm=(8, 7))
    with pytest.raises(ModelError, match=r"10.3.0 on Fake GPU \(sm 9.0\), Linux \w+; here is .* on sm 8.7, Linux"):
        open_runner(out)
    gpu("10.16.0.72")
    with pytest.raises(ModelError, match=r"here is TensorRT 10.16.0.72 on sm 9.0, .*. Build it here: edge-seg build"):
        open_runner(out)

    gpu()
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(ModelError, match=r"on sm 9.0, Linux aarch64. Build it here"):
        open_runner(out)
    monkeypatch.undo()

    gpu()
    build(tiny_model, out, version_compatible=True)
    gpu("10.16.0.72")
    with open_runner(out) as runner:
        assert runner.infer(IMAGES).shape == (3, 72, 96)


def test_a_batch_out_of_the_profile_is_told(gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path) -> None:
    gpu()
    build(tiny_model, tmp_path / "tiny.engine", batch=(2, 2, 2))
    with open_runner(tmp_path / "tiny.engine") as runner:
        for count in (1, 3):
            with pytest.raises(ModelError, match=f"takes 2 to 2 pictures at a time, not {count}"):
                runner.infer(IMAGES[:count])


def test_memory_that_is_out_is_told(gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path) -> None:
    gpu()
    build(tiny_model, tmp_path / "tiny.engine", batch=(1, 8, 64))
    gpu(mb=1)
    with pytest.raises(ModelError, match=r"No memory is left for 1.3 MB on the GPU"):
        open_runner(tmp_path / "tiny.engine")


def test_memory_that_runs_out_at_work_is_told(
    gpu: Gpu, build: Build, fake: ModuleType, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of TensorRT by its log, of CUDA by pycuda's error; both leave a runner that works when there is memory again."""
    _, cuda = gpu()
    build(tiny_model, tmp_path / "tiny.engine")
    with open_runner(tmp_path / "tiny.engine") as runner:
        with monkeypatch.context() as patch:
            patch.setattr(fake.IExecutionContext, "execute_async_v3", lambda self, handle: out_of_memory(runner))
            with pytest.raises(
                ModelError, match=r"could not run the engine.\n  .*\nThe GPU's memory ran out. Close what"
            ):
                runner.infer(IMAGES)
        with monkeypatch.context() as patch:
            patch.setattr(stream_of(cuda), "synchronize", lambda self: pycuda_out_of_memory(cuda))
            with pytest.raises(ModelError, match=r"No memory is left for this batch \(cuStream.* --batch 1"):
                runner.infer(IMAGES)
        assert runner.infer(IMAGES).shape == (3, 72, 96)
    assert cuda.depth == 0


def test_memory_is_given_up_when_the_gpu_is_through_with_it(
    gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, cuda = gpu()
    build(tiny_model, tmp_path / "tiny.engine")
    with open_runner(tmp_path / "tiny.engine") as runner:
        with monkeypatch.context() as patch:
            patch.setattr(stream_of(cuda), "synchronize", lambda self: pycuda_out_of_memory(cuda))
            with pytest.raises(ModelError, match="No memory is left"):
                runner.infer(IMAGES)
        assert any(stream.pending for stream in cuda.streams.values())

    assert not any(stream.pending for stream in cuda.streams.values())
    with monkeypatch.context() as patch:  # and where even that fails the runner is closed
        patch.setattr(stream_of(cuda), "synchronize", lambda self: pycuda_out_of_memory(cuda))
        with open_runner(tmp_path / "tiny.engine"):
            pass
    assert cuda.depth == 0


def test_the_fake_takes_no_copy_for_page_locked_memory(gpu: Gpu) -> None:
    """NumPy's copy is of the same class, and lies elsewhere."""
    _, cuda = gpu()
    device = open_device()
    with device.current():
        stream, buffer = device.stream(), device.buffer((4,))
        cuda.memcpy_htod_async(buffer.address, buffer.host[:2], stream)
        with pytest.raises(AssertionError, match="pageable"):
            cuda.memcpy_htod_async(buffer.address, buffer.host.copy(), stream)
        with pytest.raises(AssertionError, match="pageable"):
            cuda.memcpy_dtoh_async(buffer.host.copy(), buffer.address, stream)


def stream_of(cuda: Any) -> Any:  # noqa: ANN401
    """The fake's class of streams."""
    with open_device().current():
        return type(cuda.Stream())


def out_of_memory(runner: Any) -> bool:  # noqa: ANN401
    runner._logger.log("ILogger.Severity.ERROR", "[executionContext.cpp] Error Code 1: Cuda Runtime (out of memory)")
    return False


def pycuda_out_of_memory(cuda: Any) -> None:  # noqa: ANN401
    raise cuda.MemoryError("cuStreamSynchronize failed: out of memory")


@pytest.mark.parametrize("step", ["deserialize_cuda_engine", "create_execution_context"])
def test_an_engine_that_memory_does_not_hold_is_told(
    step: str,
    gpu: Gpu,
    build: Build,
    fake: ModuleType,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trt, cuda = gpu()
    build(tiny_model, tmp_path / "tiny.engine")

    def without(self: Any, *told: Any) -> None:  # noqa: ANN401
        if hasattr(self, "logger"):
            self.logger.log(
                "ILogger.Severity.ERROR", "Requested amount of GPU memory (9 bytes) could not be allocated."
            )

    kind = trt.Runtime if step.startswith("deserialize") else fake.ICudaEngine
    monkeypatch.setattr(kind, step, without)
    with pytest.raises(
        ModelError, match=r"(cannot load|no memory left for) .*tiny.engine. Close what else uses the GPU"
    ):
        open_runner(tmp_path / "tiny.engine")
    assert cuda.depth == 0


def test_two_runners_have_pictures_on_the_gpu_at_once(
    gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits for its stream until the other has put its work on its own: so one's copies go beside other layers."""
    _, cuda = gpu()
    build(tiny_model, tmp_path / "tiny.engine")
    stream = stream_of(cuda)
    both, wait = threading.Barrier(2, timeout=60), stream.synchronize
    segmenters = open_segmenters(tmp_path / "tiny.engine", "tensorrt")
    with segmenters as segments, ThreadPoolExecutor(2) as pool, monkeypatch.context() as patch:
        patch.setattr(stream, "synchronize", lambda self: (both.wait(), wait(self)))
        found = list(pool.map(lambda segment: segment(IMAGES[0]).labels, segments))

    assert len(found) == 2 and not both.broken
    assert np.array_equal(*found)


def test_run_and_eval_build_what_they_need(
    gpu: Gpu, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    data = "drive:frames=3,size=96x72"
    runs = [
        ["eval", str(tiny_model), "--data", data, "--runtime", "tensorrt", "--json"],
        ["run", "--model", str(tiny_model), "--source", data, "--headless", "--runtime", "tensorrt", "--json"],
        ["eval", str(tiny_model), "--data", data, "--runtime", "onnxruntime", "--json"],
    ]
    done = [CliRunner().invoke(app, words, catch_exceptions=False) for words in runs]
    reports = [json.loads(result.stdout) for result in done]

    assert "there is none yet" in done[0].stderr and "is up to date" in done[1].stderr
    assert [report["runtime"] for report in reports] == ["tensorrt", "tensorrt", "onnxruntime"]
    assert reports[0]["class_iou"] == reports[2]["class_iou"]
    assert len(list((tmp_path / "edge-seg" / "engines").glob("*.engine"))) == 1
