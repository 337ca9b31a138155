"""The GPU bench, on the fake GPU: that its rows are made, kept and printed. Its figures mean nothing here."""

import importlib.util
import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edge_seg.data import open_dataset
from edge_seg.runners import open_runner

BENCH = Path(__file__).parents[1] / "gpu" / "bench.py"
DATA = "drive:frames=3,size=96x72"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The bench, with little to do."""
    spec = importlib.util.spec_from_file_location("gpu_bench", BENCH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, value in {"BATCHES": (1, 2, 3), "CALLS": 2, "ROUNDS": 2}.items():
        monkeypatch.setattr(module, name, value)
    return module


def test_rows_are_made_kept_and_printed(
    bench: ModuleType,
    gpu: Callable[..., tuple[Any, Any]],
    tiny_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gpu("8.6.1")
    (tmp_path / "edge-seg-n.fp32.onnx").write_bytes(tiny_model.read_bytes())
    with open_runner(tiny_model, "onnxruntime") as runner:
        labels = [runner.infer(frame.image[None])[0] for frame in open_dataset(DATA)]
    np.savez_compressed(tmp_path / "edge-seg-n.fp32.npz", labels=np.stack(labels))
    options = Namespace(files=tmp_path, out=tmp_path, data=DATA, torch=None, tactic_sources="JIT_CONVOLUTIONS")

    good = bench.measure("edge-seg-n", "FP16", bench.WAYS["FP16"], options)
    lacking = bench.measure("edge-seg-n", "INT8, Q/DQ", bench.WAYS["INT8, Q/DQ"], options)
    bench.print_tables([json.loads(json.dumps(row)) for row in (good, lacking)])
    printed = capsys.readouterr().out

    assert "error" not in good, good["error"]
    assert good["agreement"] == 1.0
    assert good["batches"].keys() == {"1", "2", "3"}
    assert good["pipelined_fps"] > 0
    assert "| edge-seg-n | FP16 | 0." in printed
    assert "| edge-seg-n | INT8, Q/DQ | ModelError: " in printed
