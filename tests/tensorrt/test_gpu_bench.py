"""The GPU bench, on the fake GPU: that its rows are made, kept and printed. Its figures mean nothing here."""

import importlib.util
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import gpu_parts
import gpu_tables
import numpy as np
import pytest

from edge_seg.calib.manifest import read_manifest
from edge_seg.data import open_dataset
from edge_seg.runners import open_runner
from edge_seg.runners.contract import add_score
from edge_seg.runners.engine_file import read_sidecar, this_system, write_engine

GPU = Path(__file__).parents[1] / "gpu"
DATA = "drive:frames=3,size=96x72"
Gpu = Callable[..., tuple[Any, Any]]


@pytest.fixture
def bench(little: None, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The bench, with little to do."""
    spec = importlib.util.spec_from_file_location("gpu_bench", GPU / "bench.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "BATCHES", (1, 2))
    return module


@pytest.fixture
def options(bench_files: Path, tiny_model: Path, tmp_path: Path) -> Namespace:
    """The command line, with the files of one net of ours and of one that was not trained."""
    (bench_files / "smp-unet-untrained.fp32.onnx").write_bytes(tiny_model.read_bytes())
    with open_runner(tiny_model, "onnxruntime") as runner:
        labels = [runner.infer(frame.image[None])[0] for frame in open_dataset(DATA)]
    np.savez_compressed(bench_files / "edge-seg-n.fp32.npz", labels=np.stack(labels))
    out = tmp_path / "rows"
    out.mkdir()
    words = {"calib_data": None, "only": None, "reading": "", "torch_is": "", "tactic_sources": "JIT_CONVOLUTIONS"}
    return Namespace(files=bench_files, out=out, data=DATA, torch=None, **words)


def test_every_way_without_qdq_makes_a_row(
    bench: ModuleType, gpu: Gpu, options: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Timings of another GPU, and those of a name without a machine, are no hindrance."""
    gpu("8.6.1", mb=10_000)
    monkeypatch.setattr(bench, "BATCHES", (1,))
    for name in ("timings", "timings-of-another"):
        (options.out / name).write_bytes(b"other GPU's")
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
            assert min(*found["enqueue_rates"], *found["loop_rates"], found["memory_mb"], found["engine_mb"]) > 0
            assert len(found["enqueue_rates"]) == len(found["loop_rates"]) == 2
            assert len(found["before"]["load"]) == len(found["after"]["load"]) == 3
    assert rows["FP16"]["batches"]["1"]["precision"] == "FP16"
    assert rows["INT8, our ranges as a cache"]["batches"]["1"]["precision"] == "INT8+FP16"


def test_what_was_measured_is_not_measured_again(
    bench: ModuleType, gpu: Gpu, options: Namespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor is what went wrong, until the bench is started again."""
    gpu("8.6.1", mb=10_000)
    with monkeypatch.context() as broken:
        broken.setattr(bench, "time_engine", lambda engine, batch: {}[batch])
        first = bench.measure("edge-seg-n", "FP32", bench.WAYS["FP32"], options)
    assert first["batches"]["1"]["error"] == "KeyError: 1"
    assert bench.measure("edge-seg-n", "FP32", bench.WAYS["FP32"], options) == first
    wrong = list(gpu_parts.parts_with_errors("edge-seg-n", "FP32", options.out))
    assert [path.name for path in wrong] == [f"edge-seg-n.FP32.{batch}.times.row" for batch in (1, 2)]
    for path in wrong:
        path.unlink()
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


@pytest.mark.parametrize("change", ["onnx", "tensorrt", "gpu", "engine", "labels", "bench"])
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
    elif change == "bench":  # an older one, whose parts told less
        for path in options.out.glob("*.row"):
            part = gpu_parts.read_part(path)
            of = {name: value for name, value in part["of"].items() if name != "bench"}
            gpu_parts.write_part(path, {"of": of, "build_s": 1.0, "enqueue_rate": 2.0})
    gpu("8.5.3" if change == "tensorrt" else "8.6.1", mb=10_000, sm=(8, 7) if change == "gpu" else (9, 0))
    row = bench.measure("edge-seg-n", "FP32", bench.WAYS["FP32"], options)

    assert capsys.readouterr().err.splitlines() == [f"edge-seg-n.FP32.{part}.row" for part in parts]
    assert "error" not in row["batches"]["1"] | row["judged"]


def test_what_it_was_measured_on_is_told(bench: ModuleType, gpu: Gpu) -> None:
    gpu("8.6.1", sm=(8, 7))

    assert bench.machine() == f"Fake GPU (sm 8.7), driver for CUDA 12.6, TensorRT 8.6.1, {this_system()}"


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
    built = [row["batches"]["1"] for row in (rows[0], rows[2])]
    docs = (GPU.parents[1] / "docs" / "tensorrt.md").read_text().splitlines()
    heads = [line for line in lines if line.startswith("| net ")]

    assert len(heads) == 3 and set(heads) <= set(docs)
    assert all(line.count("|") == head.count("|") for head, *body in _parts(lines) for line in body)
    miou = f"{rows[0]['judged']['miou']:.4f}"
    assert lines[2].startswith(f"| edge-seg-n | FP32 | {miou} | 0.0000 | 1.0000 |")
    assert lines[3].startswith("| edge-seg-n | INT8, Q/DQ | ModelError: ")
    assert lines[4].startswith("| smp-unet-untrained | FP16 |  |  |  | ")  # no accuracy of weights of chance
    assert [one["timings_known"] for one in built] == [False, True]
    for line, one, warm in ((lines[2], built[0], ""), (lines[4], built[1], " (warm)")):
        assert line.split(" | ")[6] == f"{one['build_s']:.0f}{warm}"
    assert "| edge-seg-n | FP32 | 1 | 2.000 | 3.00 (2.50) | x |  |" in lines


def _parts(lines: list[str]) -> list[list[str]]:
    """The tables, each a list of lines."""
    return [part.splitlines() for part in "\n".join(lines).split("\n\n")]


def test_another_pytorch_is_compared_anew(
    bench: ModuleType, gpu: Gpu, options: Namespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu("8.6.1", mb=10_000)
    monkeypatch.setattr(bench, "BATCHES", (1,))
    monkeypatch.setattr(bench, "compare", lambda engine, net, way, python, batch: {"ms": 1.0, "by": python})
    options.torch, found = "a-python", []
    for options.torch_is in ("PyTorch 2.5.1", "PyTorch 2.5.1", "PyTorch 2.6.0"):
        row = bench.measure("edge-seg-n", "FP32", bench.WAYS["FP32"], options)
        found.append(sum("fp16.row" in line or "fp32.row" in line for line in capsys.readouterr().err.splitlines()))

    assert found == [3, 0, 3]
    against = row["batches"]["1"]["against"]
    assert {part["of"]["torch"] for part in against.values()} == {"PyTorch 2.6.0"}
    assert {part["by"] for part in against.values()} == {"a-python"}


@pytest.mark.parametrize(
    ("data", "asked", "place"),
    [
        ("camvid:/here/CamVid/test", None, "camvid:/here/CamVid/train"),
        ("camvid:/here/CamVid/test", "camvid:/there/train", "camvid:/there/train"),
        (DATA, None, None),  # has no splits: as they were picked
    ],
)
def test_calibrators_find_their_pictures_where_they_lie_here(
    data: str, asked: str | None, place: str | None, bench: ModuleType, options: Namespace
) -> None:
    options.data, options.calib_data = data, asked
    source = options.files / "calib.json"
    found, picked = read_manifest(bench.manifest_here(source, options)), read_manifest(source)

    assert found.sources == (picked.sources if place is None else (place,))
    assert found.pictures == picked.pictures


@pytest.mark.parametrize(("version", "ways"), [("10.3.0", 7), ("11.4.0", 4)])
def test_the_program_prints_what_is_there(
    version: str,
    ways: int,
    bench: ModuleType,
    gpu: Gpu,
    options: Namespace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """After its rows' processes, which here do nothing; 11 has no calibrators."""
    gpu(version)
    asked: list[str] = []
    monkeypatch.setattr(bench, "run_rows", lambda rows, options: asked.extend(name for _, name in rows))
    monkeypatch.setattr(bench, "torch_versions", lambda python: f"PyTorch of {python}")
    words = ["--files", str(options.files), "--out", str(options.out), "--data", DATA, "--torch", "a-python"]
    monkeypatch.setattr(sys, "argv", ["bench.py", *words, "--nets", "edge-seg-n"])
    bench.main()
    lines = capsys.readouterr().out.splitlines()

    assert asked == list(bench.WAYS)[:ways]
    assert lines[0] == f"{bench.machine()}, PyTorch of a-python"
    assert "| edge-seg-n | FP16 | not measured |  |  |  |  |  |" in lines
    assert sum("not measured" in line for line in lines) == 3 * ways


def test_a_row_that_ends_outside_of_its_parts_costs_no_other(
    bench: ModuleType,
    gpu: Gpu,
    options: Namespace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Here each row's process ends with 1, and a sidecar of one cannot be read."""
    gpu("8.6.1", mb=10_000)
    monkeypatch.setattr(bench, "WAYS", {name: bench.WAYS[name] for name in ("FP32", "FP16")})
    monkeypatch.setattr(bench, "judge", lambda engine, source, data: {"miou": 0.5})
    bench.measure("edge-seg-n", "FP32", bench.WAYS["FP32"], options)
    (options.out / "edge-seg-n.FP32.2.engine.json").write_text("{")
    monkeypatch.setattr("gpu_parts.subprocess.run", lambda words, check: Namespace(returncode=1))
    words = ["--files", str(options.files), "--out", str(options.out), "--data", DATA, "--nets", "edge-seg-n"]
    monkeypatch.setattr(sys, "argv", ["bench.py", *words, "--tactic-sources", "JIT_CONVOLUTIONS"])
    bench.main()
    lines = capsys.readouterr().out.splitlines()

    assert sum(line.startswith("| edge-seg-n | FP16 | ") and "ended with 1" in line for line in lines) == 3
    assert any(line.startswith("| edge-seg-n | FP32 | 0.5000 |") for line in lines)
    assert any(line.startswith("| edge-seg-n | FP32 | 2 | ModelError: ") for line in lines)
    ends = [list(gpu_parts.parts_with_errors("edge-seg-n", name, options.out)) for name in ("FP32", "FP16")]
    assert [[path.name for path in paths] for paths in ends] == [
        [f"edge-seg-n.{name}.end.row"] for name in ("FP32", "FP16")
    ]
