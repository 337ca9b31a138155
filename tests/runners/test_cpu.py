"""Files of 8-bit weights on x86 CPUs without VNNI: OpenVINO would compute them wrongly, ONNX Runtime can exactly."""

import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from edge_seg.apps.cmd_run import choose_file
from edge_seg.calib.quantize import open_fp32, write_int8
from edge_seg.calib.ranges import Ranges, observe
from edge_seg.calib.rung import Rung
from edge_seg.calib.sensitivity_run import runtime_for
from edge_seg.data.drive import Drive
from edge_seg.errors import ModelError
from edge_seg.export.target import find_target, target_here
from edge_seg.runners import open_runner
from edge_seg.runners.cpu import lacks_vnni
from edge_seg.runners.saturation import first_saturating, saturating_nodes
from edge_seg.types import UInt8Array
from edge_seg.weights import BUNDLED, find_model

ZEN_3 = "fpu sse2 ssse3 avx avx2 fma bmi2"
ALDER_LAKE = "fpu sse2 ssse3 avx avx2 fma avx_vnni"
ICE_LAKE = "fpu avx2 avx512f avx512_vnni"
CPU_RUNTIMES = ("auto", "onnxruntime", "openvino")
EIGHT_BITS = ("onnxruntime-x86", "onnxruntime-arm", "tensorrt")


@pytest.fixture
def no_vnni(cpu_flags: Callable[[str], None]) -> None:
    """A CPU that says it has no VNNI."""
    cpu_flags(ZEN_3)


@pytest.fixture(scope="module")
def ranges(tiny_model: Path) -> Ranges:
    return observe(open_fp32(tiny_model), (frame.image[None] for frame in Drive(5, 96, 72, 8)))


@pytest.fixture(scope="module")
def written(tiny_model: Path, ranges: Ranges, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The INT8 files of each target."""
    pytest.importorskip("torch")  # without it the tiny net has weights of a few steps alone
    folder = tmp_path_factory.mktemp("cpu")
    paths = {name: folder / f"{name}.onnx" for name in ("onnxruntime-x86", "x86-novnni", "onnxruntime-arm", "tensorrt")}
    for name, path in paths.items():
        write_int8(tiny_model, path, ranges, Rung(name))
    return paths


@pytest.mark.parametrize(("flags", "expected"), [(ZEN_3, True), (ALDER_LAKE, False), (ICE_LAKE, False)])
def test_flags_are_read(flags: str, expected: bool, cpu_flags: Callable[[str], None]) -> None:
    cpu_flags(flags)

    assert lacks_vnni() is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Features\t: fp asimd asimddp i8mm\n", False),
        (f"flags\t\t: {ICE_LAKE}\nflags\t\t: {ZEN_3}\n", True),  # one core without is enough
        ("", False),
    ],
)
def test_other_cpus(text: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    monkeypatch.setattr("edge_seg.runners.cpu.CPUINFO", path)

    assert lacks_vnni() is expected


def test_where_the_system_does_not_tell_vnni_is_assumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        monkeypatch.setattr("edge_seg.runners.cpu.CPUINFO", path)

        assert not lacks_vnni()


@pytest.mark.parametrize("name", EIGHT_BITS)
def test_openvino_refuses_eight_bit_weights_without_vnni(name: str, written: dict[str, Path], no_vnni: None) -> None:
    pytest.importorskip("openvino")
    told = rf"{name}\.onnx has weights of 8 bits .* no VNNI: .*--runtime onnxruntime .*--target x86-novnni"
    with pytest.raises(ModelError, match=told):
        open_runner(written[name], "openvino")


@pytest.mark.parametrize("runtime", ["auto", "onnxruntime"])
@pytest.mark.parametrize("name", EIGHT_BITS)
def test_onnx_runtime_computes_eight_bit_weights_exactly_without_vnni(
    name: str, runtime: str, written: dict[str, Path], no_vnni: None
) -> None:
    """On a CPU that has none the sums would saturate otherwise: of edge-seg-s's labels 22 % were wrong there."""
    images = np.stack([Drive(1, 96, 72, 4)[number].image for number in range(4)])
    reference = onnxruntime_without_optimisation(written[name], images)

    with open_runner(written[name], runtime) as runner:
        labels = runner.infer(images)

    assert runner.runtime == "onnxruntime"
    assert np.mean(labels == reference) > 0.99


def onnxruntime_without_optimisation(path: Path, images: UInt8Array) -> UInt8Array:
    """Labels by the graph as it is written: whole numbers become floats before each convolution."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    labels: UInt8Array = session.run(["labels"], {"image": images})[0]
    return labels


@pytest.mark.parametrize("runtime", CPU_RUNTIMES)
def test_other_files_run_without_vnni(runtime: str, written: dict[str, Path], tiny_model: Path, no_vnni: None) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    image = Drive(1, 96, 72, 1)[0].image[None]
    for path in (written["x86-novnni"], tiny_model):
        with open_runner(path, runtime) as runner:
            assert runner.infer(image).shape == (1, 72, 96)


def test_a_checkpoint_runs_without_vnni(tiny_checkpoint: Path, no_vnni: None) -> None:
    with open_runner(tiny_checkpoint) as runner:
        assert runner.runtime == "torch"


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="flags of x86")
def test_quantize_writes_for_the_cpu_at_hand(cpu_flags: Callable[[str], None]) -> None:
    cpu_flags(ZEN_3)
    assert target_here().name == "x86-novnni"
    cpu_flags(ICE_LAKE)
    assert target_here().name == "onnxruntime-x86"


def test_a_bundled_file_is_refused_with_the_fp32_files_name(no_vnni: None) -> None:
    pytest.importorskip("openvino")
    with pytest.raises(ModelError, match=r"the FP32 file, edge-seg-s-fp32, or write .* quantize edge-seg-s-fp32"):
        open_runner("edge-seg-s", "openvino")


def test_a_damaged_file_is_told_as_such_without_vnni(no_vnni: None, tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        open_runner(path)


@pytest.mark.parametrize("name", [name for name in sorted(BUNDLED) if f"{name}-fp32" in BUNDLED])
def test_run_takes_the_fp32_file_of_a_bundled_net_and_says_so(
    name: str, no_vnni: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert choose_file(name, "auto") == find_model(f"{name}-fp32")
    assert f"without VNNI, computes wrongly or slowly: running {name}-fp32." in capsys.readouterr().err


def test_run_refuses_a_users_file(written: dict[str, Path], no_vnni: None, tmp_path: Path) -> None:
    copy = Path(shutil.copy(find_model("edge-seg-s"), tmp_path / "edge-seg-s.int8.onnx"))
    for path in (written["onnxruntime-x86"], copy):
        with pytest.raises(ModelError, match="this CPU has no VNNI"):
            choose_file(str(path), "auto")


def test_run_does_as_the_error_says(written: dict[str, Path], no_vnni: None) -> None:
    for model in (str(written["onnxruntime-x86"]), "edge-seg-s"):
        assert choose_file(model, "onnxruntime") == find_model(model)


def test_files_for_tensorrt_are_judged_where_they_are_computed_exactly(cpu_flags: Callable[[str], None]) -> None:
    pytest.importorskip("openvino")
    cpu_flags(ZEN_3)
    assert runtime_for(find_target("tensorrt")) == "onnxruntime"
    cpu_flags(ICE_LAKE)
    assert runtime_for(find_target("tensorrt")) == "openvino"


def test_run_changes_nothing_where_there_is_vnni(
    cpu_flags: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    cpu_flags(ICE_LAKE)

    assert choose_file("edge-seg-s", "auto") == find_model("edge-seg-s")
    assert choose_file("edge-seg-s-fp32", "auto") == find_model("edge-seg-s-fp32")
    assert capsys.readouterr().err == ""


CONV = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) wd = DequantizeLinear(w, ws, wz) y = Conv(d, wd)"
BEHIND_Q = CONV.replace("wd = DequantizeLinear(w,", "wq = QuantizeLinear(w, ws, wz) wd = DequantizeLinear(wq,")
BY_CHANNEL = BEHIND_Q.replace("Linear(w", "Linear<axis = 0>(w")


def graph(body: str, **changes: Any) -> onnx.ModelProto:  # noqa: ANN401
    constants = {
        "s": np.float32(1),
        "z": np.uint8(0),
        "w": np.full((2, 2, 1, 1), -65, np.int8),
        "ws": np.float32(1),
        "wz": np.int8(0),
        **changes,
    }
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
        net (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) {{ {body} }}"""
    model: onnx.ModelProto = onnx.parser.parse_model(text)
    model.graph.node[-1].name = "only"
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items())
    return model


FLOATS = np.array([[6.5, 1], [-0.3, 0.2]], np.float32).reshape(2, 2, 1, 1)
SCALES = np.array([0.1, 0.01], np.float32)
ZEROS = np.zeros(2, np.int8)


@pytest.mark.parametrize(
    ("body", "changes", "found"),
    [
        (CONV, {}, ["only"]),
        (CONV, {"w": np.full((2, 2, 1, 1), 64, np.int8)}, []),
        (CONV, {"w": np.full((2, 2, 1, 1), -128, np.int8)}, ["only"]),
        (CONV, {"z": np.int8(0)}, ["only"]),
        (CONV, {"w": np.full((2, 2, 1, 1), 200, np.uint8), "wz": np.uint8(128)}, []),
        (CONV.replace("(d, wd)", "(x, wd)"), {}, []),
        (CONV.replace("Conv", "Relu").replace("(d, wd)", "(d)"), {}, []),
        (CONV.replace("Conv", "MatMul").replace("wd = Dequantize", "v = Dequantize").replace("wd)", "d)"), {}, []),
        (BEHIND_Q, {"w": FLOATS, "ws": np.float32(0.1)}, ["only"]),
        (BEHIND_Q, {"w": FLOATS, "ws": np.float32(0.11)}, []),
        (BY_CHANNEL, {"w": FLOATS, "ws": SCALES, "wz": ZEROS}, ["only"]),
        (BY_CHANNEL, {"w": FLOATS * [[[[0.5]]], [[[1]]]], "ws": SCALES, "wz": ZEROS}, []),
    ],
)
def test_what_saturates_is_read_from_the_graph(body: str, changes: dict[str, Any], found: list[str]) -> None:
    assert list(saturating_nodes(graph(body, **changes))) == found


def test_weights_in_constants_and_outside_of_the_file_are_read(tmp_path: Path) -> None:
    inside = graph(CONV)
    weights = next(tensor for tensor in inside.graph.initializer if tensor.name == "w")
    node = onnx.helper.make_node("Constant", [], ["w"])
    node.attribute.append(onnx.helper.make_attribute("value", weights))
    inside.graph.node.insert(0, node)
    inside.graph.initializer.remove(weights)
    assert list(saturating_nodes(inside)) == ["only"]

    onnx.save(graph(CONV), tmp_path / "net.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    assert first_saturating(tmp_path / "net.onnx") == "only"
    (tmp_path / "w.bin").unlink()
    assert first_saturating(tmp_path / "net.onnx") is None
