"""How the GPU bench times an engine, on the fake GPU: what is called, and in which order."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import fake_graph
import gpu_tables
import gpu_timing
import numpy as np
import pytest

from edge_seg.errors import ModelError

Gpu = Callable[..., tuple[Any, Any]]


pytestmark = pytest.mark.usefixtures("little")


def test_graphs_are_timed_beside_what_has_none(
    gpu: Gpu,
    build: Callable[..., list[str]],
    fake: ModuleType,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, cuda = gpu("8.6.1", mb=10_000)
    build(tiny_model, tmp_path / "tiny.engine")
    cuda_python = fake_graph.CudaPython(cuda, fake.IExecutionContext, monkeypatch)
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", cuda_python)
    launches: list[int] = []

    def loop(runners: Any, images: Any) -> list[float]:  # noqa: ANN401
        launches.append(cuda_python.launches)  # two runners at a time are more than the fake can
        return [1.0, 2.0, 3.0] if not cuda_python.launches else [1.0, 1.5, 2.0]

    monkeypatch.setattr(gpu_timing, "_loop", loop)
    found = gpu_timing.time_engine(tmp_path / "tiny.engine", 1)

    assert launches == [0] * 3 + [3] * 3  # the second of the warm-up, and the two that are timed
    assert (found["loop_rates"], found["graph_loop_rate"], len(found["graph"])) == ([1.0, 1.0], 2.0, 3)
    cells = gpu_tables._time_cells({"net": "n", "way": "w", "batches": {"1": found}}, "1")
    assert len(cells) == gpu_tables.TIMES.count("|") - 1 and cells[-1] == "2"


def test_an_enqueue_that_tensorrt_does_not_take_is_told(
    gpu: Gpu,
    build: Callable[..., list[str]],
    fake: ModuleType,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu("8.6.1")
    build(tiny_model, tmp_path / "tiny.engine")
    monkeypatch.setattr(fake.IExecutionContext, "execute_async_v3", lambda self, handle: False)
    told = pytest.raises(ModelError, match="TensorRT could not run the engine")
    with gpu_timing.Enqueued(tmp_path / "tiny.engine") as runner, runner.device.current(), told:
        runner.enqueue()


def test_an_enqueue_gives_the_labels_of_the_pictures_shown_last(
    gpu: Gpu, build: Callable[..., list[str]], tiny_model: Path, tmp_path: Path
) -> None:
    _, cuda = gpu("8.6.1")
    build(tiny_model, tmp_path / "tiny.engine")
    images = np.random.default_rng(0).integers(0, 256, (2, 72, 96, 3), np.uint8)
    with gpu_timing.Enqueued(tmp_path / "tiny.engine") as runner:
        labels = runner.infer(images)
        memory = cuda.memory[runner._labels.address]
        memory[:] = 99
        with runner._device.current():
            runner.enqueue()
            runner.wait()
        assert np.array_equal(memory[: labels.size].reshape(labels.shape), labels)


def test_enqueues_and_the_loop_take_turns_behind_a_warm_up_of_its_time(
    gpu: Gpu, build: Callable[..., list[str]], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a clock that changes meanwhile changes both sides of a share."""
    gpu("8.6.1", mb=10_000)
    build(tiny_model, tmp_path / "tiny.engine")
    now, steps = [0.0], list[str]()

    def loop(runners: Any, images: Any) -> list[float]:  # noqa: ANN401
        steps.append("loop")
        return [0.0, 1.0, 2.0 + len(steps)]

    def infer(self: Any, images: Any) -> None:  # noqa: ANN401
        now[0] += 0.3
        steps.append("infer")

    monkeypatch.setattr(gpu_timing, "_loop", loop)
    monkeypatch.setattr(gpu_timing, "_enqueue_s", lambda runner: steps.append("enqueue") or 0.5)
    monkeypatch.setattr(gpu_timing, "WARM_UP_S", 1.0)
    monkeypatch.setattr(gpu_timing.Enqueued, "infer", infer)
    monkeypatch.setattr(gpu_timing.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(gpu_timing, "_as_graphs", lambda engine, images: {})
    monkeypatch.setattr(gpu_timing, "_percentiles", lambda call, batch: [0.0] * 3)
    found = gpu_timing.time_engine(tmp_path / "tiny.engine", 1)

    assert steps == ["infer"] * 4 + ["loop", "enqueue", "loop", "enqueue", "loop"]
    assert found["enqueue_rates"] == [2.0, 2.0]
    assert found["loop_rates"] == [2 / (2 + 7), 2 / (2 + 9)]
    cells = gpu_tables._time_cells({"net": "n", "way": "w", "batches": {"1": found | {"infer": [0.0] * 3}}}, "1")
    assert cells[7] == "0.10 (0.09)"


def test_one_picture_at_a_time_is_called_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 200 calls the 99th percentile would be that of two."""
    monkeypatch.setattr(gpu_timing, "CALLS_OF_ONE", 7)
    calls: list[int] = []
    for batch in (1, 8):
        gpu_timing._percentiles(lambda batch=batch: calls.append(batch), batch)

    assert calls == [1] * 7 + [8] * 2


def test_the_state_of_the_machine_is_told_with_and_without_nvidia_smi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list(gpu_timing.machine_state()) == ["load"]
    smi = tmp_path / "nvidia-smi"
    smi.write_text('#!/bin/sh\necho "1980 MHz, 700.00 W, 3 %"\n')
    smi.chmod(0o755)
    assert gpu_timing.machine_state()["gpu"] == "1980 MHz, 700.00 W, 3 %"
    smi.write_text("#!/bin/sh\nexit 9\n")  # as where no driver runs
    assert list(gpu_timing.machine_state()) == ["load"]
