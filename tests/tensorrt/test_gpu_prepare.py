"""What the GPU bench is prepared of: for every TensorRT, and for nets of another size than the data's."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from edge_seg.apps.cli import app
from edge_seg.data import open_dataset
from edge_seg.segmenter import open_segmenter


@pytest.fixture
def prepare(
    tiny_model: Path, write_camvid: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Path]:
    """A function that prepares one foreign net of 96x72 on images of 8x6, and gives the folder of its files."""
    module: ModuleType = importlib.import_module("prepare")
    write_camvid(tmp_path / "data", "train", names="abcdefghij")
    write_camvid(tmp_path / "data", "test", names="klm")
    net = tmp_path / "foreign" / "smp-unet" / "net.edge.onnx"
    net.parent.mkdir(parents=True)
    net.write_bytes(tiny_model.read_bytes())

    def edge_seg(*words: object) -> None:
        done = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
        assert done.exit_code == 0, (words, done.output)

    for name, value in {"OURS": (), "FOREIGN": ("smp-unet",), "edge_seg": edge_seg}.items():
        monkeypatch.setattr(module, name, value)

    def run(tensorrt: str) -> Path:
        folders = ["--out", str(tmp_path / "out"), "--foreign", str(tmp_path / "foreign")]
        words = ["--data", f"camvid:{tmp_path / 'data'}", *folders, "--tensorrt", tensorrt]
        monkeypatch.setattr(sys, "argv", ["prepare.py", *words])
        module.main()
        return tmp_path / "out"

    return run


def test_every_tensorrt_has_its_files(prepare: Callable[[str], Path], tmp_path: Path) -> None:
    """8.5 wants more mended than later ones, for which nothing is; 10.7 is in no table; 11 has no calibrators."""
    for version, mended, header in (
        ("8.5.3", True, "TRT-8503-"),
        ("10.3", False, "TRT-100300-"),
        ("10.7.0", False, "TRT-100700-"),
        ("11.4.0", False, None),
    ):
        out = prepare(version)
        raw, qdq = (out / f"smp-unet.{kind}.onnx" for kind in ("raw", "qdq"))
        assert (qdq.read_bytes() != raw.read_bytes()) is mended, version
        cache = out / "smp-unet.cache"
        assert cache.read_text().startswith(header) if header else not cache.exists(), version
        first = next(node for node in onnx.load(out / "smp-unet.fp32.onnx").graph.node if "image" in node.input)
        assert first.op_type == "Cast", "TensorRT takes no bytes elsewhere"
        (out / "smp-unet.fp32.onnx").unlink()

    labels = np.load(qdq.with_suffix(".npz"))["labels"]
    data = open_dataset(f"camvid:{tmp_path / 'data'}/test")
    with open_segmenter(qdq, "onnxruntime") as segment:
        expected = [segment(frame.image).labels for frame in data]
    assert labels.shape == (3, 6, 8)
    assert np.array_equal(labels, expected)
