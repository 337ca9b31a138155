"""One contract for every run-time."""

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_seg.data.drive import Drive
from edge_seg.errors import MissingExtraError, ModelError
from edge_seg.runners import RUNTIMES, open_runner, read_spec
from edge_seg.runners.contract import read_onnx_spec, write_spec
from edge_seg.runners.ort_runner import tell_of_both
from edge_seg.spec import METADATA_KEY

IMAGES = np.stack([frame.image for frame in Drive(1, 96, 72, 3)])


NO_INT8 = ("torch", "openvino-bf16")
ON_CPU = [name for name, known in RUNTIMES.items() if not known.on_gpu]
ARTEFACTS = [(name, kind) for name in ON_CPU for kind in ("fp32", "int8") if kind == "fp32" or name not in NO_INT8]


@pytest.fixture(params=ARTEFACTS, ids=str)
def artefact(request: pytest.FixtureRequest, tiny_checkpoint: Path) -> tuple[str, Path]:
    """Each run-time with each file that it takes."""
    runtime, kind = request.param
    if RUNTIMES[runtime].suffix == ".pt":
        return runtime, tiny_checkpoint
    return runtime, request.getfixturevalue("tiny_model" if kind == "fp32" else "tiny_int8_model")


def test_labels_keep_the_contract(artefact: tuple[str, Path]) -> None:
    runtime, path = artefact
    with open_runner(path, runtime) as runner:
        labels = runner.infer(IMAGES)

        assert (labels.dtype, labels.shape) == (np.uint8, (3, 72, 96))
        assert labels.max() < len(runner.spec.classes)
        assert runner.runtime == runtime
        assert runner.spec.name == "tiny"


def test_a_batch_is_its_images_and_what_was_returned_stays(artefact: tuple[str, Path]) -> None:
    runtime, path = artefact
    with open_runner(path, runtime) as runner:
        single = [runner.infer(IMAGES[i : i + 1]) for i in range(3)]
        kept = [labels.copy() for labels in single]
        batch = runner.infer(IMAGES)

    assert all(np.array_equal(a, b) for a, b in zip(single, kept, strict=True))
    assert (np.concatenate(single) == batch).mean() > 0.999


def test_views_of_any_stride_are_taken(artefact: tuple[str, Path]) -> None:
    runtime, path = artefact
    mirrored = IMAGES[:, :, ::-1]
    with open_runner(path, runtime) as runner:
        assert np.array_equal(runner.infer(mirrored), runner.infer(mirrored.copy()))


def test_a_closed_runner_does_not_open_again_in_secret(artefact: tuple[str, Path]) -> None:
    runtime, path = artefact
    with open_runner(path, runtime) as runner:
        runner.infer(IMAGES)
    with pytest.raises(AttributeError):
        runner.infer(IMAGES)


def test_run_times_agree(artefact: tuple[str, Path]) -> None:
    runtime, path = artefact
    with open_runner(path, runtime) as runner:
        labels = runner.infer(IMAGES)
    reference_path = path if path.suffix == ".onnx" else path.with_suffix(".onnx")
    with open_runner(reference_path, "onnxruntime") as reference:
        expected = reference.infer(IMAGES)

    agreement = float((labels == expected).mean())
    assert agreement > (0.9 if "bf16" in runtime else 0.99)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 72, 96, 3), np.float32),
        np.zeros((72, 96, 3), np.uint8),
        np.zeros((1, 96, 72, 3), np.uint8),
        IMAGES[:0],
    ],
    ids=["float", "no batch", "turned", "empty"],
)
def test_other_arrays_are_refused(artefact: tuple[str, Path], images: np.ndarray) -> None:
    runtime, path = artefact
    with (
        open_runner(path, runtime) as runner,
        pytest.raises(ModelError, match=r"takes uint8 \[N, 72, 96, 3\], but was"),
    ):
        runner.infer(images)


def test_bf16_refuses_labels_that_it_would_lose(tiny_int8_model: Path) -> None:
    with pytest.raises(ModelError, match=r"whole numbers that need float32.* Type --runtime openvino"):
        open_runner(tiny_int8_model, "openvino-bf16")


def test_one_thread_gives_the_same_labels(tiny_int8_model: Path) -> None:
    with open_runner(tiny_int8_model, threads=1) as one, open_runner(tiny_int8_model) as all_threads:
        assert np.array_equal(one.infer(IMAGES), all_threads.infer(IMAGES))


def test_auto_takes_what_fits_the_file(tiny_checkpoint: Path, tiny_model: Path) -> None:
    with open_runner(tiny_checkpoint) as torch_runner, open_runner(tiny_model) as onnx_runner:
        assert torch_runner.runtime == "torch"
        assert onnx_runner.runtime in ("openvino", "onnxruntime")


@pytest.mark.parametrize(
    ("model", "runtime", "message"),
    [
        ("nowhere.onnx", "auto", "No model 'nowhere.onnx': neither a file nor a bundled name .*edge-seg-s"),
        ("tiny", "tensorflow", "Unknown run-time 'tensorflow'. Choose auto, torch, "),
        ("tiny", "torch", r"takes \.pt files; tiny\.onnx is none. Try --runtime auto"),
    ],
)
def test_a_wrong_choice_is_told(model: str, runtime: str, message: str, tiny_model: Path) -> None:
    with pytest.raises(ModelError, match=message):
        open_runner(tiny_model if model == "tiny" else model, runtime)


def test_a_suffix_without_run_time_is_told(tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(b"TFL3")

    with pytest.raises(ModelError, match=r"No run-time takes net\.tflite: expected \.onnx, \.engine or \.pt"):
        open_runner(tmp_path / "net.tflite")


def test_a_run_time_not_installed_names_the_pip_line(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(MissingExtraError, match=r"onnxruntime is not installed. Type: pip install 'onnxruntime'"):
        open_runner(tiny_model, "onnxruntime")


def test_a_provider_that_is_not_there_names_the_pip_line(tiny_model: Path) -> None:
    for name in ("onnxruntime-cuda", "onnxruntime-tensorrt"):
        with pytest.raises(MissingExtraError, match=r"has no \w+ExecutionProvider. Type: pip uninstall -y onnxruntime"):
            open_runner(tiny_model, name)


def test_two_onnxruntimes_are_one_too_many(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_seg.runners.ort_runner.distribution", lambda name: name)

    with pytest.raises(
        MissingExtraError, match=r"Both onnxruntime and .* Type: pip uninstall -y onnxruntime onnxruntime-gpu &&"
    ):
        open_runner(tiny_model, "onnxruntime-cuda")


def test_two_onnxruntimes_are_told_once_where_either_may_do(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tell_of_both.cache_clear()
    monkeypatch.setattr("edge_seg.runners.ort_runner.distribution", lambda name: name)
    for _ in range(2):
        with open_runner(tiny_model, "onnxruntime"):
            pass
    tell_of_both.cache_clear()

    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert "Both onnxruntime and onnxruntime-gpu are installed" in told[0]
    assert told[0].endswith("Type: pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime")


def test_a_provider_that_does_not_start_is_told(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime goes on with the CPU, and says so in its log alone."""
    monkeypatch.setattr("edge_seg.runners.ort_runner.check_provider", lambda provider: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ModelError, match="could not start CUDAExecutionProvider"):
            open_runner(tiny_model, "onnxruntime-cuda")


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x08\x01"], ids=["empty", "text", "no graph"])
def test_a_file_that_is_no_onnx_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)

    with pytest.raises(ModelError, match=r"broken\.onnx is no ONNX model .* edge-seg export"):
        open_runner(path)


def test_a_truncated_file_is_told(tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "half.onnx"
    path.write_bytes(tiny_model.read_bytes()[: tiny_model.stat().st_size // 2])

    with pytest.raises(ModelError, match=r"half\.onnx is no ONNX model"):
        open_runner(path)


def test_a_damaged_checkpoint_is_told(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = tmp_path / "broken.pt"
    path.write_bytes(b"PK\x03\x04 nothing")

    with pytest.raises(ModelError, match=r"broken\.pt is no checkpoint of edge-seg train"):
        open_runner(path)


def _without_spec(model: onnx.ModelProto) -> None:
    del model.metadata_props[:]


def _old_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 12


def _float_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def _other_size(model: onnx.ModelProto) -> None:
    spec = next(entry for entry in model.metadata_props if entry.key == METADATA_KEY)
    spec.value = spec.value.replace('"width": 96', '"width": 480')


def _other_name(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = model.graph.node[0].input[0] = "picture"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_other_name, r"another contract.\n  found:    picture: uint8"),
        (
            _without_spec,
            r"carries no edge-seg spec; its graph is image: uint8 \[N, 72, 96, 3\] -> labels: uint8 \[N, 72, 96\]"
            r"\. Make one that does: edge-seg export CHECKPOINT.pt, or of another tool's net: edge-seg adopt NET.onnx",
        ),
        (_old_opset, "has opset 12; expected 13 to 23"),
        (_float_input, r"another contract.\n  found:    image: float \[N, 72, 96, 3\]"),
        (_other_size, r"another contract.\n.*\n  expected: image: uint8 \[N, 72, 480, 3\]"),
    ],
)
def test_another_contract_is_told(
    change: Callable[[onnx.ModelProto], None], message: str, tiny_model: Path, tmp_path: Path
) -> None:
    model = onnx.load(tiny_model)
    change(model)
    onnx.save(model, tmp_path / "other.onnx")

    with pytest.raises(ModelError, match=message):
        open_runner(tmp_path / "other.onnx")


def _unknown_operator(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "NoSuchOperator"


def _lost_weights(model: onnx.ModelProto) -> None:
    del model.graph.initializer[-1]


def _wrong_attribute(model: onnx.ModelProto) -> None:
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    next(attribute for attribute in conv.attribute if attribute.name == "strides").ints[:] = [1, 1, 1]


@pytest.mark.parametrize("damage", [_unknown_operator, _lost_weights, _wrong_attribute])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_what_a_run_time_cannot_load_is_told(
    runtime: str, damage: Callable[[onnx.ModelProto], None], tiny_model: Path, tmp_path: Path
) -> None:
    model = onnx.load(tiny_model)
    damage(model)
    onnx.save(model, tmp_path / "odd.onnx")

    with pytest.raises(ModelError, match=r"cannot load odd\.onnx"):
        open_runner(tmp_path / "odd.onnx", runtime)


def test_the_spec_is_read_from_the_file_alone(tiny_model: Path, tmp_path: Path) -> None:
    copy = shutil.copy(tiny_model, tmp_path / "copy.onnx")
    model = onnx.load(copy)
    spec = read_onnx_spec(Path(copy))
    write_spec(model, spec)

    assert (spec.width, spec.height, spec.precision) == (96, 72, "FP32")
    assert [entry.key for entry in model.metadata_props].count(METADATA_KEY) == 1


def test_the_spec_is_read_without_a_run_time(artefact: tuple[str, Path]) -> None:
    _, path = artefact
    with open_runner(path) as runner:
        assert read_spec(path) == runner.spec
