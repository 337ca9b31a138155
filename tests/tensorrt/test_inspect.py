"""`edge-seg inspect` and the times of layers, on a fake GPU: what is asked of TensorRT, what is told and refused."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import fake_inspector
import numpy as np
import pytest
from typer.testing import CliRunner

from edge_seg.apps.cli import app
from edge_seg.apps.profile import layers as profile_layers_module
from edge_seg.apps.profile.layers import profile_layers
from edge_seg.apps.profile.layers_worker import serve
from edge_seg.errors import MissingExtraError, ModelError
from edge_seg.runners.engine_file import sidecar_of
from edge_seg.runners.engine_inspector import read_layers
from edge_seg.runners.trt_runner import TrtRunner

Gpu = Callable[..., tuple[Any, Any]]
Build = Callable[..., list[str]]
NAMES = ["QuantizeLinear_1", "/net/Conv + /net/Relu", "labels [Shuffle]"]


@pytest.fixture
def engine(gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path) -> Path:
    """An engine of the fake GPU."""
    gpu()
    build(tiny_model, tmp_path / "tiny.engine")
    return tmp_path / "tiny.engine"


@pytest.mark.parametrize(("version", "memory_mb"), [("8.5.3", 3.0), ("8.6.1", 3.0), ("10.3.0", 5.0), ("11.4.0", 5.0)])
def test_an_engine_tells_its_layers_and_memory(
    version: str, memory_mb: float, gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path
) -> None:
    _, cuda = gpu(version)
    out = tmp_path / "tiny.engine"
    build(tiny_model, out)

    done = CliRunner().invoke(app, ["inspect", str(out), "--json"], catch_exceptions=False)
    report = json.loads(done.stdout)

    assert done.exit_code == 0
    assert [layer["name"] for layer in report["layers"]] == NAMES
    assert [layer["role"] for layer in report["layers"]] == ["quantize", "compute", "reformat"]
    assert report["layers"][1]["precision"] == "int8"
    assert report["layers"][1]["nodes"] == ["/net/Conv", "/net/Relu"]
    assert report["layers"][2]["takes"][0]["precision"] == "f32"  # told, since the number of pictures was set
    made = {key: report[key] for key in ("precisions", "int8_share", "reformats", "quantize", "islands")}
    assert made == {"precisions": {"int8": 1}, "int8_share": 1.0, "reformats": 0, "quantize": 1, "islands": []}
    assert (report["verbosity"], report["batch"], report["memory_mb"]) == ("DETAILED", 2, memory_mb)
    assert report["fingerprint"]["tensorrt"] == version
    assert report["size_mb"] == out.stat().st_size / 1e6
    assert cuda.depth == 0


def test_the_command_tells_people(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    done = CliRunner().invoke(app, ["inspect", str(engine)], catch_exceptions=False)
    text = " ".join(done.stdout.split())

    assert f"{engine}: built as FP32 for TensorRT 10.3.0 on Fake GPU (sm 9.0)." in text
    assert "labels [Shuffle]" in text  # brackets are no markup
    assert "CaskConvolution │ int8 │ int8 > f32" in text
    assert "Reformat, quantize" in text
    assert (
        "1 layer computes: 1 in int8. 0 reformats, 1 of Q and DQ nodes, no float islands between INT8 layers." in text
    )
    assert "5.0 MB of the GPU's memory at work" in text


def test_an_engine_that_tells_names_alone_is_said_to(
    engine: Path, fake: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake.ICudaEngine, "profiling_verbosity", "ProfilingVerbosity.LAYER_NAMES_ONLY")
    monkeypatch.setattr(
        fake_inspector.EngineInspector, "get_engine_information", lambda self, format: '{"Layers": ["/net/Conv"]}'
    )

    done = CliRunner().invoke(app, ["inspect", str(engine)], catch_exceptions=False)
    text = " ".join(done.stdout.split())

    assert "built to tell LAYER_NAMES_ONLY alone: precisions, formats and tactics are not known. Build it again" in text
    assert "1 layer computes: 1 in what is not told." in text


def test_what_is_no_engine_of_this_machine_is_refused(
    engine: Path, gpu: Gpu, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusal(path: Path) -> str:
        with pytest.raises((ModelError, MissingExtraError)) as found:
            CliRunner().invoke(app, ["inspect", str(path)], catch_exceptions=False)
        return str(found.value)

    assert "No model" in refusal(tmp_path / "missing.engine")
    assert f"takes .engine files; {tiny_model.name} is none. Try edge-seg build {tiny_model}" in refusal(tiny_model)
    gpu(sm=(8, 7))
    assert "built for TensorRT 10.3.0 on Fake GPU (sm 9.0)" in (told := refusal(engine))
    assert "here is TensorRT 10.3.0 on sm 8.7" in told
    gpu()
    sidecar = sidecar_of(engine).read_text()
    sidecar_of(engine).unlink()
    assert "nothing says what tiny.engine is" in refusal(engine)
    sidecar_of(engine).write_text(sidecar)
    engine.write_bytes(engine.read_bytes()[:-9])
    assert "is not the engine that tiny.engine.json describes" in refusal(engine)
    monkeypatch.delitem(sys.modules, "tensorrt")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "The run-time tensorrt is not installed. Type: pip install 'edge-seg[tensorrt]'" in refusal(engine)


def test_the_layers_of_an_engine_are_timed(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = serve("layers", str(engine), "tensorrt", "1")

    assert [(layer["name"], layer["ms"]) for layer in found] == list(zip(NAMES, (1.0, 2.0, 3.0), strict=True))
    assert found[1]["precision"] == "int8"

    monkeypatch.setattr(profile_layers_module, "ask", serve)
    layers = profile_layers(engine, "tensorrt", threads=1, label="tiny")  # whose roof would be an ONNX file's
    assert (len(layers.layers), layers.roof) == (3, None)


def test_a_runner_knows_the_number_of_pictures_that_its_layers_were_read_for(engine: Path) -> None:
    images = np.zeros((1, 72, 96, 3), np.uint8)
    with TrtRunner(engine) as runner:
        runner.infer(images)
        read_layers(runner, 3)
        runner.infer(images)
        assert runner.context.shape == (1, 72, 96, 3)
        with pytest.raises(ModelError, match="does not take 9 pictures at a time"):
            read_layers(runner, 9)


def test_times_that_are_not_reported_are_told(engine: Path, fake: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake.IExecutionContext, "report_to_profiler", lambda self: False)
    with pytest.raises(ModelError, match="does not report the times of the layers"):
        serve("layers", str(engine), "tensorrt", "1")


def test_an_engine_for_more_pictures_cannot_be_timed_with_one(build: Build, engine: Path, tiny_model: Path) -> None:
    build(tiny_model, engine, batch=(2, 2, 2))
    with pytest.raises(ModelError, match=r"takes 2 to 2 pictures at a time, not 1\. Build one that does"):
        serve("layers", str(engine), "tensorrt", "1")
