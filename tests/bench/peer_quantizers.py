"""The quantizers of others, each called as its documentation says, in an environment of its own.

    ENVS/nncf/bin/python tests/bench/peer_quantizers.py RECIPE FP32.onnx PICTURES.npy OUT

`tests/bench/peers.py` makes the environments and runs this file, which imports nothing of edge_seg. PICTURES is one
array whose rows are the graph's input for a picture each. The last line on stdout is JSON: packages, and seconds.

What the documentation says, of the versions that pip gives today:
- `quantize_static` asks for U8S8 on x86-64 with VNNI, for `reduce_range` without, for quant_pre_process before, and
  calls per-channel weights the more accurate ones. The symbolic part of quant_pre_process is for transformers, and
  fails on a Resize by scales.
- NNCF calls OpenVINO's graph its preferred input, MIXED (asymmetric activations) the more accurate preset and
  PERFORMANCE the default, and `fast_bias_correction=False` the more accurate, slower correction. Without VNNI it asks
  for its default overflow fix, of the first layer, and where accuracy still drops for that of all layers.
- modelopt writes for TensorRT: its files are slow on a CPU and are here for their accuracy. Entropy is its default,
  max the other choice. What is not INT8 is kept in FP32, where its default is FP16, for a GPU.
"""

import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:  # the parent process reads the table below, and need not load these
    import numpy as np
    from numpy.typing import NDArray

    Pictures = NDArray[np.generic]


def input_name(model: Path) -> str:
    """The name of the graph's input."""
    import onnx

    return str(onnx.load(model).graph.input[0].name)


def onnxruntime_defaults(model: Path, pictures: "Pictures", out: Path) -> None:
    """`quantize_static` with nothing chosen: QDQ, int8 activations and weights, per tensor, min-max."""
    from onnxruntime.quantization import quantize_static

    quantize_static(model, out, _reader(model, pictures))


def onnxruntime_x86(model: Path, pictures: "Pictures", out: Path, *, reduce_range: bool = False) -> None:
    """Pre-processed, U8S8, weights per channel; of 7 bits with `reduce_range`."""
    from onnxruntime.quantization import QuantFormat, QuantType, quant_pre_process, quantize_static

    prepared = out.with_suffix(".prepared")
    quant_pre_process(model, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        out,
        _reader(model, pictures),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=reduce_range,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    prepared.unlink()


def _reader(model: Path, pictures: "Pictures") -> Any:  # noqa: ANN401
    from onnxruntime.quantization import CalibrationDataReader

    name = input_name(model)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left: Iterator[Any] = (pictures[row : row + 1] for row in range(len(pictures)))

        def get_next(self) -> dict[str, Any] | None:
            row = next(self.left, None)
            return None if row is None else {name: row}

    return Reader()


def nncf_onnx(model: Path, pictures: "Pictures", out: Path, *, preset: str) -> None:
    """NNCF on the ONNX graph."""
    import nncf  # type: ignore[import-not-found,unused-ignore]
    import onnx

    name = input_name(model)
    data = nncf.Dataset(range(len(pictures)), lambda row: {name: pictures[row : row + 1]})
    onnx.save(nncf.quantize(onnx.load(model), data, **_nncf_options(preset, pictures)), out)


def nncf_openvino(model: Path, pictures: "Pictures", out: Path, *, preset: str, **chosen: Any) -> None:  # noqa: ANN401
    """NNCF on OpenVINO's graph of the ONNX file; `out` is an IR file, which only OpenVINO reads."""
    import nncf  # type: ignore[import-not-found,unused-ignore]
    import openvino as ov

    graph = ov.convert_model(model)
    graph.reshape([1, *pictures.shape[1:]])
    data = nncf.Dataset(range(len(pictures)), lambda row: pictures[row : row + 1])
    ov.save_model(nncf.quantize(graph, data, **_nncf_options(preset, pictures), **chosen), out, compress_to_fp16=False)


def nncf_openvino_7_bits(model: Path, pictures: "Pictures", out: Path) -> None:
    """NNCF on OpenVINO's graph, MIXED, with the slower correction and its overflow fix: 7 bits in all layers."""
    import nncf  # type: ignore[import-not-found,unused-ignore]

    fix = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE)
    nncf_openvino(model, pictures, out, preset="MIXED", fast_bias_correction=False, advanced_parameters=fix)


def _nncf_options(preset: str, pictures: "Pictures") -> dict[str, Any]:
    import nncf  # type: ignore[import-not-found,unused-ignore]

    return {
        "preset": nncf.QuantizationPreset[preset],
        "target_device": nncf.TargetDevice.CPU,
        "subset_size": len(pictures),
    }


def modelopt(model: Path, pictures: "Pictures", out: Path, *, method: str) -> None:
    """modelopt on the CPU, its floats left in FP32."""
    import numpy as np
    from modelopt.onnx.quantization import quantize  # type: ignore[import-not-found,unused-ignore]

    quantize(
        str(model),
        quantize_mode="int8",
        calibration_data={input_name(model): np.asarray(pictures)},
        calibration_method=method,
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=str(out),
    )


class Recipe(NamedTuple):
    """A row of the table: the environment it needs, what the row is called, the call, and what the call writes."""

    environment: str
    title: str
    quantize: Callable[["Path", "Pictures", "Path"], None]
    suffix: str = ".onnx"
    without_vnni: bool = False
    """Whether it is meant for x86 CPUs without VNNI alone."""


ENVIRONMENTS = {
    "onnxruntime": ("onnxruntime", "onnx", "sympy"),
    "nncf": ("nncf", "openvino", "onnx", "onnxruntime"),
    "modelopt": ("nvidia-modelopt[onnx]",),
}
"""What pip installs into each."""

_part = functools.partial
RECIPES = {
    "ort-defaults": Recipe("onnxruntime", "quantize_static, defaults", onnxruntime_defaults),
    "ort-x86": Recipe("onnxruntime", "quantize_static, U8S8 per channel", onnxruntime_x86),
    "ort-7-bits": Recipe(
        "onnxruntime",
        "quantize_static, U8S8 per channel, 7 bits",
        _part(onnxruntime_x86, reduce_range=True),
        without_vnni=True,
    ),
    "nncf-performance": Recipe("nncf", "NNCF ONNX, PERFORMANCE", _part(nncf_onnx, preset="PERFORMANCE")),
    "nncf-mixed": Recipe("nncf", "NNCF ONNX, MIXED", _part(nncf_onnx, preset="MIXED")),
    "nncf-ir-performance": Recipe(
        "nncf", "NNCF OpenVINO, PERFORMANCE", _part(nncf_openvino, preset="PERFORMANCE"), ".xml"
    ),
    "nncf-ir-mixed": Recipe("nncf", "NNCF OpenVINO, MIXED", _part(nncf_openvino, preset="MIXED"), ".xml"),
    "nncf-ir-accurate": Recipe(
        "nncf",
        "NNCF OpenVINO, MIXED, slow correction",
        _part(nncf_openvino, preset="MIXED", fast_bias_correction=False),
        ".xml",
    ),
    "nncf-ir-7-bits": Recipe(
        "nncf", "NNCF OpenVINO, MIXED, slow correction, 7 bits", nncf_openvino_7_bits, ".xml", without_vnni=True
    ),
    "modelopt-entropy": Recipe("modelopt", "modelopt, entropy", _part(modelopt, method="entropy")),
    "modelopt-max": Recipe("modelopt", "modelopt, max", _part(modelopt, method="max")),
}


def main() -> None:
    """Quantize, and say by what."""
    import numpy as np

    name, model, pictures, out = sys.argv[1:]
    recipe = RECIPES[name]
    start = time.perf_counter()
    recipe.quantize(Path(model), np.load(pictures), Path(out))
    packages = [package.partition("[")[0] for package in ENVIRONMENTS[recipe.environment]]
    print(json.dumps({"packages": {p: version(p) for p in packages}, "s": time.perf_counter() - start}))


if __name__ == "__main__":
    main()
