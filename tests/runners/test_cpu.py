"""Files of 8-bit weights on x86 CPUs without VNNI: refused, for both run-times compute them wrongly there."""

import platform
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_seg.apps.cmd_run import choose_file
from edge_seg.calib.quantize import open_fp32, write_int8
from edge_seg.calib.ranges import Ranges, observe
from edge_seg.calib.rung import Rung
from edge_seg.data.drive import Drive
from edge_seg.errors import ModelError
from edge_seg.export.target import target_here
from edge_seg.runners import open_runner
from edge_seg.runners.cpu import lacks_vnni
from edge_seg.runners.saturation import saturating_nodes
from edge_seg.weights import BUNDLED, find_model

ZEN_3 = "flags\t\t: fpu sse2 ssse3 avx avx2 fma bmi2\n"
ALDER_LAKE = "flags\t\t: fpu sse2 ssse3 avx avx2 fma avx_vnni\n"
ICE_LAKE = "flags\t\t: fpu avx2 avx512f avx512_vnni\n"
CORTEX = "Features\t: fp asimd asimddp i8mm\n"
CPU_RUNTIMES = ("auto", "onnxruntime", "openvino")


@pytest.fixture
def no_vnni(tmp_path: Path) -> Path:
    """The cpuinfo of a CPU without VNNI."""
    return write_cpuinfo(tmp_path / "cpuinfo", ZEN_3)


def write_cpuinfo(path: Path, flags: str) -> Path:
    """Two processors as Linux describes them."""
    path.write_text("".join(f"processor\t: {n}\nmodel name\t: any: one\n{flags}bugs\t\t: some\n\n" for n in range(2)))
    return path


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


@pytest.mark.parametrize(
    ("flags", "expected"), [(ZEN_3, True), (ALDER_LAKE, False), (ICE_LAKE, False), (CORTEX, False), ("", False)]
)
def test_flags_are_read(flags: str, expected: bool, tmp_path: Path) -> None:
    assert lacks_vnni(write_cpuinfo(tmp_path / "cpuinfo", flags)) is expected


def test_one_core_without_vnni_is_enough(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(ICE_LAKE + ZEN_3)

    assert lacks_vnni(tmp_path / "cpuinfo")


def test_where_the_system_does_not_tell_vnni_is_assumed(tmp_path: Path) -> None:
    assert not lacks_vnni(tmp_path / "nothing")
    assert not lacks_vnni(tmp_path)


@pytest.mark.parametrize("runtime", CPU_RUNTIMES)
def test_eight_bit_weights_are_refused_without_vnni(
    runtime: str, written: dict[str, Path], no_vnni: Path, tmp_path: Path
) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    for name in ("onnxruntime-x86", "onnxruntime-arm", "tensorrt"):
        with pytest.raises(ModelError, match=rf"{name}\.onnx has weights of 8 bits .* no VNNI: .*--target x86-novnni"):
            open_runner(written[name], runtime, cpuinfo=no_vnni)


@pytest.mark.parametrize("runtime", CPU_RUNTIMES)
def test_other_files_run_without_vnni(
    runtime: str, written: dict[str, Path], tiny_model: Path, no_vnni: Path, tmp_path: Path
) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    image = Drive(1, 96, 72, 1)[0].image[None]
    for path in (written["x86-novnni"], tiny_model):
        with open_runner(path, runtime, cpuinfo=no_vnni) as runner:
            assert runner.infer(image).shape == (1, 72, 96)


def test_a_checkpoint_runs_without_vnni(tiny_checkpoint: Path, no_vnni: Path) -> None:
    with open_runner(tiny_checkpoint, cpuinfo=no_vnni) as runner:
        assert runner.runtime == "torch"


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="flags of x86")
def test_quantize_writes_for_the_cpu_at_hand(no_vnni: Path, tmp_path: Path) -> None:
    assert target_here(no_vnni).name == "x86-novnni"
    assert target_here(write_cpuinfo(tmp_path / "new", ICE_LAKE)).name == "onnxruntime-x86"


def test_a_bundled_file_is_refused_with_the_fp32_files_name(no_vnni: Path) -> None:
    with pytest.raises(ModelError, match=r"Take the FP32 file, edge-seg-s-fp32, or write .* quantize edge-seg-s-fp32"):
        open_runner("edge-seg-s", cpuinfo=no_vnni)


@pytest.mark.parametrize("name", [name for name in sorted(BUNDLED) if f"{name}-fp32" in BUNDLED])
def test_run_takes_the_fp32_file_of_a_bundled_net_and_says_so(
    name: str, no_vnni: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert choose_file(name, "auto", no_vnni) == find_model(f"{name}-fp32")
    assert f"without VNNI, would compute wrongly: running {name}-fp32." in capsys.readouterr().err


def test_run_refuses_a_users_file(written: dict[str, Path], no_vnni: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(find_model("edge-seg-s"), tmp_path / "edge-seg-s.int8.onnx"))
    for path in (written["onnxruntime-x86"], copy):
        with pytest.raises(ModelError, match="this CPU has no VNNI"):
            choose_file(str(path), "auto", no_vnni)


def test_run_changes_nothing_where_there_is_vnni(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cpuinfo = write_cpuinfo(tmp_path / "cpuinfo", ICE_LAKE)

    assert choose_file("edge-seg-s", "auto", cpuinfo) == find_model("edge-seg-s")
    assert choose_file("edge-seg-s-fp32", "auto", cpuinfo) == find_model("edge-seg-s-fp32")
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
