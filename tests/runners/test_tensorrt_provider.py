"""What ONNX Runtime's TensorRT provider is told of a file. It is not run here: it wants a GPU."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from edge_seg.errors import SinkError
from edge_seg.runners import open_runner
from edge_seg.runners.contract import load_onnx
from edge_seg.runners.ort_runner import TENSORRT, load_libraries, tensorrt_settings


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "edge-seg" / "onnxruntime-tensorrt" / ort.__version__


def settings_of(path: Path) -> dict[str, str]:
    return tensorrt_settings(path, load_onnx(path))


def test_engines_and_timings_are_kept_below_our_cache(tiny_model: Path, cache: Path) -> None:
    found = settings_of(tiny_model)

    assert found["trt_engine_cache_enable"] == found["trt_timing_cache_enable"] == "True"
    assert Path(found["trt_engine_cache_path"]).parent == Path(found["trt_timing_cache_path"]) == cache
    assert cache.is_dir()


def test_other_weights_have_other_engines(tiny_model: Path, tmp_path: Path) -> None:
    """The provider itself would take the engine of any file with this one's name and graph."""
    model, other = load_onnx(tiny_model), tmp_path / tiny_model.name
    weights = next(one for one in model.graph.initializer if one.data_type == onnx.TensorProto.FLOAT)
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) + np.float32(1), weights.name))
    other.write_bytes(model.SerializeToString())

    assert settings_of(other)["trt_engine_cache_path"] != settings_of(tiny_model)["trt_engine_cache_path"]
    assert settings_of(tiny_model) == settings_of(tiny_model)


def test_other_weights_beside_a_file_have_other_engines(tiny_model: Path, tmp_path: Path) -> None:
    source, weights = tmp_path / "split.onnx", tmp_path / "split.data"
    onnx.save_model(onnx.load(tiny_model), source, save_as_external_data=True, location=weights.name, size_threshold=0)
    before, content = settings_of(source), weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    assert settings_of(source)["trt_engine_cache_path"] != before["trt_engine_cache_path"]


def test_the_types_of_the_file_may_be_used(tiny_model: Path, tiny_int8_model: Path, tmp_path: Path) -> None:
    model, half = load_onnx(tiny_model), tmp_path / "half.onnx"
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float16), "half"))
    half.write_bytes(model.SerializeToString())
    found = [settings_of(path) for path in (tiny_model, tiny_int8_model, half)]

    assert [each["trt_int8_enable"] for each in found] == ["False", "True", "False"]
    assert [each["trt_fp16_enable"] for each in found] == ["False", "False", "True"]


def test_a_cache_that_cannot_be_made_is_told(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")

    with pytest.raises(SinkError, match=r"cannot be made: .*\. Set XDG_CACHE_HOME"):
        settings_of(tiny_model)


@pytest.mark.parametrize(("runtime", "first"), [("onnxruntime-tensorrt", "Tensorrt"), ("onnxruntime-cuda", "CUDA")])
def test_the_session_is_given_them(runtime: str, first: str, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    class Session:
        def __init__(self, path: Path, options: Any, providers: list[Any]) -> None:  # noqa: ANN401
            given.extend(providers)

        def get_providers(self) -> list[str]:
            return [given[0][0]]

    monkeypatch.setattr("edge_seg.runners.ort_runner.check_provider", lambda provider: None)
    monkeypatch.setattr("edge_seg.runners.ort_runner.load_libraries", lambda provider: None)
    monkeypatch.setattr("onnxruntime.InferenceSession", Session)
    with open_runner(tiny_model, runtime):
        pass

    name, settings = given[0]
    assert name == f"{first}ExecutionProvider"
    assert settings == (settings_of(tiny_model) if first == "Tensorrt" else {})
    assert given[-1] == "CPUExecutionProvider"


@pytest.mark.parametrize("runtime", ["onnxruntime", "onnxruntime-cuda", "onnxruntime-tensorrt"])
def test_libraries_of_packages_are_loaded_before_the_session(
    runtime: str,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Those of pip lie where the system's loader does not look."""
    steps: list[str] = []

    class Session:
        def __init__(self, path: Path, options: Any, providers: list[Any]) -> None:  # noqa: ANN401
            steps.append("session")
            self.get_providers = lambda: [providers[0][0]]

    def preload() -> None:
        print("Failed to load libcudnn.so.9")
        steps.append("preload")

    (tmp_path / "tensorrt.py").write_text("import sys\nsys.stderr.write('TensorRT ')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.setattr("edge_seg.runners.ort_runner.check_provider", lambda provider: None)
    monkeypatch.setattr("onnxruntime.preload_dlls", preload, raising=False)
    monkeypatch.setattr("onnxruntime.InferenceSession", Session)
    with open_runner(tiny_model, runtime):
        pass
    printed = capsys.readouterr()
    sys.modules.pop("tensorrt", None)

    assert steps == (["session"] if runtime == "onnxruntime" else ["preload", "session"])
    assert printed.out == ""  # where a report as JSON may stand
    assert ("TensorRT " in printed.err) is (runtime == "onnxruntime-tensorrt")


def test_libraries_that_are_no_packages_are_left_to_the_provider(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An older onnxruntime, and a TensorRT of which Python knows nothing, or whose own libraries do not load."""
    monkeypatch.delattr("onnxruntime.preload_dlls", raising=False)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    load_libraries(TENSORRT)
    (tmp_path / "tensorrt.py").write_text("raise OSError('libnvinfer.so.10: cannot open shared object file')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt")
    load_libraries(TENSORRT)

    assert sys.modules.get("tensorrt") is None
