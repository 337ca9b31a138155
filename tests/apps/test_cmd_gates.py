"""`edge-seg quantize` behind gates: what is printed, what is written, and what is written again from it."""

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner

from edge_seg.apps.cli import app
from edge_seg.apps.ladder import files_beside
from edge_seg.calib.gates import Step
from edge_seg.calib.ladder import Ladder
from edge_seg.calib.manifest import manifest_hash, read_manifest
from edge_seg.calib.placement import name_nodes
from edge_seg.calib.ranges import read_ranges
from edge_seg.calib.rung import Rung, read_rung
from edge_seg.errors import DataError
from edge_seg.runners.cpu import lacks_vnni

SET = "drive:seed=3,frames=24,size=96x72"
TARGET = "x86-novnni" if lacks_vnni() else "onnxruntime-x86"
"""What is timed here: exact sums of 8 bits are slow without VNNI."""
LOOSE = ("--target", TARGET, "--data", SET, "--images", "8", "--max-drop", "1", "--max-class-drop", "1")


def test_a_file_that_passes_is_written_with_all_it_was_made_of(tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "fast.onnx"
    result = CliRunner().invoke(
        app,
        ["quantize", str(tiny_model), *LOOSE, "--min-speedup", "0.01", "--out", str(out), "--json"],
        catch_exceptions=False,
    )

    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert [step["name"] for step in report["rungs"]] == ["INT8"] and report["rungs"][0]["reasons"] == []
    assert report["rungs"][0]["speed"]["speedup"] > 0 and report["chosen"] == "INT8"
    ranges, rung = tmp_path / "fast.ranges.json", tmp_path / "fast.rung.toml"
    assert sorted(report["written"]) == sorted(map(str, (out, ranges, rung)))
    assert read_rung(rung).target == TARGET
    again = tmp_path / "again.onnx"
    replay = ["quantize", str(tiny_model), "--ranges", str(ranges), "--rung", str(rung), "--out", str(again)]
    CliRunner().invoke(app, replay, catch_exceptions=False)
    assert again.read_bytes() == out.read_bytes()


def test_where_no_rung_passes_nothing_is_written(tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "fast.onnx"
    result = CliRunner().invoke(
        app,
        ["quantize", str(tiny_model), *LOOSE, "--min-speedup", "1000", "--out", str(out)],
        catch_exceptions=False,
    )

    assert result.exit_code == 1
    assert "No rung passes: nothing is written." in result.stdout
    assert not list(tmp_path.iterdir())


def test_pictures_to_calibrate_on_and_to_judge_by_are_named(tiny_model: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["quantize", str(tiny_model), *LOOSE, "--out", str(tmp_path / "fast.onnx")], catch_exceptions=False
    )

    assert "8 pictures to calibrate on" in result.stderr and "11 pictures to judge by" in result.stderr
    assert "Warning: names of drive seed 3 do not part it by sequences. It is halved" in result.stderr


def test_a_picked_set_calibrates_and_another_drive_judges(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_seg.export.target.is_timed_here", lambda name: False)
    manifest, out = tmp_path / "m.json", tmp_path / "fast.onnx"
    loose = [argument for argument in LOOSE if argument not in ("--images", "8")]
    picked = ["calib", "images", "--data", SET, "--images", "9", "--out", str(manifest)]
    CliRunner().invoke(app, picked, catch_exceptions=False)
    arguments = ["quantize", str(tiny_model), *loose, "--manifest", str(manifest), "--out", str(out), "--data"]

    other = [*arguments, "drive:seed=4,frames=12,size=96x72"]
    result = CliRunner().invoke(app, other, catch_exceptions=False)

    assert f"{manifest}, 9 pictures to calibrate on; drive seed 4, 12 pictures to judge by" in result.stderr
    ranges = read_ranges(files_beside(out)[0])
    assert (ranges.images, ranges.pictures) == (9, manifest_hash(read_manifest(manifest)))
    with pytest.raises(DataError, match="drive seed 3 has 0 pictures of other sequences"):
        CliRunner().invoke(app, [*arguments, SET], catch_exceptions=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--ranges", "r.json", "--max-drop", "0.1"), "give --data, no --method"),
        (("--data", SET, "--max-drop", "0.1", "--method", "mse"), "give --data, no --method"),
        (("--data", SET, "--min-speedup", "2", "--target", "tensorrt"), "not timed on this machine"),
        (("--data", "camvid:CamVid/test", "--max-drop", "1"), "chosen on test cannot be measured there"),
        (("--data", "camvid:CamVid/val"), "chosen on val cannot be measured there"),
        (("--data", SET, "--json"), "belong to gates"),
        (("--data", SET, "--manifest", "m.json"), "--manifest belongs to gates"),
        (("--data", SET, "--max-drop", "1", "--manifest", "m.json", "--images", "50"), "Those of m.json are all taken"),
        (("--ranges", "r.json", "--images", "50"), "Those of r.json are all taken"),
        (("--data", SET, "--rung", "r.toml", "--target", "tensorrt"), "--rung says target, method and float"),
    ],
)
def test_options_that_do_not_go_together_are_told(arguments: tuple[str, ...], message: str, tiny_model: Path) -> None:
    result = CliRunner().invoke(app, ["quantize", str(tiny_model), *arguments])

    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


def test_eight_bits_are_not_timed_without_vnni(cpu_flags: Callable[[str], None], tiny_model: Path) -> None:
    cpu_flags("avx2")
    asked = ["--data", SET, "--min-speedup", "1.05", "--target", "onnxruntime-x86"]
    result = CliRunner().invoke(app, ["quantize", str(tiny_model), *asked])

    assert result.exit_code == 2
    assert "onnxruntime-x86 is not timed on this machine" in " ".join(result.output.replace("│", " ").split())


def test_a_rung_that_needs_its_pictures_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    rung, ranges = tmp_path / "r.toml", tmp_path / "r.json"
    rung.write_text("corrected = true\n")
    CliRunner().invoke(
        app,
        ["calib", "observe", str(tiny_model), "--data", SET, "--images", "8", "--out", str(ranges)],
        catch_exceptions=False,
    )

    with pytest.raises(DataError, match="depend on the pictures"):
        CliRunner().invoke(
            app,
            [
                "quantize",
                str(tiny_model),
                "--ranges",
                str(ranges),
                "--rung",
                str(rung),
                "--out",
                str(tmp_path / "o.onnx"),
            ],
            catch_exceptions=False,
        )
    assert not (tmp_path / "o.onnx").exists()


def test_too_few_pictures_for_two_parts(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="4 and 5 are of different sequences"):
        CliRunner().invoke(
            app,
            ["quantize", str(tiny_model), "--data", "drive:frames=10,size=96x72", "--max-drop", "1"],
            catch_exceptions=False,
        )


def test_a_model_for_another_opset_than_the_targets(tiny_model: Path, tmp_path: Path) -> None:
    model = onnx.load(tiny_model)
    model.opset_import[0].version = 21
    newer = tmp_path / "newer.onnx"
    onnx.save(model, newer)

    result = CliRunner().invoke(app, ["quantize", str(newer), "--data", SET, "--images", "8", "--target", "tensorrt"])

    assert "opset 21; files for tensorrt are written up to 20" in str(result.exception)
    assert list(tmp_path.iterdir()) == [newer]


def test_files_for_tensorrt_are_judged_but_not_timed_here(tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")  # without it the tiny net is too narrow for TensorRT's INT8
    out = tmp_path / "t.onnx"
    arguments = ["quantize", str(tiny_model), "--target", "tensorrt", *LOOSE[2:], "--out", str(out), "--json"]

    result = CliRunner().invoke(app, arguments, catch_exceptions=False)

    (step,) = json.loads(result.stdout)["rungs"]
    assert (step["speed"], step["rung"]["target"]) == (None, "tensorrt")
    assert any(node.op_type == "QuantizeLinear" for node in onnx.load(out).graph.node)


def test_a_manifest_is_not_replaced_by_its_ranges(tiny_model: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "m.json"
    picked = ["calib", "images", "--data", SET, "--images", "8", "--out", str(manifest)]
    CliRunner().invoke(app, picked, catch_exceptions=False)
    before = manifest.read_bytes()

    arguments = ["calib", "observe", str(tiny_model), "--manifest", str(manifest), "--out", str(manifest)]
    assert CliRunner().invoke(app, arguments).exit_code == 2
    assert manifest.read_bytes() == before


@pytest.mark.parametrize(("target", "offered"), [("tensorrt", True), ("onnxruntime-x86", False)])
def test_where_int8_fails_fp16_is_offered_to_tensorrt_alone(
    target: str, offered: bool, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Step("INT8", Rung(target), "onnxruntime", 0.5, 0.1, {"Road": 0.1}, None, ("loses 0.1000 mIoU",))
    monkeypatch.setattr("edge_seg.apps.ladder._measure", lambda *given, **options: Ladder((step,)))
    monkeypatch.setenv("COLUMNS", "400")

    arguments = ["quantize", str(tiny_model), "--target", target, *LOOSE[2:], "--out", str(tmp_path / "t.onnx")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)

    assert result.exit_code == 1
    assert (f"Or without INT8: edge-seg build {tiny_model} --precision fp16" in result.stdout) == offered


def bf16_ladder(content: bytes) -> Ladder:
    """One that ends with the FP32 file."""
    step = Step("FP32 file on openvino-bf16", None, "openvino-bf16", 0.5, 0.0, {"Road": 0.0}, None, ())
    return Ladder((step,), step, content, skipped=("INT8: no layer",))


@pytest.mark.parametrize("named", [False, True], ids=["as it comes", "with --out"])
def test_a_ladder_that_ends_in_bf16_writes_fp32_under_no_int8_name(
    named: bool, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_seg.apps.ladder._measure", lambda *given, **options: bf16_ladder(tiny_model.read_bytes()))
    monkeypatch.setenv("COLUMNS", "400")
    model, out = tmp_path / "mine.onnx", tmp_path / "mine.int8.onnx"
    model.write_bytes(tiny_model.read_bytes())
    for path in (out, *files_beside(out)):
        path.write_text("of an earlier INT8 file")
    before = sorted(tmp_path.iterdir())

    result = CliRunner().invoke(
        app, ["quantize", str(model), *LOOSE, *(["--out", str(out)] if named else [])], catch_exceptions=False
    )

    told = " ".join(result.stdout.split())
    run = f"Type: edge-seg run --model {out if named else model} --runtime openvino-bf16"
    assert result.exit_code == 0 and run in told and "Skipped: INT8: no layer" in told
    if named:
        assert out.read_bytes() == model.read_bytes() and f"{out} is its copy." in told
        assert "rung.toml tell of an earlier mine.int8.onnx" in result.stderr
    else:
        assert "Nothing is written." in told and out.read_text() == "of an earlier INT8 file"
    assert sorted(tmp_path.iterdir()) == before


def test_a_sensitivity_of_another_model_ends_before_any_work(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('model = "abc"\n[[layer]]\nname = "head"\n')

    arguments = ["quantize", str(tiny_model), "--data", "nowhere:", "--max-drop", "1", "--sensitivity", str(path)]
    with pytest.raises(DataError, match=r"s\.toml was measured on another model"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


@pytest.mark.parametrize(("target", "warned"), [("tensorrt", True), (TARGET, False)])
def test_a_sensitivity_of_another_target_is_warned_of(
    target: str, warned: bool, tiny_model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "s.toml"
    model = onnx.load(tiny_model)
    name_nodes(model)
    path.write_text(f'target = "{target}"\n[[layer]]\nname = "{model.graph.node[-1].name}"\n')
    arguments = ["quantize", str(tiny_model), *LOOSE, "--sensitivity", str(path), "--data", "nowhere:"]

    result = CliRunner().invoke(app, arguments)

    assert isinstance(result.exception, DataError)  # of the data set, which comes next
    assert (f"{path} was measured for tensorrt, not for {TARGET}" in result.stderr) == warned
