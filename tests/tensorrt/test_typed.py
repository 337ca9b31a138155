"""Engines of a precision where the network is strongly typed: which file they are built of, and what is told."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_seg.errors import ModelError
from edge_seg.export.typed_onnx import is_fp16, typed_onnx
from edge_seg.runners import read_spec
from edge_seg.runners.engine_file import read_sidecar, sha256

Gpu = Callable[..., tuple[Any, Any]]
Build = Callable[..., list[str]]


@pytest.fixture
def wild_model(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny net with a weight that FP16 does not hold."""
    model, path = onnx.load(tiny_model), tmp_path / "wild.onnx"
    weights = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)
    values = numpy_helper.to_array(weights).copy()
    values.flat[0] = 1e6
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(("kind", "precision"), [("tiny_model", "FP16"), ("qdq_model", "INT8+FP16")])
@pytest.mark.parametrize("asked", ["fp16", "best"])
def test_an_fp16_file_is_written_first(
    asked: str,
    kind: str,
    precision: str,
    gpu: Gpu,
    build: Build,
    fake: ModuleType,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    gpu("10.3.0")
    source, out = request.getfixturevalue(kind), tmp_path / "tiny.engine"
    told = build(source, out, precision=asked)
    network, config = fake.Builder._last
    written = tmp_path / "tiny.engine.fp16.onnx"
    built = read_sidecar(out).fingerprint

    assert network.content == written.read_bytes() and is_fp16(onnx.load(written))
    assert (network.flags, config._flags) == (2, [])
    assert told[-1] == f"Its floats are in FP16 in {written}, of which the engine is built."
    assert any("no INT8 in the file" in line for line in told) is (asked == "best" and kind == "tiny_model")
    assert read_spec(out).precision == built.precision == precision
    assert (built.asked, built.onnx) == (asked, sha256(source.read_bytes()))


def test_the_precision_that_was_asked_for_makes_another_engine(
    gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tiny.engine"
    gpu("10.3.0")
    build(tiny_model, out)
    assert not (tmp_path / "tiny.engine.fp16.onnx").exists()
    assert "asked was file and is fp16" in build(tiny_model, out, precision="fp16")[0]
    (tmp_path / "tiny.engine.fp16.onnx").unlink()
    assert build(tiny_model, out, precision="fp16") == [f"{out} is up to date."]
    assert not (tmp_path / "tiny.engine.fp16.onnx").exists()
    gpu("8.6.1")
    assert "asked was fp16 and is best" in build(tiny_model, out)[0]
    assert build(tiny_model, out, precision="best") == [f"{out} is up to date."]


@pytest.mark.parametrize("asked", ["fp32", "int8"])
def test_a_file_of_the_types_that_are_asked_for_is_built_as_it_is(
    asked: str, gpu: Gpu, build: Build, qdq_model: Path, tmp_path: Path
) -> None:
    gpu("11.4.0")
    build(qdq_model, tmp_path / "tiny.engine", precision=asked)

    assert read_spec(tmp_path / "tiny.engine").precision == "INT8"
    assert not list(tmp_path.glob("*.onnx"))


def test_fp16_floats_are_taken_and_cannot_be_fp32(gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path) -> None:
    gpu("10.3.0")
    half = tmp_path / "half.onnx"
    onnx.save(typed_onnx(onnx.load(tiny_model), "fp16", tell=[].append), half)

    for asked in ("fp16", None):
        build(half, tmp_path / "half.engine", precision=asked)
        assert read_spec(tmp_path / "half.engine").precision == "FP16"
    assert not (tmp_path / "half.engine.fp16.onnx").exists()
    with pytest.raises(ModelError, match=r"floats are FP16, and TensorRT computes in them. Build the FP32 file"):
        build(half, tmp_path / "half.engine", precision="fp32")


def test_what_fp16_does_not_hold_is_told(gpu: Gpu, build: Build, wild_model: Path, tmp_path: Path) -> None:
    gpu("10.3.0")
    out = tmp_path / "wild.engine"

    with pytest.raises(ModelError, match=r"No FP16 file can be made .* holds 1e\+06, and FP16 ends at 65504"):
        build(wild_model, out, precision="fp16")
    assert not out.exists()
    assert "There is no FP16 in the engine" in build(wild_model, out, precision="best")[-1]
    assert read_spec(out).precision == "FP32"


def test_labels_of_an_fp16_engine_are_those_of_the_model(
    gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path
) -> None:
    """As ONNX Runtime computes both: the file that the engine is built of keeps the contract."""
    from edge_seg.runners import open_runner

    gpu("10.3.0")
    out = tmp_path / "tiny.engine"
    build(tiny_model, out, precision="fp16")
    images = np.random.default_rng(0).integers(0, 256, (2, 72, 96, 3), np.uint8)
    with open_runner(tiny_model, "onnxruntime") as runner, open_runner(out) as engine:
        assert (engine.infer(images) == runner.infer(images)).mean() > 0.99
