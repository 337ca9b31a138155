"""Fine-tuning with fake quantization: what it writes, what it resumes to, what it refuses."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from edge_seg.calib.fine_tune import check_runs_alike, files_of, make_tuning
from edge_seg.calib.qat import GraphNet
from edge_seg.calib.quantize import method_for, open_fp32, to_int8
from edge_seg.calib.ranges import Ranges, hash_of, observe, read_ranges
from edge_seg.calib.torch_ops import OPERATORS
from edge_seg.data.drive import Drive
from edge_seg.errors import DataError, ModelError, SinkError
from edge_seg.export.target import TARGETS
from edge_seg.models.deploy import normalise
from edge_seg.runners import open_runner
from edge_seg.runners.contract import read_onnx_spec
from edge_seg.train import train, train_and_evaluate
from edge_seg.training.distillation import LogitsDistiller
from edge_seg.training.options import TrainOptions
from edge_seg.training.task import SegmentationTask

ShortRun = Callable[..., TrainOptions]

IMAGES = np.stack([frame.image for frame in Drive(5, 96, 72, 4)])
X = normalise(torch.from_numpy(IMAGES).permute(0, 3, 1, 2))


@pytest.fixture(scope="module")
def ranges(tiny_model: Path) -> Ranges:
    """What the tiny net's tensors hold on drive frames."""
    frames = Drive(1, 96, 72, 12)
    return observe(open_fp32(tiny_model), (frame.image[None] for frame in frames), pictures="drive")


def tune(tiny_model: Path, ranges: Ranges, options: TrainOptions, target: str) -> None:
    """Train, without evaluation."""
    train(options, make_tuning(tiny_model, ranges, TARGETS[target], "min-max", options=options))


def tune_and_evaluate(tiny_model: Path, ranges: Ranges, options: TrainOptions, target: str, method: str) -> None:
    """Train as the command does."""
    tuning = make_tuning(tiny_model, ranges, TARGETS[target], method, options=options)
    train_and_evaluate(options, "drive:seed=3,frames=3,size=96x72", tuning)


@pytest.mark.parametrize(("target", "method"), [("onnxruntime-x86", "min-max"), ("tensorrt", "mse")])
def test_a_training_writes_three_files_that_go_together(
    tiny_model: Path, ranges: Ranges, short_run: ShortRun, tmp_path: Path, target: str, method: str
) -> None:
    options = short_run(tmp_path, out=tmp_path / "net.onnx", arch="tiny", epochs=1, batch=8, lr=1e-3)
    tune_and_evaluate(tiny_model, ranges, options, target, method)

    files = files_of(options.out)
    before, after = open_fp32(tiny_model), open_fp32(files.fp32)
    spec, int8 = read_onnx_spec(files.fp32), read_onnx_spec(files.int8)
    assert (spec.name, spec.precision, int8.precision) == ("tiny", "FP32", "INT8")
    assert spec.dataset == "drive frames and nothing"
    assert (spec.scores, list(int8.scores)) == ({}, ["drive seed 3 mIoU"])
    assert [node.name for node in before.graph.node] == [node.name for node in after.graph.node]
    assert hash_of(before) != hash_of(after)
    kept = read_ranges(files.ranges, after)
    assert all(
        set(found) == {method, *(["mse-symmetric"] if method == "mse" else [])} for found in kept.tensors.values()
    )
    assert all(kept.tensors[name][method] == found[method] for name, found in ranges.tensors.items())
    chosen = kept.chosen(method_for(TARGETS[target], method))
    assert to_int8(after, chosen, TARGETS[target]).graph == onnx.load(files.int8).graph
    with open_runner(files.int8, "onnxruntime") as runner:
        assert runner.infer(IMAGES).shape == (4, 72, 96)


def test_of_the_three_files_none_is_replaced_where_one_cannot_be(
    tiny_model: Path, ranges: Ranges, short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = short_run(tmp_path, out=tmp_path / "net.onnx", arch="tiny", epochs=1, batch=8, lr=1e-3)
    files = files_of(options.out)
    for path in files:
        path.write_text("old")
    write = Path.write_bytes

    def on_a_full_disk(path: Path, content: bytes) -> int:
        if ".int8." in path.name:
            raise OSError(28, "No space left on device")
        return write(path, content)

    tuning = make_tuning(tiny_model, ranges, TARGETS["onnxruntime-x86"], "min-max", options=options)
    monkeypatch.setattr(Path, "write_bytes", on_a_full_disk)
    with pytest.raises(SinkError, match="cannot be written: No space left"):
        tuning.write(read_onnx_spec(tiny_model))
    assert [path.read_text() for path in files] == ["old"] * 3


def test_a_run_resumes_to_the_same_files(
    tiny_model: Path, ranges: Ranges, short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = short_run(tmp_path / "whole", out=tmp_path / "whole" / "net.onnx", batch=8, lr=1e-3)
    tune(tiny_model, ranges, whole, "onnxruntime-x86")
    halves = dataclasses.replace(whole, out=tmp_path / "halves" / "net.onnx", run_dir=tmp_path / "halves")
    as_it_is = SegmentationTask.training_step

    def stopping(self: SegmentationTask, *arguments: Any) -> torch.Tensor:  # noqa: ANN401
        if self.global_step == 3:
            raise RuntimeError("a picture that cannot be read")
        return as_it_is(self, *arguments)

    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="cannot be read"):
        patched.setattr(SegmentationTask, "training_step", stopping)
        tune(tiny_model, ranges, halves, "onnxruntime-x86")
    assert not halves.out.exists()
    resumed = dataclasses.replace(halves, resume=True)
    with pytest.raises(DataError, match=r"last.ckpt was made with qat onnxruntime-x86, not tensorrt"):
        tune(tiny_model, ranges, resumed, "tensorrt")
    tune(tiny_model, ranges, resumed, "onnxruntime-x86")

    for first, second in zip(files_of(whole.out), files_of(halves.out), strict=True):
        assert first.read_bytes() == second.read_bytes()


def test_the_teacher_is_the_net_itself_or_another(
    tiny_model: Path, tiny_checkpoint: Path, ranges: Ranges, short_run: ShortRun, tmp_path: Path
) -> None:
    options = short_run(tmp_path, out=tmp_path / "net.onnx")
    for teacher in (None, tiny_checkpoint):
        given = dataclasses.replace(options, teacher=teacher)
        distiller = make_tuning(tiny_model, ranges, TARGETS["tensorrt"], "min-max", options=given).distiller
        assert isinstance(distiller, LogitsDistiller)
        with torch.no_grad():
            expected = GraphNet(open_fp32(tiny_model))(X)
            assert torch.allclose(distiller.teach(X), expected, atol=1e-5)


def test_what_cannot_be_trained_is_refused(
    tiny_model: Path, tiny_int8_model: Path, ranges: Ranges, short_run: ShortRun, tmp_path: Path
) -> None:
    options = short_run(tmp_path, out=tmp_path / "net.onnx")

    def refused(path: Path, message: str, found: Ranges = ranges) -> None:
        with pytest.raises((ModelError, DataError), match=message):
            make_tuning(path, found, TARGETS["onnxruntime-x86"], "min-max", options=options)

    refused(tiny_int8_model, "quantized already. Give the FP32 file")
    refused(tiny_model, "has no min-max range", Ranges("", "", 1, {"x": {"mse": (0.0, 1.0)}}))
    model = onnx.load(tiny_model)
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Celu"
    onnx.save_model(model, tmp_path / "other.onnx")
    refused(tmp_path / "other.onnx", "is a Celu, which has no gradient here")
    assert list(tmp_path.iterdir()) == [tmp_path / "other.onnx"]


def test_a_graph_that_pytorch_runs_otherwise_is_refused(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPERATORS, "Relu", lambda x, _: -x[0])

    with pytest.raises(ModelError, match=r"tiny.onnx: PyTorch agrees with ONNX Runtime on .* of the pixels"):
        check_runs_alike(tiny_model, open_fp32(tiny_model))


def test_a_training_that_would_end_without_int8_is_refused(
    tiny_model: Path, ranges: Ranges, short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_seg.export.tensorrt_floats.FEWEST_CHANNELS", 10**6)

    with pytest.raises(ModelError, match="Nothing in the file would be INT8: the model has no layer that tensorrt "):
        make_tuning(tiny_model, ranges, TARGETS["tensorrt"], "min-max", options=short_run(tmp_path))
