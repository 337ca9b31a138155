"""`edge-seg train --qat` from the command line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("lightning")

from edge_seg.apps.cli import app
from edge_seg.runners.contract import read_onnx_spec
from edge_seg.training.tuning import Tuning

DATA = ("--data", "drive:frames=8,size=96x72", "--test", "drive:seed=3,frames=2,size=96x72", "--workers", "0")
SHORT = (*DATA, "--epochs", "1", "--batch", "4")


def test_from_an_export_to_its_fine_tuned_int8_file(tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "tuned.onnx"
    arguments = ["train", *SHORT, "--init", str(tiny_model), "--qat", "onnxruntime-x86", "--out", str(out)]
    done = CliRunner().invoke(app, [*arguments, "--json"])

    assert done.exit_code == 0, done.output
    scores = json.loads(done.stdout)
    assert f"{tmp_path}/tuned.int8.onnx: INT8 for onnxruntime-x86. For another target: edge-seg quantize" in done.stderr
    spec = read_onnx_spec(tmp_path / "tuned.int8.onnx")
    assert (spec.name, spec.scores) == ("tiny", {"drive seed 3 mIoU": scores["miou"]})
    assert (scores["runtime"], scores["precision"]) == ("onnxruntime", "INT8")
    written = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert written == {
        "tuned.onnx", "tuned.ranges.json", "tuned.int8.onnx", "observed.json", "last.ckpt", "report.png", ".lock"
    }  # fmt: skip

    other = tmp_path / "other.onnx"
    ranges = str(tmp_path / "tuned.ranges.json")
    arguments = ["quantize", str(out), "--ranges", ranges, "--target", "tensorrt", "--out", str(other)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    before = (tmp_path / "tuned.int8.onnx").read_bytes()
    again = [*SHORT, "--init", str(tiny_model), "--qat", "onnxruntime-x86", "--out", str(out), "--resume"]
    assert CliRunner().invoke(app, ["train", *again]).exit_code == 0
    assert (tmp_path / "tuned.int8.onnx").read_bytes() == before


def test_ranges_are_read_from_a_file(tiny_model: Path, tmp_path: Path) -> None:
    ranges = tmp_path / "ranges.json"
    observed = CliRunner().invoke(app, ["calib", "observe", str(tiny_model), *DATA[:2], "--out", str(ranges)])
    assert observed.exit_code == 0, observed.output
    out = tmp_path / "run" / "net.onnx"
    arguments = ["train", *SHORT, "--init", str(tiny_model), "--qat", "tensorrt", "--out", str(out)]
    done = CliRunner().invoke(app, [*arguments, "--ranges", str(ranges), "--method", "percentile"])

    assert done.exit_code == 0, done.output
    assert not (tmp_path / "run" / "observed.json").exists()
    kept, given = (json.loads(path.read_text())["tensors"] for path in (out.with_suffix(".ranges.json"), ranges))
    assert kept == {name: {"percentile": found["percentile"]} for name, found in given.items()}
    printed = done.stderr.partition("For another target: edge-seg ")[2].splitlines()[0].split()
    again = CliRunner().invoke(app, [*printed, "--out", str(tmp_path / "again.onnx")])
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--qat", "auto"], "fine-tunes a trained net"),
        (["--qat", "auto", "--init", "TINY", "--arch", "edge-seg-n"], "--arch: --qat goes on with the net of --init"),
        (["--qat", "auto", "--init", "TINY", "--size", "96x72"], "--size: --qat goes on with the net"),
        (["--qat", "auto", "--init", "TINY", "--freeze", "encoder"], "--freeze: --qat trains the whole net"),
        (["--qat", "auto", "--init", "TINY", "--precision", "bf16"], "--precision bf16: --qat trains"),
        (["--qat", "auto", "--init", "TINY", "--compile"], "--compile: --qat trains"),
        (
            ["--qat", "auto", "--init", "TINY", "--recipe", "camvid"],
            "logit_adjustment in the recipe, clean_statistics in the recipe: --qat writes",
        ),
        (["--qat", "auto", "--init", "TINY", "--method", "median"], "--method median: expected min-max,"),
        (["--qat", "auto", "--init", "TINY", "--out", "a.pt"], "expected the name of an ONNX file, such as a.onnx"),
        (["--qat", "auto", "--init", "TINY", "--out", "TINY"], "would replace the file of --init"),
        (
            ["--qat", "auto", "--init", "TINY", "--data", "camvid:X/test"],
            "chosen on test cannot be measured there",
        ),
        (["--ranges", "a.json"], "--ranges: for a training with --qat alone"),
        (["--method", "mse"], "--method: for a training with --qat alone"),
    ],
)
def test_wrong_usage_is_told(options: list[str], message: str, tiny_model: Path, tmp_path: Path) -> None:
    filled = [str(tiny_model) if option == "TINY" else option for option in options]
    done = CliRunner().invoke(app, ["train", *DATA, *filled], env={"COLUMNS": "300", "TERM": "dumb"})

    assert done.exit_code == 2
    assert message in " ".join(done.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("--ranges", "net.ranges.json"),
        ("--teacher", "net.int8.onnx"),
        ("--teacher", "net.onnx"),
        ("--teacher", "last.ckpt"),
    ],
)
def test_a_file_that_is_read_is_not_replaced(option: str, name: str, tiny_model: Path, tmp_path: Path) -> None:
    given, out = tmp_path / name, tmp_path / "net.onnx"
    given.write_text("of the user")
    arguments = ["train", *SHORT, "--init", str(tiny_model), "--qat", "auto", "--out", str(out), option, str(given)]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "400", "TERM": "dumb"})

    told = " ".join(done.output.replace("│", " ").split())
    assert done.exit_code == 2
    assert f"{given} would replace the file of {option}. Give another --out." in told
    assert [path.name for path in tmp_path.iterdir()] == [name] and given.read_text() == "of the user"


def test_ranges_of_an_earlier_run_are_not_replaced_by_one_that_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    arguments = ["train", *SHORT, "--init", str(tiny_model), "--qat", "auto", "--out", str(tmp_path / "net.onnx")]
    for name in ("last.ckpt", "observed.json"):
        (tmp_path / name).write_text("of an earlier run")
    done = CliRunner().invoke(app, [*arguments, "--data", "drive:seed=9,frames=8,size=96x72"])

    assert "last.ckpt is of an earlier run. Type --resume" in str(done.exception)
    assert (tmp_path / "observed.json").read_text() == "of an earlier run"
    elsewhere = CliRunner().invoke(app, [*arguments[:-1], str(tmp_path / "nowhere" / "net.onnx"), "--resume"])
    assert "There is no run to resume in" in str(elsewhere.exception)


def test_a_folder_in_the_place_of_a_file_is_told_before_the_training(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "net.ranges.json").mkdir()
    arguments = ["train", *SHORT, "--init", str(tiny_model), "--qat", "auto", "--out", str(tmp_path / "net.onnx")]
    done = CliRunner().invoke(app, arguments)

    assert "net.ranges.json is a folder; a file of that name is written. Choose another --out." in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["net.ranges.json"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--qat", "tensorflow", "--init", "TINY"], "No target 'tensorflow'"),
        (["--qat", "auto", "--init", "edge-seg-s"], "quantized already. Give the FP32 file"),
        (["--qat", "auto", "--init", "nothing.onnx"], "No model 'nothing.onnx'"),
        (["--qat", "auto", "--init", "CHECKPOINT"], "is no ONNX model"),
        (["--qat", "auto", "--init", "TINY", "--ranges", "none.json"], "none.json cannot be read"),
        (["--qat", "auto", "--init", "TINY", "--data", "drive:frames=3"], "3 calibration images are too few"),
        (["--qat", "auto", "--init", "edge-seg-n-fp32", "--ranges", "RANGES"], "was observed on another model"),
    ],
)
def test_what_cannot_be_tuned_is_told(
    options: list[str], message: str, tiny_model: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    ranges = tmp_path / "ranges.json"
    ranges.write_text('{"version": 1, "model": "a", "pictures": "", "images": 1, "tensors": {"x": {"mse": [0, 1]}}}')
    names = {"TINY": str(tiny_model), "CHECKPOINT": str(tiny_checkpoint), "RANGES": str(ranges)}
    out = tmp_path / "run" / "net.onnx"
    filled = [names.get(option, option) for option in options]
    done = CliRunner().invoke(app, ["train", *DATA, "--out", str(out), *filled])

    assert done.exit_code == 1, done.output
    assert message in str(done.exception)
    assert not out.exists()


@pytest.mark.parametrize(("rank", "written"), [("0", True), ("1", False)])
def test_of_several_machines_the_first_writes_the_ranges_that_each_observes(
    rank: str, written: bool, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another machine the run's folder may not be there."""
    given: list[Tuning | None] = []
    monkeypatch.setattr("edge_seg.train.train_and_evaluate", lambda _, __, tuning: given.append(tuning))
    monkeypatch.setenv("NODE_RANK", rank)
    out = tmp_path / "run" / "net.onnx"
    arguments = ["train", *SHORT, "--init", str(tiny_model), "--qat", "onnxruntime-x86", "--out", str(out)]
    done = CliRunner().invoke(app, [*arguments, "--nodes", "2"])

    assert done.exit_code == 0, done.output
    assert (out.parent / "observed.json").is_file() == written
    assert given[0] is not None and "ranges" in given[0].fixed


def test_a_net_of_other_classes_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    model = onnx.load(tiny_model)
    entry = next(entry for entry in model.metadata_props if entry.key == "edge_seg.spec")
    entry.value = entry.value.replace("Bicyclist", "Cyclist")
    onnx.save_model(model, tmp_path / "theirs.onnx")
    arguments = ["--init", str(tmp_path / "theirs.onnx"), "--qat", "auto", "--out", str(tmp_path / "net.onnx")]
    done = CliRunner().invoke(app, ["train", *DATA, *arguments])

    assert "has other classes than the model: label 10 is Bicyclist there" in str(done.exception)


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("mask:{}", "has other classes than the training set"),
        ("camvid:{}/train", "2 of the 2 pictures of the test set"),
    ],
)
def test_a_test_set_that_does_not_fit_is_told_before_ranges_are_observed(
    test: str, message: str, tiny_model: Path, tmp_path: Path, write_camvid: Callable[..., None]
) -> None:
    write_camvid(tmp_path, "train")
    for name, of in (("images", "train"), ("labels", "trainannot")):
        shutil.copytree(tmp_path / of, tmp_path / name)
    sets = ["--data", f"camvid:{tmp_path}/train", "--test", test.format(tmp_path)]
    out = ["--out", str(tmp_path / "run" / "net.onnx")]
    done = CliRunner().invoke(app, ["train", *sets, "--init", str(tiny_model), "--qat", "auto", *out])

    assert message in str(done.exception)
    assert not (tmp_path / "run").exists()
