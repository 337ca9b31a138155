"""edge-seg lint on the command line: what it prints, writes and ends with."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from edge_seg.apps.cli import app
from edge_seg.errors import EdgeSegError
from edge_seg.export.target import target_here, targets_of
from edge_seg.runners import open_runner
from edge_seg.runners.contract import read_onnx_spec

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 72, 96, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that no name of a temporary folder breaks."""
    monkeypatch.setenv("COLUMNS", "300")


def invoke(*arguments: object, code: int = 0) -> str:
    """Standard output of a command that must end with `code`."""
    result = CliRunner().invoke(app, ["lint", *(str(a) for a in arguments)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


def report(*arguments: object, code: int = 0) -> dict[str, Any]:
    """The JSON of a command."""
    found: dict[str, Any] = json.loads(invoke(*arguments, "--json", code=code))
    return found


def test_a_clean_file_says_so_in_one_line(tiny_int8_model: Path) -> None:
    text = invoke(tiny_int8_model, "--target", "onnxruntime-x86")

    assert text == f"{tiny_int8_model} for onnxruntime-x86: nothing to complain of.\n"


def test_what_is_refused_ends_with_1(tiny_int8_model: Path) -> None:
    lines = invoke(tiny_int8_model, "--target", "tensorrt", "--jetpack", "6.1", code=1).splitlines()

    assert lines[0].startswith(f"{tiny_int8_model} for TensorRT 10.3: ")
    assert "refused  uint8-activations: uint8 activations" in lines
    severities = [line.split()[0] for line in lines[1:] if not line.startswith(" ")]
    assert severities == sorted(severities, key=["refused", "float", "slow", "accuracy"].index)


def test_what_is_not_refused_ends_with_0(tiny_model: Path) -> None:
    text = invoke(tiny_model, "--target", "onnxruntime-arm")

    assert "1 finding, none of them refused" in text
    assert "not-quantized" in text


def test_json_names_every_place(eight_bit_model: Path) -> None:
    found = report(eight_bit_model, "--target", "x86-novnni", code=1)

    (finding,) = found["findings"]
    assert (found["target"], found["runtime"]) == ("x86-novnni", "ONNX Runtime")
    assert (finding["rule"], finding["severity"]) == ("eight-bit-weights", "refused")
    assert finding["count"] == len(finding["where"]) > 0
    assert set(finding) == {"rule", "severity", "where", "count", "found", "expected", "fix", "share"}
    assert (found["fixed"], found["written"]) == ([], None)


def test_targets_that_quantize_chooses_for_are_known(tiny_int8_model: Path) -> None:
    """The file is one for this machine."""
    here = "openvino" if targets_of("auto")[1] == "openvino" else target_here().name
    found = report(tiny_int8_model, "--target", "openvino")

    assert invoke(tiny_int8_model, "--target", "auto") == f"{tiny_int8_model} for {here}: nothing to complain of.\n"
    assert (found["target"], found["runtime"]) == ("openvino", "OpenVINO")


def test_a_jetson_is_named_by_the_number_that_it_prints(tiny_model: Path) -> None:
    for option, version in (("--jetpack", "6.2.1"), ("--tensorrt", "10.3.0")):
        found = report(tiny_model, "--target", "tensorrt", option, version, code=1)

        assert found["runtime"] == "TensorRT 10.3"


def test_many_places_are_counted_and_the_advice_stands_once(tiny_model: Path, tiny_int8_model: Path) -> None:
    many = invoke(tiny_int8_model, "--target", "tensorrt", code=1)
    ends = invoke(tiny_model, "--target", "tensorrt", code=1)

    assert " more\n" in many
    assert ends.count("uint8-inside: ") == 2
    assert ends.count("--fix moves the first Cast to the input") == 1


def test_fix_writes_a_file_that_tensorrt_reads(tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "mended.onnx"
    before = tiny_model.read_bytes()

    found = report(tiny_model, "--target", "tensorrt", "--fix", "--out", out)

    assert (found["fixed"], found["written"]) == (["uint8-inside"], str(out))
    assert [finding["rule"] for finding in found["findings"]] == ["not-quantized"]
    assert tiny_model.read_bytes() == before
    assert read_onnx_spec(out) == read_onnx_spec(tiny_model)
    nodes = list(onnx.load(out).graph.node)
    assert (nodes[0].op_type, [node.op_type for node in nodes[-3:]]) == ("Cast", ["ArgMax", "Cast", "Cast"])
    with open_runner(tiny_model, "onnxruntime") as one, open_runner(out, "onnxruntime") as other:
        assert np.array_equal(one.infer(IMAGES), other.infer(IMAGES))


def test_fix_names_its_file_and_says_what_was_mended(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(tiny_model.read_bytes())
    monkeypatch.chdir(tmp_path)

    assert f"Mended uint8-inside: {tmp_path / 'mine.fixed.onnx'}" in invoke(path, "--target", "tensorrt", "--fix")
    assert "Mended uint8-inside: edge-seg-s.fixed.onnx" in invoke("edge-seg-s-fp32", "--target", "tensorrt", "--fix")
    assert sorted(os.listdir()) == ["edge-seg-s.fixed.onnx", "mine.fixed.onnx", "mine.onnx"]


def test_fix_without_anything_mechanical_writes_nothing(eight_bit_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "never.onnx"

    text = invoke(eight_bit_model, "--target", "x86-novnni", "--fix", "--out", out, code=1)

    assert "Nothing of it can be mended mechanically; no file is written." in text
    assert not out.exists()


def test_names_with_brackets_are_printed_as_they_are(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "[red]net.onnx"
    path.write_bytes(tiny_model.read_bytes())

    assert invoke(path, "--target", "onnxruntime-x86").startswith(f"{path} for")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--target", "tensorrt", "--jetpack", "6.1", "--tensorrt", "10.3"], "both name a TensorRT"),
        (["--target", "onnxruntime-x86", "--jetpack", "6.1"], "belong to --target tensorrt"),
        (["--target", "tensorrt", "--out", "a.onnx"], "Add --fix"),
        (["--target", "tensorrt", "--fix", "--out", "a.engine"], "expected a name ending in .onnx"),
        (["--target", "tensorrt", "--fix", "--out", "TINY"], "is the model itself"),
        ([], "Missing option '--target'"),
    ],
)
def test_wrong_usage_is_told(options: list[str], said: str, tiny_model: Path) -> None:
    typed = [str(tiny_model) if option == "TINY" else option for option in options]
    result = CliRunner().invoke(app, ["lint", str(tiny_model), *typed])

    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.onnx", "--target", "tensorrt"], "No model 'nowhere.onnx'"),
        (["TEXT", "--target", "tensorrt"], "is no ONNX model"),
        (["edge-seg-s", "--target", "tpu"], "No target 'tpu'. Choose auto, openvino"),
        (["edge-seg-s", "--target", "tensorrt", "--jetpack", "4.6"], "No JetPack '4.6' is known"),
        (["edge-seg-s-fp32", "--target", "tensorrt", "--fix", "--out", "no/a.onnx"], "no/a.onnx cannot be written"),
    ],
)
def test_bad_input_is_told(arguments: list[str], message: str, tmp_path: Path) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("no model")

    with pytest.raises(EdgeSegError, match=message):
        invoke(*(text if argument == "TEXT" else argument for argument in arguments))
