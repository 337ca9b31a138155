"""The GPU bench as a program, on the fake GPU: its rows are processes, whose end is no one else's."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import gpu_parts
import pytest

bindings = importlib.import_module("bindings")

DRIVER = Path(__file__).with_name("drive_bench.py")
ROOT = Path(__file__).parents[2]
PARTS = ("1.build", "1.times", "2.build", "2.times", "judged")


def run_bench(files: Path, out: Path, python: str = sys.executable, **settings: str) -> tuple[list[str], list[str]]:
    """The names of the parts that were made, and the printed lines."""
    words = [DRIVER, "--files", files, "--out", out, "--data", "drive:frames=3,size=96x72"]
    words += ["--tactic-sources", "EDGE_MASK_CONVOLUTIONS,JIT_CONVOLUTIONS"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "FAKE_TENSORRT": "8.6.1"} | settings
    done = subprocess.run(
        [python, *map(str, words)], env=environment, capture_output=True, text=True, check=False, timeout=1800
    )
    assert done.returncode == 0, done.stderr
    return [line for line in done.stderr.splitlines() if line.endswith(".row")], done.stdout.splitlines()


def test_it_needs_no_other_run_time_and_no_video() -> None:
    """As on a machine that has TensorRT for its Python and little else."""
    missing = ("onnxruntime", "torch", "openvino", "av", "filelock")
    ours = ("runners.trt_runner", "export.to_engine", "calib.manifest", "calib.tensorrt_cache", "calib.trt_calibrator")
    words = f"import bench, {', '.join(f'edge_seg.{name}' for name in ours)}"
    program = f"import sys; sys.modules.update(dict.fromkeys({missing})); {words}"
    paths = os.pathsep.join([str(ROOT / "tests" / "gpu"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert done.returncode == 0, done.stderr


def test_a_fault_ends_one_part_alone_which_is_tried_again_last(bench_files: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows"
    made, lines = run_bench(bench_files, out, FAKE_WAYS="FP16;FP32", FAKE_FAULT="edge-seg-n.FP16.1.times")

    fp16, fp32 = ([f"edge-seg-n.{way}.{part}.row" for part in PARTS] for way in ("FP16", "FP32"))
    assert made == [*fp16[:4], *fp32]  # an engine that cannot be timed is not judged
    assert "| edge-seg-n | FP16 | 1 | ended with -11 |" in "\n".join(lines)
    assert not any("ended" in line for line in lines if "| FP32 |" in line or "| FP16 | 2 |" in line)
    assert [path.name for path in gpu_parts.parts_with_errors("edge-seg-n", "FP16", out)] == [fp16[1]]

    (out / fp32[3]).unlink()
    made, lines = run_bench(bench_files, out, FAKE_WAYS="FP16;FP32")
    assert made == [fp32[3], fp16[1], fp16[4]]
    assert not any("ended" in line for line in lines)
    assert lines[0].startswith("Fake GPU (sm 9.0)")


@pytest.mark.slow
def test_it_runs_beside_the_oldest_tensorrt(bench_files: Path, qdq_model: Path, tmp_path: Path) -> None:
    """On Python 3.10 with NumPy 1.23 and OpenCV 4.10, without ONNX Runtime and PyTorch; calibrators come last."""
    place = Path(sys.prefix) / "tensorrt" / bindings.OLDEST
    if not bindings.is_installed(place):
        pytest.skip(f"no Python 3.10 for TensorRT {bindings.OLDEST} in {place}: make test-all makes one where it can")
    shutil.copy(qdq_model, bench_files / "edge-seg-n.qdq.onnx")
    cache = bench_files / "edge-seg-n.cache"
    cache.write_text(cache.read_text().replace("TRT-8601", "TRT-8503"))
    made, lines = run_bench(bench_files, tmp_path / "rows", bindings.python_of(place), FAKE_TENSORRT="8.5.3")

    files = [line.split(" | ") for line in lines[4 : lines.index("", 2)]]
    ways = ["FP32", "FP16", "INT8, Q/DQ", "INT8, Q/DQ, rest in FP16"]
    by_calibrators = ["INT8, entropy calibrator", "INT8, min-max calibrator", "INT8, our ranges as a cache"]
    assert [cells[1] for cells in files] == [*ways, *by_calibrators]
    assert all(float(cells[2]) >= 0 for cells in files), lines  # an mIoU, and no error
    assert made == [
        f"edge-seg-n.{gpu_parts.plain(way)}.{part}.row" for way in [*ways, *by_calibrators] for part in PARTS
    ]
