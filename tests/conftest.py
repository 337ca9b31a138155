"""Tiny real models and clips, made here: nothing is downloaded."""

import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from edge_seg.runners.cpu import lacks_vnni
from edge_seg.spec import CAMVID_CLASSES, ModelSpec
from edge_seg.types import UInt8Array

os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")

# A busy machine is no finding: no test asserts a duration.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

RECIPE_FIELDS = {
    "schedule": ("epochs", "batch", "lr", "weight_decay", "ema", "optimizer", "decay"),
    "samples": ("drive_share", "rare", "elastic", "mix"),
    "loss": ("aux",),
}
"""What `short_run` takes of a recipe."""

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
def tiny_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same net as a deployable FP32 ONNX file; without PyTorch, two convolutions that keep the contract."""
    if importlib.util.find_spec("torch") is None:
        return write_three_convolutions(tmp_path_factory.mktemp("models") / "tiny.onnx")
    from edge_seg.export.to_onnx import to_onnx

    checkpoint: Path = request.getfixturevalue("tiny_checkpoint")
    path = checkpoint.with_suffix(".onnx")
    to_onnx(checkpoint, path)
    return path


def write_three_convolutions(path: Path) -> Path:
    """A graph like those of `edge-seg export`, with weights of chance; TensorRT's file of it has one layer in INT8."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from edge_seg.runners.contract import write_spec

    size = TINY.height, TINY.width
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output], output, **options) for kind, inputs, output, options in _steps()],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", *size, 3])],
        [helper.make_tensor_value_info("labels", TensorProto.UINT8, ["N", *size])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in _constants().items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    write_spec(model, TINY)
    onnx.save_model(model, path)
    return path


def _steps() -> list[tuple[str, list[str], str, dict[str, Any]]]:
    """Operator, inputs, output and attributes of each node."""
    from onnx import TensorProto

    bilinear = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return [
        ("Transpose", ["image"], "planes", {"perm": [0, 3, 1, 2]}),
        ("Cast", ["planes"], "floats", {"to": TensorProto.FLOAT}),
        ("Sub", ["floats", "middle"], "centred", {}),
        ("Div", ["centred", "scale"], "normalised", {}),
        ("Conv", ["normalised", "stem"], "edges", {"strides": [4, 4]}),
        ("Relu", ["edges"], "clipped_output_0", {}),
        ("Conv", ["clipped_output_0", "body"], "mixed", {}),
        ("Relu", ["mixed"], "features", {}),
        ("Conv", ["features", "head", "head_bias"], "logits", {}),
        ("Resize", ["logits", "", "scales"], "full", bilinear),
        ("ArgMax", ["full"], "best", {"axis": 1, "keepdims": 0}),
        ("Cast", ["best"], "labels", {"to": TensorProto.UINT8}),
    ]


def _constants() -> dict[str, Any]:
    """The weights of chance, and the numbers that the graph is made with."""
    rng = np.random.default_rng(0)
    return {
        "middle": np.float32(128),
        "scale": np.float32(64),
        "stem": rng.normal(0, 0.2, (16, 3, 4, 4)).astype(np.float32),
        "body": np.random.default_rng(5).normal(0, 0.3, (16, 16, 1, 1)).astype(np.float32),
        "head": rng.normal(0, 0.5, (len(TINY.classes), 16, 1, 1)).astype(np.float32),
        "head_bias": rng.normal(0, 0.1, len(TINY.classes)).astype(np.float32),
        "scales": np.array([1, 1, 4, 4], np.float32),
    }


@pytest.fixture
def vnni() -> None:
    """Skips where the CPU has no VNNI: OpenVINO refuses weights of 8 bits there."""
    if lacks_vnni():
        pytest.skip("this CPU has no VNNI, and OpenVINO would compute weights of 8 bits wrongly")


@pytest.fixture
def cpu_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that makes this machine's two x86 processors have other flags."""

    def pretend(flags: str) -> None:
        path = tmp_path / "cpuinfo"
        path.write_text("".join(f"processor\t: {n}\nmodel name\t: any: one\nflags\t\t: {flags}\n\n" for n in (0, 1)))
        monkeypatch.setattr("edge_seg.runners.cpu.CPUINFO", path)

    return pretend


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
def eight_bit_model(tiny_model: Path) -> Path:
    """An INT8 file of `tiny_model` for x86 CPUs with VNNI, whatever this one has."""
    from edge_seg.calib.quantize import quantize
    from edge_seg.calib.rung import Rung
    from edge_seg.data.drive import Drive

    path = tiny_model.with_suffix(".eight.onnx")
    quantize(tiny_model, path, Drive(1, TINY.width, TINY.height, 12), images=12, rung=Rung("onnxruntime-x86"))
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


@pytest.fixture(scope="session")
def short_run() -> Callable[..., Any]:
    """The options of a short training on drive frames of 96x72 in a folder, with changes by name."""
    from edge_seg.recipe import parse_recipe
    from edge_seg.training.options import TrainOptions

    def options(folder: Path, **changes: Any) -> TrainOptions:  # noqa: ANN401
        tables: dict[str, dict[str, Any]] = {"schedule": {"epochs": 2, "batch": 4}, "samples": {}, "loss": {}}
        for table, names in RECIPE_FIELDS.items():
            tables[table] |= {name: changes.pop(name) for name in names if name in changes}
        settings = {
            "data": "drive:frames=16,size=96x72",
            "out": folder / "net.pt",
            "run_dir": folder,
            "arch": "edge-seg-n",
            "width": 96,
            "height": 72,
            "recipe": parse_recipe(tables, "conftest"),
            "workers": 0,
            "precision": "fp32",
        }
        return TrainOptions(**(settings | changes))

    return options


class FakeCapture:
    """A camera that gives `left` pictures and then none."""

    def __init__(self, left: int, *, opens: bool = True) -> None:
        self.left, self.opens, self.released = left, opens, False

    def isOpened(self) -> bool:  # OpenCV's names
        return self.opens

    def set(self, setting: int, value: float) -> bool:
        return True

    def get(self, setting: int) -> float:
        return 30.0

    def grab(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def retrieve(self) -> tuple[bool, UInt8Array]:
        return True, np.full((6, 8, 3), self.left, np.uint8)

    def release(self) -> None:
        self.released = True


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeCapture]:
    """A function that plugs a camera in."""

    import cv2

    def plug(left: int, *, opens: bool = True) -> FakeCapture:
        capture = FakeCapture(left, opens=opens)
        monkeypatch.setattr(cv2, "VideoCapture", lambda number: capture)
        return capture

    return plug
