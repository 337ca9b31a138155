"""`edge-seg verify` from the command line: the report, its JSON, its exit codes and what it says of bad input."""

import inspect
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_seg.apps import cmd_verify
from edge_seg.apps.cli import app, main
from edge_seg.errors import EdgeSegError
from edge_seg.export.divergence import THRESHOLD_DB, LayerParity
from edge_seg.export.verify import ImageParity, Parity, Side, Verification

SET = "drive:seed=3,frames=6,size=96x72"


def invoke(*arguments: object) -> str:
    """Standard output of a command that must succeed."""
    result = CliRunner().invoke(app, ["verify", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_report_has_the_documented_keys(tiny_model: Path, tiny_int8_model: Path) -> None:
    options = ["--data", SET, "--runtime-a", "onnxruntime", "--runtime-b", "onnxruntime", "--images", 3, "--json"]
    report = json.loads(invoke(tiny_model, tiny_int8_model, *options))

    assert list(report)[:8] == ["a", "b", "data", "images", "agreement", "worst_image", "miou", "class_iou"]
    assert list(report)[8:] == ["layers", "layer_images", "no_layers", "threshold_db", "first_divergent"]
    assert report["a"] == {"model": "tiny", "runtime": "onnxruntime", "precision": "FP32"}
    assert report["b"] == {"model": "tiny", "runtime": "onnxruntime", "precision": "INT8"}
    assert (report["data"], report["images"], report["layer_images"]) == ("drive seed 3", 3, 3)
    assert report["threshold_db"] == THRESHOLD_DB
    assert report["worst_image"]["agreement"] <= report["agreement"] < 1
    assert list(report["class_iou"])[:2] == ["Sky", "Building"]
    assert set(report["layers"][0]) == {"name", "b", "matched", "sqnr_db", "diverges"}


def test_people_read_classes_pixels_and_layers(tiny_model: Path, tiny_int8_model: Path) -> None:
    text = invoke(tiny_model, tiny_int8_model, "--data", SET, "--threshold", 200)

    assert "A: tiny FP32 on" in text
    assert "B: tiny INT8 on" in text
    assert "Bicyclist" in text
    assert "pixel agreement 0.9" in text
    assert "worst image drive_3_00000" in text
    assert "first layer that diverges (below 200 dB)" in " ".join(text.split())
    assert "no layer below -200 dB" in " ".join(
        invoke(tiny_model, tiny_int8_model, "--data", SET, "--threshold", -200).split()
    )


def test_where_layers_are_not_compared_the_report_says_why(tiny_model: Path) -> None:
    text = " ".join(invoke(tiny_model, tiny_model, "--data", SET, "--images", 1).split())

    assert "Layers not compared. A and B are one file" in text


def test_layers_matched_by_order_are_told_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    from edge_seg.apps.output import print_report

    layers = (LayerParity("[/stem]", "17", "order", 31.25), LayerParity("head", "19", "order", float("nan")))
    side = Side("tiny", "onnxruntime", "FP32")
    parity = Parity(side, side, 1.0, 1.0, {"Sky": 1.0, "Road": None}, (ImageParity(0, "first", 1.0),))
    print_report({}, cmd_verify.report(Verification("mine", parity, layers)), as_json=False)

    text = capsys.readouterr().out
    assert "[/stem]" in text
    assert "by order: 17" in text
    assert "31.2" in text
    assert "first layer that diverges (below 10 dB): head" in " ".join(text.split())


def test_too_little_agreement_is_exit_code_1_after_the_report(
    tiny_model: Path, tiny_int8_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(tiny_model), str(tiny_int8_model), "--data", SET, "--json", "--least", "1"])

    out, err = capsys.readouterr()
    report = json.loads(out)
    assert ended.value.code == 1
    assert f"edge-seg: A and B agree on {report['agreement']} of the pixels; expected at least 1.0." in err
    assert f"Look at {report['worst_image']['name']}, the worst image" in err


def test_enough_agreement_is_exit_code_0(tiny_model: Path) -> None:
    assert json.loads(invoke(tiny_model, tiny_model, "--data", SET, "--json", "--least", 1))["agreement"] == 1


def test_the_threshold_is_the_librarys() -> None:
    assert inspect.signature(cmd_verify.run).parameters["threshold"].default == THRESHOLD_DB


@pytest.mark.parametrize("option", [["--least", "nan"], ["--least", "1.5"], ["--threshold", "inf"], ["--images", "0"]])
def test_numbers_out_of_range_are_wrong_usage(option: list[str], tiny_model: Path) -> None:
    result = CliRunner().invoke(app, ["verify", str(tiny_model), str(tiny_model), "--data", SET, *option])

    assert result.exit_code == 2
    assert option[0] in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.onnx", "TINY", "--data", SET], "No model 'nowhere.onnx'"),
        (["TINY", "nowhere.pt", "--data", SET], "No model 'nowhere.pt'"),
        (["TINY", "edge-seg-s", "--data", SET], r"A \(tiny\) takes 96x72 pixels, B \(edge-seg-s\) 480x360"),
        (["TINY", "TINY", "--data", SET, "--runtime-b", "torch"], r"The run-time torch takes \.pt files; tiny\.onnx"),
        (["TINY", "TINY", "--data", SET, "--runtime-a", "fast"], "Unknown run-time 'fast'"),
        (["TINY", "INT8", "--data", SET, "--runtime-b", "openvino-bf16"], "need float32"),
        (["TINY", "TINY", "--data", "camvid:nowhere/test"], "nowhere is not a folder"),
    ],
)
def test_bad_input_is_told(arguments: list[str], message: str, tiny_model: Path, tiny_int8_model: Path) -> None:
    pytest.importorskip("openvino")
    typed = [{"TINY": str(tiny_model), "INT8": str(tiny_int8_model)}.get(a, a) for a in arguments]

    with pytest.raises(EdgeSegError, match=message):
        CliRunner().invoke(app, ["verify", *typed], catch_exceptions=False)
