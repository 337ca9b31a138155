"""Tiny real models and clips, made here: nothing is downloaded."""

import os
from pathlib import Path

import pytest

from edge_seg.spec import CAMVID_CLASSES, ModelSpec

os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")

TINY = ModelSpec("tiny", CAMVID_CLASSES, 96, 72, "nothing", licence="Apache-2.0", scores={"CamVid test mIoU": 0.05})


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of edge-seg-n at 96x72 with weights of chance."""
    import torch

    from edge_seg.checkpoint import write_checkpoint
    from edge_seg.models import build_model

    torch.manual_seed(0)
    net = build_model("edge-seg-n", len(TINY.classes)).eval()
    path = tmp_path_factory.mktemp("models") / "tiny.pt"
    write_checkpoint(path, "edge-seg-n", TINY, net)
    return path


@pytest.fixture(scope="session")
def tiny_model(tiny_checkpoint: Path) -> Path:
    """The same net as a deployable FP32 ONNX file."""
    from edge_seg.export.to_onnx import to_onnx

    path = tiny_checkpoint.with_suffix(".onnx")
    to_onnx(tiny_checkpoint, path)
    return path
