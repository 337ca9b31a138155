"""Implicit INT8 on a fake GPU: by a cache, by pictures, and what does not fit."""

import signal
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from filelock import FileLock
from typer.testing import CliRunner

from edge_seg.apps.cli import app
from edge_seg.apps.engine_calibration import by_pictures
from edge_seg.calib.manifest import manifest_images
from edge_seg.errors import DataError, EdgeSegError, ModelError
from edge_seg.export.build_engine import build_engine
from edge_seg.export.tensorrt_ready import ready_for
from edge_seg.export.to_engine import BuildOptions, float_twin
from edge_seg.runners import open_runner, read_spec

Gpu = Callable[..., tuple[Any, Any]]


def calibrated(model: Path, out: Path, *options: str) -> Any:  # noqa: ANN401
    """The result of a build with --calib implicit."""
    return CliRunner().invoke(app, ["build", str(model), "--calib", "implicit", "--out", str(out), *options])


def test_implicit_int8_takes_the_cache(gpu: Gpu, fake: ModuleType, tiny_model: Path, tmp_path: Path) -> None:
    gpu()
    cache, out = tmp_path / "tiny.cache", tmp_path / "tiny.engine"
    cache.write_text("TRT-100300-EntropyCalibration2\nimage: 3c010204\n")
    done = calibrated(tiny_model, out, "--cache", str(cache))
    made, config = fake.Builder._last

    assert done.exit_code == 0, done.output
    assert (made.flags, config._flags) == (1, ["INT8", "FP16"])  # weakly typed: implicit INT8 is for nothing else
    assert config.int8_calibrator.read_calibration_cache() == cache.read_bytes()
    assert config.int8_calibrator.get_batch(["image"]) is None
    assert read_spec(out).precision == "INT8+FP16"


@pytest.mark.parametrize(
    ("version", "text", "message"),
    [
        ("11.4.0", "TRT-110400-EntropyCalibration2\nimage: 3c010204", "no calibrators any more"),
        (
            "10.16.0",
            "TRT-100300-EntropyCalibration2\nimage: 3c010204",
            "is for TensorRT 100300, and here is 101600",
        ),
        ("10.3.0", "TRT-100300-EntropyCalibration2\nother: 3c010204", "is of another graph"),
        ("10.3.0", "TRT-100300-LegacyCalibration\nimage: 3c010204", "Write one of entropy2 or min-max"),
    ],
)
def test_a_cache_that_does_not_fit_is_told(
    version: str, text: str, message: str, gpu: Gpu, tiny_model: Path, tmp_path: Path
) -> None:
    gpu(version)
    (tmp_path / "tiny.cache").write_text(f"{text}\n")
    done = calibrated(tiny_model, tmp_path / "tiny.engine", "--cache", str(tmp_path / "tiny.cache"))

    assert isinstance(done.exception, EdgeSegError) and message in str(done.exception)
    assert not (tmp_path / "tiny.engine").exists()


def test_a_quantized_file_is_not_calibrated(gpu: Gpu, qdq_model: Path, tmp_path: Path) -> None:
    gpu()
    (tmp_path / "tiny.cache").write_text("TRT-100300-EntropyCalibration2\nimage: 3c010204\n")
    done = calibrated(qdq_model, tmp_path / "tiny.engine", "--cache", str(tmp_path / "tiny.cache"))

    assert "has Q/DQ nodes already" in str(done.exception)


def test_a_precision_without_int8_is_not_calibrated(gpu: Gpu, tiny_model: Path, tmp_path: Path) -> None:
    gpu("8.6.1")
    (tmp_path / "tiny.cache").write_text("TRT-8601-EntropyCalibration2\nimage: 3c010204\n")
    options = ["--cache", str(tmp_path / "tiny.cache"), "--precision", "fp16"]
    done = calibrated(tiny_model, tmp_path / "tiny.engine", *options)

    assert "--precision fp16 has no INT8 to calibrate" in str(done.exception)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Nine pictures."""
    path = tmp_path / "calib.json"
    words = ["calib", "images", "--data", "drive:seed=3,frames=40,size=96x72", "--images", "9", "--out", str(path)]
    assert CliRunner().invoke(app, words).exit_code == 0
    return path


@pytest.mark.parametrize(
    ("version", "kind", "message"),
    [("11.4.0", "tiny_model", "no calibrators any more"), ("10.3.0", "qdq_model", "has Q/DQ nodes already")],
)
def test_pictures_that_nothing_is_calibrated_by_are_told(
    version: str, kind: str, message: str, gpu: Gpu, manifest: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    gpu(version)
    done = calibrated(request.getfixturevalue(kind), tmp_path / "tiny.engine", "--manifest", str(manifest))

    assert isinstance(done.exception, EdgeSegError) and message in str(done.exception)
    assert not list(tmp_path.glob("tiny*"))


def test_implicit_int8_by_pictures_keeps_its_cache(
    gpu: Gpu, fake: ModuleType, tiny_model: Path, manifest: Path, tmp_path: Path
) -> None:
    gpu()
    out, options = tmp_path / "tiny.engine", ["--manifest", str(manifest), "--calib-batch", "4"]
    done = calibrated(tiny_model, out, *options)
    config, shown = fake.Builder._last[1], fake.Builder._shown

    assert done.exit_code == 0, done.output
    assert "1 of 9 pictures are left out" in done.stderr
    assert [len(batch) for batch in shown] == [4 * 72 * 96 * 3] * 2 and not np.array_equal(*shown)
    assert config._calibration.shapes == {"image": ((4, 72, 96, 3),) * 3}
    assert config._profile.shapes == {"image": ((1, 72, 96, 3),) * 3}

    for change, stale in ((), False), (("--calibrator", "min-max"), True):
        out.unlink()
        told = calibrated(tiny_model, out, *options, *change).stderr
        known = fake.Builder._last[1].int8_calibrator.read_calibration_cache()
        assert ("calibrating anew" in told) is stale
        assert known == (None if stale else b"TRT-100300-EntropyCalibration2")
    (tmp_path / "tiny.engine.cache").write_bytes(b"exchanged")
    out.unlink()
    assert "calibrating anew" in calibrated(tiny_model, out, *options, "--calibrator", "min-max").stderr


def test_a_picture_that_cannot_be_read_ends_the_build(
    gpu: Gpu, tiny_model: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT would take the error for the end of the pictures, and calibrate on those before."""
    gpu()

    def broken(*arguments: Any) -> Any:  # noqa: ANN401
        yield from islice(manifest_images(*arguments), 5)
        raise DataError("other pixels than when it was picked")

    monkeypatch.setattr("edge_seg.calib.manifest.manifest_images", broken)
    done = calibrated(tiny_model, tmp_path / "tiny.engine", "--manifest", str(manifest), "--calib-batch", "2")

    assert isinstance(done.exception, EdgeSegError) and "other pixels" in str(done.exception)
    assert not (tmp_path / "tiny.engine").exists() and not (tmp_path / "tiny.engine.cache").exists()


def test_too_few_pictures_are_told(gpu: Gpu, tiny_model: Path, manifest: Path, tmp_path: Path) -> None:
    gpu()
    done = calibrated(tiny_model, tmp_path / "tiny.engine", "--manifest", str(manifest), "--calib-batch", "10")

    assert "has 9 pictures, fewer than the 10 shown at a time" in str(done.exception)


@pytest.mark.parametrize(
    "words",
    [
        "Calibration failure: the input image is UINT8",
        "",
        "Cuda Runtime (out of memory)\nCalibration failure: the input image is UINT8",  # a tactic's, passed over
    ],
    ids=["told", "silent", "told after a tactic without memory"],
)
def test_where_bytes_teach_nothing_a_twin_of_floats_is_calibrated(
    words: str, gpu: Gpu, fake: ModuleType, tiny_model: Path, manifest: Path, tmp_path: Path
) -> None:
    """TensorRT may say so, or build an engine without INT8 and say nothing."""
    trt, cuda = gpu("8.6.1")
    out, options = tmp_path / "tiny.engine", ["--manifest", str(manifest), "--calib-batch", "4"]
    assert calibrated(tiny_model, tmp_path / "bytes.engine", *options).exit_code == 0
    shown = fake.Builder._shown
    trt.Builder._without_bytes = words
    done = calibrated(tiny_model, out, *options)
    network, config = fake.Builder._last

    assert done.exit_code == 0, done.output
    assert "showing them as floats to a twin of the model" in done.stderr
    assert [batch.dtype for batch in fake.Builder._shown] == [np.float32] * 2
    assert all(np.array_equal(found, expected) for found, expected in zip(fake.Builder._shown, shown, strict=True))
    assert onnx.load_model_from_string(network.content).graph.input[0].type.tensor_type.elem_type == 2  # bytes again
    assert config.int8_calibrator.read_calibration_cache() == (tmp_path / "tiny.engine.cache").read_bytes()
    assert cuda.depth == 0
    with open_runner(out) as runner:
        assert runner.infer(np.zeros((1, 72, 96, 3), np.uint8)).shape == (1, 72, 96)


def test_the_twin_has_the_names_of_the_model(tiny_model: Path) -> None:
    model = ready_for(onnx.load(tiny_model), "8.6.1", name="tiny", folder=tiny_model.parent)
    twin = float_twin(model)
    images = np.random.default_rng(0).integers(0, 256, (1, 72, 96, 3), np.uint8)
    sessions = [
        ort.InferenceSession(one.SerializeToString(), providers=["CPUExecutionProvider"]) for one in (model, twin)
    ]
    labels, as_floats = (
        session.run(["labels"], {"image": images.astype(kind)})[0]
        for session, kind in zip(sessions, (np.uint8, np.float32), strict=True)
    )

    assert [list(node.output) for node in twin.graph.node] == [list(node.output) for node in model.graph.node]
    assert np.array_equal(labels, as_floats)


def test_a_build_that_fails_after_calibration_is_not_tried_again(
    gpu: Gpu, fake: ModuleType, tiny_model: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt, _ = gpu("8.6.1")
    as_it_is = trt.Builder.build_serialized_network

    def failing(self: Any, *arguments: Any) -> None:  # noqa: ANN401
        as_it_is(self, *arguments)
        self.logger.log("ILogger.Severity.ERROR", "no kernel")

    monkeypatch.setattr(trt.Builder, "build_serialized_network", failing)
    done = calibrated(tiny_model, tmp_path / "tiny.engine", "--manifest", str(manifest))

    assert str(done.exception) == "TensorRT could not build the engine:\n  no kernel"
    assert "twin" not in done.stderr


def test_a_build_does_not_tell_the_errors_of_the_one_before(
    gpu: Gpu, tiny_model: Path, manifest: Path, tmp_path: Path
) -> None:
    trt, _ = gpu("8.6.1")
    trt.Builder._without_bytes = "Calibration failure: the input image is UINT8"
    calibration = by_pictures(tiny_model, manifest, tmp_path / "tiny.engine.cache", "entropy", 4)

    def tell(line: str) -> None:
        trt.Builder._fail_with = "no kernel" if "twin" in line else ""

    with pytest.raises(ModelError) as failed:
        build_engine(tiny_model, tmp_path / "tiny.engine", BuildOptions(), calibration=calibration, tell=tell)

    assert str(failed.value) == "TensorRT could not build the engine:\n  no kernel"


def test_other_weights_beside_a_file_are_calibrated_anew(tiny_model: Path, manifest: Path, tmp_path: Path) -> None:
    source, weights = tmp_path / "split.onnx", tmp_path / "split.data"
    onnx.save_model(onnx.load(tiny_model), source, save_as_external_data=True, location=weights.name, size_threshold=0)
    before = by_pictures(source, manifest, tmp_path / "cache", "entropy", 3).key
    assert by_pictures(source, manifest, tmp_path / "cache", "entropy", 3).key == before
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    assert by_pictures(source, manifest, tmp_path / "cache", "entropy", 3).key != before


def test_an_engine_that_nothing_was_shown_for_is_refused(
    gpu: Gpu, tiny_model: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt, _ = gpu("8.6.1")
    monkeypatch.setattr(trt.Builder, "_calibrate", lambda *arguments: True)
    done = calibrated(tiny_model, tmp_path / "tiny.engine", "--manifest", str(manifest))

    assert "has asked for no pictures: it would have no INT8" in str(done.exception)
    assert not (tmp_path / "tiny.engine").exists()


def test_a_gpu_without_int8_is_told_before_pictures_are_shown(
    gpu: Gpu, tiny_model: Path, manifest: Path, tmp_path: Path
) -> None:
    trt, _ = gpu("8.6.1", sm=(6, 2))
    trt.Builder.platform_has_fast_int8 = False
    done = calibrated(tiny_model, tmp_path / "tiny.engine", "--manifest", str(manifest))

    assert "Build the FP32 file with --precision fp16" in str(done.exception)
    assert "twin" not in done.stderr


def test_ctrl_c_while_calibrating_ends_all(
    gpu: Gpu, tiny_model: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was learned then either, but no twin is tried."""
    trt, _ = gpu("10.3.0")
    out, told = tmp_path / "tiny.engine", list[str]()
    monkeypatch.setattr(trt.Builder, "build_serialized_network", lambda *_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        calibration = by_pictures(tiny_model, manifest, tmp_path / "tiny.engine.cache", "entropy", 4)
        build_engine(tiny_model, out, BuildOptions(), calibration=calibration, tell=told.append)

    assert told == [f"Building {out}: there is none yet."]
    assert {path.name for path in tmp_path.iterdir()} <= {"calib.json", "tiny.engine.log", ".tiny.engine.lock"}
    assert FileLock(tmp_path / ".tiny.engine.lock").acquire(timeout=0)
