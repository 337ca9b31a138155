"""Engines that run on a fake GPU: the labels of their file, on any thread, and what is refused."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from edge_seg.apps.cli import app
from edge_seg.data.drive import Drive
from edge_seg.errors import ModelError
from edge_seg.runners import open_runner
from edge_seg.runners.engine_file import sidecar_of

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


def test_an_engine_from_elsewhere_is_refused(gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny.engine"
    gpu()
    build(tiny_model, out)
    gpu(sm=(8, 7))
    with pytest.raises(ModelError, match=r"built for TensorRT 10.3.0 on Fake GPU \(sm 9.0\); here is .* on sm 8.7"):
        open_runner(out)
    gpu("10.16.0.72")
    with pytest.raises(ModelError, match=r"here is TensorRT 10.16.0.72 on sm 9.0. Build it here: edge-seg build"):
        open_runner(out)

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
