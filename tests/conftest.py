"""Tiny real models and clips, made here: nothing is downloaded."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from edge_seg.spec import CAMVID_CLASSES, ModelSpec
from edge_seg.types import UInt8Array

os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")

# A busy machine is no finding: no test asserts a duration.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

TINY = ModelSpec("tiny", CAMVID_CLASSES, 96, 72, "nothing", licence="Apache-2.0", scores={"CamVid test mIoU": 0.05})


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of edge-seg-n at 96x72 with weights of chance."""
    torch = pytest.importorskip("torch")

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


@pytest.fixture(scope="session")
def write_clip() -> Callable[..., Path]:
    """A function that writes a film of pictures; options are the muxer's."""
    import av

    def write(path: Path, images: Sequence[UInt8Array], fps: int = 25, **options: str) -> Path:
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream("libx264", rate=fps, options={"crf": "1", "preset": "ultrafast"})
            stream.height, stream.width = images[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            for image in images:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
            container.mux(stream.encode(None))
        return path

    return write


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory, write_clip: Callable[..., Path]) -> Path:
    """A film of 12 grey pictures, 96x72 at 25 frames a second, picture n of brightness 20 n."""
    images = [np.full((72, 96, 3), 20 * number, np.uint8) for number in range(12)]
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", images, movflags="faststart")


@pytest.fixture(scope="session")
def tiny_int8_model(tiny_model: Path) -> Path:
    """The INT8 file of `tiny_model`, with ranges from drive frames."""
    from edge_seg.calib.quantize import quantize
    from edge_seg.data.drive import Drive

    path = tiny_model.with_suffix(".int8.onnx")
    quantize(tiny_model, path, Drive(1, TINY.width, TINY.height, 12), images=12)
    return path


@pytest.fixture(scope="session")
def write_camvid() -> Callable[..., None]:
    """A function that writes a split in CamVid's layout: images of 8x6 with the labels 0 to 11 in rows."""
    import cv2

    def write(root: Path, split: str, suffix: str = ".png", names: Sequence[str] = ("a", "b")) -> None:
        rng = np.random.default_rng(0)
        for folder in (split, f"{split}annot"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            cv2.imwrite(str(root / split / f"{name}{suffix}"), rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
            cv2.imwrite(str(root / f"{split}annot" / f"{name}.png"), np.arange(48, dtype=np.uint8).reshape(6, 8) % 12)

    return write
