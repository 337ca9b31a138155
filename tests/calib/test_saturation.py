"""Weights of 7 bits on CPUs without VNNI, against their instructions in NumPy and against a real run-time held to them.

VPMADDUBSW multiplies bytes, unsigned by signed, and adds the products in pairs in int16, where they saturate; VPMADDWD
by ones and VPADDD then add those in int32 (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2).
"""

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import numpy_helper

from edge_seg.calib.qdq import most_weight, quantize_weights, weight_scales
from edge_seg.calib.quantize import open_fp32, write_int8
from edge_seg.calib.ranges import observe
from edge_seg.calib.rung import Rung
from edge_seg.data.drive import Drive
from edge_seg.export.target import find_target
from edge_seg.runners import open_runner

NOVNNI, X86 = find_target("x86-novnni"), find_target("onnxruntime-x86")
IMAGES = np.stack([frame.image for frame in Drive(6, 96, 72, 4)])


def vpmaddubsw(data: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sums of two neighbours' products, int16 [..., K / 2], of data uint8 [..., K] and weights int8 [..., K]."""
    products = data.astype(np.int32) * weights.astype(np.int32)
    pairs = products.reshape(*products.shape[:-1], -1, 2).sum(-1)
    return np.asarray(np.clip(pairs, -(2**15), 2**15 - 1), np.int16)


def sums_without_vnni(data: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """int32 [...] of data uint8 [..., K] and weights int8 [..., K]; an odd K is filled up by a zero."""
    if data.shape[-1] % 2:
        data, weights = (np.concatenate([v, np.zeros_like(v[..., :1])], -1) for v in (data, weights))
    return np.asarray(vpmaddubsw(data, weights).astype(np.int32).sum(-1))


def exact_sums(data: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.asarray((data.astype(np.int32) * weights.astype(np.int32)).sum(-1))


def wrong_sums(data: np.ndarray, weights: np.ndarray) -> float:
    """The share of sums that saturate."""
    return float((sums_without_vnni(data, weights) != exact_sums(data, weights)).mean())


def worst_data(weights: np.ndarray) -> np.ndarray:
    """uint8 [2, C, K]: for each channel of weights [C, K] the data of the largest sum, and of the smallest."""
    return np.stack([np.where(weights > 0, 255, 0), np.where(weights < 0, 255, 0)]).astype(np.uint8)


def test_the_reference_saturates_as_the_instruction_does() -> None:
    data = np.array([255, 255, 255, 255, 1, 2, 255, 0], np.uint8)
    weights = np.array([127, 127, -128, -128, 3, -4, 127, 127], np.int8)

    assert vpmaddubsw(data, weights).tolist() == [32767, -32768, -5, 32385]


def test_64_is_the_largest_safe_weight() -> None:
    full = np.full(2, 255, np.uint8)

    safe = [weight for weight in range(-128, 128) if not wrong_sums(full, np.full(2, weight, np.int8))]

    assert safe == list(range(-64, 65))


FLOATS = arrays(np.float32, (3, 7), elements=st.floats(-4, 4, width=32))
BYTES = arrays(np.uint8, (4, 1, 7))


@given(FLOATS, BYTES)
def test_seven_bits_never_saturate(floats: np.ndarray, data: np.ndarray) -> None:
    weights = quantize_weights(floats, weight_scales(floats, 0, NOVNNI), 0, NOVNNI)[None]

    assert wrong_sums(np.repeat(data, 3, 1), np.repeat(weights, 4, 0)) == 0
    assert wrong_sums(worst_data(weights[0]), np.repeat(weights, 2, 0)) == 0


def test_eight_bits_do() -> None:
    floats = np.random.default_rng(0).normal(size=(16, 144)).astype(np.float32)
    by_chance = np.random.default_rng(1).integers(0, 256, (50, 16, 144), np.uint8)
    found = {}
    for target in (NOVNNI, X86):
        weights = quantize_weights(floats, weight_scales(floats, 0, target), 0, target)
        found[target] = [
            wrong_sums(data, np.broadcast_to(weights, data.shape)) for data in (by_chance, worst_data(weights))
        ]

    assert found[NOVNNI] == [0, 0]
    assert found[X86][0] > 0.1  # a sixth of the sums, on bytes of chance
    assert found[X86][1] > 0.5


@pytest.fixture(scope="module")
def written(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("saturation")
    ranges = observe(open_fp32(tiny_model), (frame.image[None] for frame in Drive(5, 96, 72, 8)))
    for target in (NOVNNI, X86):
        write_int8(tiny_model, folder / f"{target.name}.onnx", ranges, Rung(target.name))
    return {target.name: folder / f"{target.name}.onnx" for target in (NOVNNI, X86)}


def matrices(path: Path) -> dict[str, np.ndarray]:
    """The int8 weights [C, K] of each convolution, input channels last, as run-times pair them."""
    tensors = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    weights = {name: values for name, values in tensors.items() if name.endswith("/weight_quantized")}
    return {name: np.moveaxis(values, 1, -1).reshape(len(values), -1) for name, values in weights.items()}


def test_no_convolution_of_a_net_written_for_such_cpus_saturates(written: dict[str, Path]) -> None:
    found = {name: matrices(path) for name, path in written.items()}
    largest = {name: max(int(np.abs(w.astype(int)).max()) for w in layers.values()) for name, layers in found.items()}
    wrong = {
        name: [wrong_sums(worst_data(w), np.broadcast_to(w, (2, *w.shape))) for w in layers.values()]
        for name, layers in found.items()
    }

    assert largest == {NOVNNI.name: most_weight(NOVNNI), X86.name: most_weight(X86)} == {NOVNNI.name: 63, X86.name: 127}
    assert not any(wrong[NOVNNI.name])
    assert any(wrong[X86.name])


# A real run-time without VNNI: oneDNN, OpenVINO's library of kernels, can be held to AVX2, in a process of its own.

IMPORTS = "import sys, numpy as np, openvino\nfrom edge_seg.runners import open_runner\n"
LABELS = """
with open_runner(sys.argv[1], "openvino") as runner:
    found = runner.infer(np.load(sys.argv[2]))
"""
SUMS = """
core = openvino.Core()
model = core.compile_model(core.read_model(sys.argv[1]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
found = model(np.load(sys.argv[2]))[0]
"""


def held_to_avx2(body: str, model: Path, data: np.ndarray) -> np.ndarray:
    """What OpenVINO computes without VNNI."""
    files = model.with_suffix(".in.npy"), model.with_suffix(".out.npy")
    np.save(files[0], data)
    subprocess.run(
        [sys.executable, "-c", f"{IMPORTS}{body}np.save(sys.argv[3], found)", model, *files],
        check=True,
        timeout=300,
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
    )
    return np.asarray(np.load(files[1]))


needs_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="instructions of x86")


@needs_x86
def test_the_reference_is_what_openvino_computes_on_avx2(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    by_channel = np.resize([63, -63, 64, -64, 127, -128, 90, -90], 32)
    weights = np.repeat(by_channel[:, None], 32, 1).astype(np.int8)
    data = np.full((32, 32), 255, np.uint8)
    step = 255 * 128 * 32 / 120
    onnx.save_model(one_convolution(weights, step), tmp_path / "one.onnx")

    found = held_to_avx2(SUMS, tmp_path / "one.onnx", np.full((1, 32, 4, 4), 255, np.float32))[0, :, 2, 2]

    assert found == pytest.approx(sums_without_vnni(data, weights), abs=step)
    is_exact = np.abs(found - exact_sums(data, weights)) <= step
    assert np.array_equal(is_exact, np.abs(by_channel) <= 64)


def one_convolution(weights: np.ndarray, step: float) -> onnx.ModelProto:
    """x -> Q/DQ uint8 of scale 1 -> 1x1 convolution -> Q/DQ uint8 of scale `step` about 128 -> y."""
    text = """<ir_version: 8, opset_import: ["" : 17]>
        one (float[1, 32, 4, 4] x) => (float[1, 32, 4, 4] y) {
            q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
            v = DequantizeLinear<axis = 0>(w, ws, wz) c = Conv(d, v)
            p = QuantizeLinear(c, t, m) y = DequantizeLinear(p, t, m)
        }"""
    model: onnx.ModelProto = onnx.parser.parse_model(text)
    constants: dict[str, Any] = {"s": np.float32(1), "z": np.uint8(0), "t": np.float32(step), "m": np.uint8(128)}
    constants |= {"w": weights[..., None, None], "ws": np.ones(32, np.float32), "wz": np.zeros(32, np.int8)}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items())
    return model


@needs_x86
def test_a_file_of_seven_bits_gives_the_same_labels_on_avx2(written: dict[str, Path]) -> None:
    pytest.importorskip("openvino")
    with open_runner(written[NOVNNI.name], "openvino") as runner:
        expected = runner.infer(IMAGES)

    found = held_to_avx2(LABELS, written[NOVNNI.name], IMAGES)

    assert (found == expected).mean() > 0.999
