"""`edge-seg calib observe` and `edge-seg quantize`: ranges once, files for each target, no data the second time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner

from edge_seg.apps.cli import app
from edge_seg.calib.manifest import manifest_hash, read_manifest
from edge_seg.calib.ranges import read_ranges, write_ranges
from edge_seg.errors import DataError, EdgeSegError, ModelError, SinkError

SET = "drive:seed=3,frames=12,size=96x72"


def invoke(*arguments: object) -> None:
    """Run a command that succeeds."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def test_ranges_first_gives_the_same_file_as_both_at_once(tiny_model: Path, tmp_path: Path) -> None:
    invoke("calib", "observe", tiny_model, "--data", SET, "--images", 8, "--out", tmp_path / "r.json")
    target = "--target", "onnxruntime-x86"
    invoke("quantize", tiny_model, *target, "--ranges", tmp_path / "r.json", "--out", tmp_path / "a.onnx")
    invoke("quantize", tiny_model, *target, "--data", SET, "--images", 8, "--out", tmp_path / "b.onnx")

    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert read_ranges(tmp_path / "r.json").pictures == SET


def test_a_manifest_is_observed_by_its_hash(tiny_model: Path, tmp_path: Path) -> None:
    invoke("calib", "images", "--data", SET, "--images", 8, "--out", tmp_path / "set.json")
    invoke("calib", "observe", tiny_model, "--manifest", tmp_path / "set.json", "--out", tmp_path / "r.json")

    ranges = read_ranges(tmp_path / "r.json", onnx.load(tiny_model))
    assert (ranges.images, ranges.pictures) == (8, manifest_hash(read_manifest(tmp_path / "set.json")))


def test_target_and_method_are_taken(tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")  # without it the tiny net is too narrow for TensorRT's INT8
    invoke("calib", "observe", tiny_model, "--data", SET, "--images", 8, "--out", tmp_path / "r.json")

    def scales(*options: str) -> dict[str, float]:
        invoke("quantize", tiny_model, "--ranges", tmp_path / "r.json", *options, "--out", tmp_path / "q.onnx")
        constants = onnx.load(tmp_path / "q.onnx").graph.initializer
        names = [t for t in constants if t.name.endswith("_scale") and not t.dims]
        types = {numpy_helper.to_array(t).dtype for t in constants if t.name.endswith("output_0_zero_point")}
        assert types <= {np.dtype(np.int8)} if "tensorrt" in options else np.dtype(np.uint8) in types
        return {t.name: float(numpy_helper.to_array(t)) for t in names}

    widest, clipped = scales("--target", "onnxruntime-x86"), scales("--target", "onnxruntime-x86", "--method", "mse")
    assert widest.keys() == clipped.keys()
    assert all(clipped[name] <= widest[name] * 1.0001 for name in widest)
    assert any(clipped[name] < widest[name] for name in widest)
    assert scales("--target", "tensorrt", "--method", "mse")


def test_floats_for_tensorrt_in_fp16(tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")  # without it the tiny net is too narrow for TensorRT's INT8
    out = tmp_path / "half.onnx"
    invoke(
        "quantize", tiny_model, "--data", SET, "--images", 8, "--target", "tensorrt", "--float", "fp16", "--out", out
    )

    model = onnx.load(out)
    scales = {node.input[1] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    types = {t.data_type for t in model.graph.initializer if t.name in scales}
    assert (types, model.opset_import[0].version) == ({onnx.TensorProto.FLOAT16}, 19)


@pytest.mark.parametrize("target", [(), ("--target", "openvino"), ("--target", "tensorrt", "--float", "fp16")])
def test_ranges_of_one_method_serve_every_target(target: tuple[str, ...], tiny_model: Path, tmp_path: Path) -> None:
    """As a training with `--qat --method mse` keeps them."""
    pytest.importorskip("torch")  # without it the tiny net is too narrow for TensorRT's INT8
    whole, kept, out = (tmp_path / name for name in ("r.json", "mse.json", "q.onnx"))
    invoke("calib", "observe", tiny_model, "--data", SET, "--images", 8, "--out", whole)
    found = read_ranges(whole)
    tensors = {name: {way: of[way] for way in ("mse", "mse-symmetric")} for name, of in found.tensors.items()}
    write_ranges(kept, replace(found, tensors=tensors))

    invoke("quantize", tiny_model, "--ranges", kept, "--method", "mse", *target, "--out", out)

    assert any(node.op_type == "QuantizeLinear" for node in onnx.load(out).graph.node)


def test_weights_in_another_file_are_refused_until_they_are_taken_in(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may change under ranges whose hash is of the graph."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "split").mkdir()
    onnx.save(onnx.load(tiny_model), "split/net.onnx", save_as_external_data=True, location="w.bin", size_threshold=64)

    told = r"are in another file\. Take them in: edge-seg lint split/net\.onnx --target auto --fix"
    for command in (["calib", "observe", "--out", "r.json"], ["quantize", "--out", "q.onnx"]):
        with pytest.raises(ModelError, match=told):
            CliRunner().invoke(app, [*command, "split/net.onnx", "--data", SET], catch_exceptions=False)
    invoke("lint", "split/net.onnx", "--target", "auto", "--fix", "--out", "whole.onnx")
    invoke("calib", "observe", "whole.onnx", "--data", SET, "--images", 8, "--out", "r.json")
    invoke("quantize", "whole.onnx", "--ranges", "r.json", "--target", "onnxruntime-x86", "--out", "q.onnx")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "either --data or --ranges"),
        (("--data", SET, "--ranges", "r.json"), "either --data or --ranges"),
        (("--data", SET, "--method", "kl"), "expected min-max"),
        (("--data", SET, "--target", "tensorrt", "--float", "bf16"), "expected fp32 or fp16"),
        (("--data", SET, "--target", "onnxruntime-x86", "--float", "fp16"), "for --target tensorrt"),
    ],
)
def test_wrong_usage_is_told(arguments: tuple[str, ...], message: str, tiny_model: Path) -> None:
    result = CliRunner().invoke(app, ["quantize", str(tiny_model), *arguments])

    assert result.exit_code == 2
    assert message in " ".join(result.output.split()).replace("│ ", "")


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (
            ("quantize", "MODEL", "--data", SET, "--target", "tpu"),
            ModelError,
            r"No target 'tpu'\. Choose auto, openvino",
        ),
        (("quantize", "MODEL", "--ranges", "nowhere.json"), DataError, r"nowhere\.json"),
        (("quantize", "MODEL", "--ranges", "few.json"), DataError, "'x', which the model has not"),
        (("quantize", "edge-seg-s-fp32", "--ranges", "r.json"), DataError, "observed on another model"),
        (("calib", "observe", "INT8", "--data", SET, "--out", "new.json"), ModelError, "quantized already"),
        (("calib", "observe", "MODEL", "--data", "nowhere:", "--out", "DIR"), SinkError, "it is a folder"),
        (("calib", "observe", "MODEL", "--data", "drive:frames=3", "--out", "new.json"), DataError, "too few"),
    ],
)
def test_bad_input_is_told_and_nothing_written(
    arguments: tuple[str, ...],
    kind: type[EdgeSegError],
    message: str,
    tiny_model: Path,
    tiny_int8_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    invoke("calib", "observe", tiny_model, "--data", SET, "--images", 8, "--out", "r.json")
    text = Path("r.json").read_text().partition('"tensors"')[0] + '"tensors": {"x": {"mse": [0, 1]}}}'
    Path("few.json").write_text(text)
    folder = tmp_path.parent / f"{tmp_path.name}.json"
    folder.mkdir()
    names = {"MODEL": str(tiny_model), "INT8": str(tiny_int8_model), "DIR": str(folder)}

    with pytest.raises(kind, match=message):
        CliRunner().invoke(app, [names.get(a, a) for a in arguments], catch_exceptions=False)
    assert {path.name for path in tmp_path.iterdir()} == {"r.json", "few.json"}
