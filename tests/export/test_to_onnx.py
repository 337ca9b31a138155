"""The exported graph: PyTorch's labels, a plain graph, nothing half written."""

from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from edge_seg.checkpoint import read_checkpoint, write_checkpoint
from edge_seg.errors import ModelError, SinkError
from edge_seg.export.to_onnx import IR_VERSION, OPSET, to_onnx
from edge_seg.models import build_model, list_models
from edge_seg.runners import open_runner
from edge_seg.runners.contract import add_score, read_onnx_spec
from edge_seg.spec import CAMVID_CLASSES, ModelSpec


@pytest.mark.parametrize("arch", list_models())
@pytest.mark.parametrize(("width", "height"), [(96, 72), (72, 50)])
def test_every_architecture_exports_with_equal_labels(arch: str, width: int, height: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = ModelSpec(arch, CAMVID_CLASSES, width, height, "nothing")
    write_checkpoint(tmp_path / "net.pt", arch, spec, build_model(arch, 11).eval())

    assert to_onnx(tmp_path / "net.pt", tmp_path / "net.onnx") == spec

    images = np.random.default_rng(1).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    with open_runner(tmp_path / "net.pt") as ours, open_runner(tmp_path / "net.onnx", "onnxruntime") as exported:
        assert (ours.infer(images) == exported.infer(images)).mean() > 0.999


def test_the_graph_is_plain(tiny_model: Path) -> None:
    model = onnx.load(tiny_model)
    operators = {node.op_type for node in model.graph.node}

    assert operators == {"Transpose", "Cast", "Sub", "Div", "Constant", "Conv", "Relu", "Add", "Resize", "ArgMax"}
    assert (model.opset_import[0].version, model.ir_version) == (OPSET, IR_VERSION)
    onnx.checker.check_model(model, full_check=True)


def test_a_checkpoint_keeps_arch_spec_and_weights(tiny_checkpoint: Path) -> None:
    arch, spec, net = read_checkpoint(tiny_checkpoint)

    assert (arch, spec.name, net.training) == ("edge-seg-n", "tiny", False)
    stored = torch.load(tiny_checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(stored[name], tensor) for name, tensor in net.state_dict().items())


def test_a_checkpoint_with_other_weights_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    found = torch.load(tiny_checkpoint, weights_only=True)
    found["state_dict"].pop("head.weight")
    torch.save(found, tmp_path / "other.pt")

    with pytest.raises(ModelError, match=r"(?s)other\.pt is no checkpoint .*head\.weight"):
        to_onnx(tmp_path / "other.pt", tmp_path / "other.onnx")


def test_a_pickle_with_code_is_refused(tmp_path: Path) -> None:
    torch.save({"arch": Path("x")}, tmp_path / "code.pt")

    with pytest.raises(ModelError, match=r"code\.pt is no checkpoint"):
        read_checkpoint(tmp_path / "code.pt")


def test_a_graph_that_disagrees_is_not_written(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_seg.runners.ort_runner import OrtRunner

    monkeypatch.setattr(OrtRunner, "infer", lambda self, images: np.full(images.shape[:3], 10, np.uint8))

    with pytest.raises(ModelError, match=r"agrees with PyTorch on .* nothing written"):
        to_onnx(tiny_checkpoint, tmp_path / "bad.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_told(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"cannot be written: No such file or directory"):
        to_onnx(tiny_checkpoint, tmp_path / "no" / "folder.onnx")


def test_a_score_goes_into_the_spec_and_leaves_the_graph(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "scored.onnx"
    path.write_bytes(tiny_model.read_bytes())

    add_score(path, "drive seed 1 mIoU", 0.25)

    assert read_onnx_spec(path).scores == {"CamVid test mIoU": 0.05, "drive seed 1 mIoU": 0.25}
    assert onnx.load(path).graph == onnx.load(tiny_model).graph


def test_another_size_has_no_scores_yet(tiny_checkpoint: Path, tmp_path: Path) -> None:
    spec = to_onnx(tiny_checkpoint, tmp_path / "wide.onnx", size=(128, 64))

    assert (spec.width, spec.height, spec.scores) == (128, 64, {})
    assert read_onnx_spec(tmp_path / "wide.onnx") == spec
    with open_runner(tmp_path / "wide.onnx", "onnxruntime") as runner:
        assert runner.infer(np.zeros((1, 64, 128, 3), np.uint8)).shape == (1, 64, 128)
