"""The GPU bench, on the fake GPU: that its rows are made, kept and printed. Its figures mean nothing here."""

import importlib.util
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import fake_graph
import gpu_tables
import gpu_timing
import numpy as np
import pytest
from typer.testing import CliRunner

from edge_seg.apps.cli import app
from edge_seg.data import open_dataset
from edge_seg.errors import ModelError
from edge_seg.runners import open_runner
from edge_seg.runners.contract import add_score
from edge_seg.runners.engine_file import read_sidecar, this_system, write_engine

GPU = Path(__file__).parents[1] / "gpu"
DATA = "drive:frames=3,size=96x72"
Gpu = Callable[..., tuple[Any, Any]]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The bench, with little to do."""
    spec = importlib.util.spec_from_file_location("gpu_bench", GPU / "bench.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "BATCHES", (1, 2))
    for name, value in {"CALLS": 2, "ROUNDS": 2, "WARM_UP": 1, "LOOP_S": 0.01}.items():
        monkeypatch.setattr(gpu_timing, name, value)
    return module


@pytest.fixture
def options(tiny_model: Path, tmp_path: Path) -> Namespace:
    """The command line, with the files of one net of ours and of one that was not trained."""
    for net in ("edge-seg-n", "smp-unet-untrained"):
        (tmp_path / f"{net}.fp32.onnx").write_bytes(tiny_model.read_bytes())
    (tmp_path / "edge-seg-n.cache").write_text("TRT-8601-EntropyCalibration2\nimage: 3c010204\n")
    with open_runner(tiny_model, "onnxruntime") as runner:
        labels = [runner.infer(frame.image[None])[0] for frame in open_dataset(DATA)]
    np.savez_compressed(tmp_path / "edge-seg-n.fp32.npz", labels=np.stack(labels))
    words = ["calib", "images", "--data", "drive:seed=3,frames=40,size=96x72", "--images", "8"]
    assert CliRunner().invoke(app, [*words, "--out", str(tmp_path / "calib.json")]).exit_code == 0
    out = tmp_path / "rows"
    out.mkdir()
    return Namespace(files=tmp_path, out=out, data=DATA, torch=None, tactic_sources="JIT_CONVOLUTIONS")


def test_every_way_without_qdq_makes_a_row(
    bench: ModuleType, gpu: Gpu, options: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu("8.6.1", mb=10_000)
    monkeypatch.setattr(bench, "BATCHES", (1,))
    rows = {
        name: bench.measure("edge-seg-n", name, way, options) for name, way in bench.WAYS.items() if way.file == "fp32"
    }

    assert len(rows) == 5
    for name, row in rows.items():
        assert row["judged"].get("agreement") == 1.0, (name, row)
        assert row["batches"].keys() == {"1"}
        for found in row["batches"].values():
            assert "error" not in found, found
            assert all(len(found[kind]) == 3 for kind in ("enqueue", "infer", "loop"))
            assert min(found["enqueue_rate"], found["loop_rate"], found["memory_mb"], found["engine_mb"]) > 0
    assert rows["FP16"]["batches"]["1"]["precision"] == "FP16"
    assert rows["INT8, our ranges as a cache"]["batches"]["1"]["precision"] == "INT8+FP16"


def test_what_was_measured_is_not_measured_again(
    bench: ModuleType, gpu: Gpu, options: Namespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu("8.6.1", mb=10_000)
    with monkeypatch.context() as broken:
        broken.setattr(bench, "time_engine", lambda engine, batch: {}[batch])
        first = bench.measure("edge-seg-n", "FP32", bench.WAYS["FP32"], options)
    assert first["batches"]["1"]["error"] == "KeyError: 1"
    capsys.readouterr()
    second = bench.measure("edge-seg-n", "FP32", bench.WAYS["FP32"], options)
    told = capsys.readouterr().err.splitlines()
    third = bench.measure("edge-seg-n", "FP32", bench.WAYS["FP32"], options)

    assert told == [f"edge-seg-n.FP32.{part}.row" for part in ("1.times", "2.times", "judged")]
    assert second["batches"]["1"]["build_s"] == first["batches"]["1"]["build_s"]
    assert third == second
    assert capsys.readouterr().err == ""
    (options.out / "edge-seg-n.FP32.2.engine").unlink()
    bench.measure("edge-seg-n", "FP32", bench.WAYS["FP32"], options)
    assert "edge-seg-n.FP32.2.build.row" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["onnx", "tensorrt", "gpu", "engine", "labels"])
def test_what_is_of_another_thing_is_measured_again(
    change: str,
    bench: ModuleType,
    gpu: Gpu,
    options: Namespace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gpu("8.6.1", mb=10_000)
    monkeypatch.setattr(bench, "BATCHES", (1,))
    bench.measure("edge-seg-n", "FP32", bench.WAYS["FP32"], options)
    capsys.readouterr()
    source, engine = options.files / "edge-seg-n.fp32.onnx", options.out / "edge-seg-n.FP32.1.engine"
    parts = ["1.build", "1.times", "judged"]
    if change == "onnx":
        add_score(source, "any", 0.5)
    elif change == "engine":  # another build gave another one
        sidecar = read_sidecar(engine)
        write_engine(engine, engine.read_bytes().replace(b"\n", b" \n", 1), sidecar.spec, sidecar.fingerprint)
        parts = parts[1:]
    elif change == "labels":
        source.with_suffix(".npz").unlink()
        parts = parts[2:]
    gpu("8.5.3" if change == "tensorrt" else "8.6.1", mb=10_000, sm=(8, 7) if change == "gpu" else (9, 0))
    row = bench.measure("edge-seg-n", "FP32", bench.WAYS["FP32"], options)

    assert capsys.readouterr().err.splitlines() == [f"edge-seg-n.FP32.{part}.row" for part in parts]
    assert "error" not in row["batches"]["1"] | row["judged"]


def test_what_it_was_measured_on_is_told(bench: ModuleType, gpu: Gpu) -> None:
    gpu("8.6.1", sm=(8, 7))

    assert bench.machine() == f"Fake GPU (sm 8.7), driver for CUDA 12.6, TensorRT 8.6.1, {this_system()}"


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
    launches: list[tuple[bool, int]] = []

    def loop(engine: Path, images: Any, *, graphs: bool) -> tuple[list[float], float]:  # noqa: ANN401
        launches.append((graphs, cuda_python.launches))  # two runners at a time are more than the fake can
        return [1.0, 2.0, 3.0], 2.0 if graphs else 1.0

    for name, value in {"CALLS": 2, "ROUNDS": 2, "WARM_UP": 2, "_loop": loop}.items():
        monkeypatch.setattr(gpu_timing, name, value)
    found = gpu_timing.time_engine(tmp_path / "tiny.engine", 1)

    assert launches == [(False, 0), (True, 3)]  # the second of the warm-up, and the two that are timed
    assert (found["loop_rate"], found["graph_loop_rate"], len(found["graph"])) == (1.0, 2.0, 3)
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


def test_tables_are_those_of_the_docs(bench: ModuleType, gpu: Gpu, options: Namespace) -> None:
    gpu("8.6.1", mb=10_000)
    assert bench.nets_in(options.files) == ["edge-seg-n", "smp-unet-untrained"]
    rows = [
        bench.measure(net, name, bench.WAYS[name], options)
        for net, name in (
            ("edge-seg-n", "FP32"),
            ("edge-seg-n", "INT8, Q/DQ"),
            ("smp-unet-untrained", "FP16"),
        )
    ]
    found = rows[0]["batches"]["1"]
    found["against"] = {
        "eager-fp32": {"ms": 2.0, "torch_ms": 6.0, "ratio": 3.0, "least": 2.5},
        "compile-fp16": {"error": "x"},
    }
    lines = list(gpu_tables.tables(rows))
    docs = (GPU.parents[1] / "docs" / "tensorrt.md").read_text().splitlines()
    heads = [line for line in lines if line.startswith("| net ")]

    assert len(heads) == 3 and set(heads) <= set(docs)
    assert all(line.count("|") == head.count("|") for head, *body in _parts(lines) for line in body)
    miou = f"{rows[0]['judged']['miou']:.4f}"
    assert lines[2].startswith(f"| edge-seg-n | FP32 | {miou} | 0.0000 | 1.0000 |")
    assert lines[3].startswith("| edge-seg-n | INT8, Q/DQ | ModelError: ")
    assert lines[4].startswith("| smp-unet-untrained | FP16 |  |  |  | ")  # no accuracy of weights of chance
    assert "| edge-seg-n | FP32 | 1 | 2.000 | 3.00 (2.50) | x |  |" in lines


def _parts(lines: list[str]) -> list[list[str]]:
    """The tables, each a list of lines."""
    return [part.splitlines() for part in "\n".join(lines).split("\n\n")]


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


def test_it_needs_no_other_run_time_and_no_video() -> None:
    """As on a machine that has TensorRT for its Python and little else."""
    missing = ("onnxruntime", "torch", "openvino", "av", "filelock")
    ours = ("runners.trt_runner", "export.to_engine", "calib.manifest", "calib.tensorrt_cache", "calib.trt_calibrator")
    words = f"import bench, {', '.join(f'edge_seg.{name}' for name in ours)}"
    program = f"import sys; sys.modules.update(dict.fromkeys({missing})); {words}"
    paths = os.pathsep.join([str(GPU), str(GPU.parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert done.returncode == 0, done.stderr
