"""train, export, quantize, eval and models from the command line, in the order in which a user types them."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_seg.apps.cli import app
from edge_seg.errors import EdgeSegError
from edge_seg.runners.contract import read_onnx_spec
from edge_seg.weights import BUNDLED, FOLDER

SET = "drive:seed=3,frames=8,size=480x360"


def invoke(*arguments: object) -> str:
    """Standard output of a command that must succeed."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_from_training_to_int8(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    checkpoint = tmp_path / "net.pt"
    common = ["--arch", "edge-seg-n", "--epochs", 1, "--batch", 2, "--workers", 0, "--precision", "fp32"]

    trained = json.loads(
        invoke("train", "--data", "drive:frames=4", "--test", SET, *common, "--out", checkpoint, "--json")
    )
    invoke("export", checkpoint)
    invoke("quantize", tmp_path / "net.onnx", "--data", SET, "--out", tmp_path / "net.int8.onnx", "--images", 8)
    scores = [
        json.loads(invoke("eval", tmp_path / name, "--data", SET, "--json"))
        for name in ("net.pt", "net.onnx", "net.int8.onnx")
    ]

    assert [(s["runtime"], s["precision"], s["images"]) for s in scores] == [
        ("torch", "FP32", 8),
        ("openvino", "FP32", 8),
        ("openvino", "INT8", 8),
    ]
    assert trained["miou"] == scores[0]["miou"]
    assert scores[1]["miou"] == pytest.approx(scores[0]["miou"], abs=0.01)
    assert list(scores[0]["class_iou"])[:2] == ["Sky", "Building"]


def test_scores_for_people_are_those_of_the_report(tiny_model: Path) -> None:
    command = "eval", tiny_model, "--data", "drive:frames=2,size=96x72", "--runtime", "onnxruntime"
    text, scores = invoke(*command), json.loads(invoke(*command, "--json"))

    assert "tiny FP32 on onnxruntime, drive seed 1, 2 images" in text
    shown = {name: "-" if iou is None else f"{iou:.4f}" for name, iou in scores["class_iou"].items()}
    assert len(shown) == 11
    for name, iou in shown.items():
        assert re.search(rf"^\W*{name}\W+?{re.escape(iou)}\s", text, re.MULTILINE), name

    keys = ["miou", "class_accuracy", "global_accuracy", "boundary_f1", "dice"]
    miou, recall, whole, boundary, dice = values = [f"{scores[key]:.4f}" for key in keys]
    assert len(set(values)) == len(keys)
    assert re.search(rf"mean \(mIoU, class average\)\W+{miou}\W+{recall}\s", text)
    assert re.search(rf"global accuracy {whole}\s+boundary F1 {boundary}\s+Dice {dice}\s", text)


def test_record_writes_the_score_into_the_users_own_file(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(tiny_model.read_bytes())

    scores = json.loads(invoke("eval", path, "--data", "drive:frames=2,size=96x72", "--record", "--json"))

    assert read_onnx_spec(path).scores["drive seed 1 mIoU"] == scores["miou"]


@pytest.mark.parametrize("model", ["edge-seg-s", str(FOLDER / BUNDLED["edge-seg-s"]), "mine.pt"])
def test_record_is_refused_before_any_work(tmp_path: Path, model: str) -> None:
    (tmp_path / "mine.pt").touch()
    name = str(tmp_path / model) if model == "mine.pt" else model
    before = {path: path.read_bytes() for path in FOLDER.glob("*.onnx")}
    result = CliRunner().invoke(app, ["eval", name, "--data", "camvid:nowhere", "--record"])

    said = " ".join(result.stderr.replace("│", " ").split())
    assert result.exit_code == 2
    assert ("Export it first: edge-seg export" if model == "mine.pt" else "and give the copy's path") in said
    assert {path: path.read_bytes() for path in FOLDER.glob("*.onnx")} == before


def test_models_lists_scores_and_licence() -> None:
    text, report = invoke("models"), json.loads(invoke("models", "--json"))

    assert "non-commercial" in text
    assert set(report) == set(BUNDLED)
    assert all(spec["scores"] for spec in report.values())


def test_a_model_is_not_written_over_itself(tiny_model: Path) -> None:
    before = tiny_model.read_bytes()
    for out in (tiny_model, tiny_model.with_suffix(".json")):
        result = CliRunner().invoke(app, ["quantize", str(tiny_model), "--data", SET, "--out", str(out)])
        assert result.exit_code == 2
    assert tiny_model.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["eval", "nowhere.onnx", "--data", SET], "No model 'nowhere.onnx'"),
        (["eval", "TINY", "--data", "camvid:nowhere/test"], "nowhere is not a folder"),
        (["quantize", "TINY", "--data", "drive:frames=3"], "3 calibration images are too few"),
        (["export", "TINY", "--out", "never.onnx"], "is no checkpoint of edge-seg train"),
        (["export", "."], r"\. is no file\. Give a checkpoint of edge-seg train"),
        (["export", f"{'x' * 300}.pt"], "cannot be reached: File name too long"),
        (["quantize", "TINY", "--data", SET, "--out", f"{'x' * 300}.onnx"], "cannot be reached: File name too long"),
        (["train", "--data", SET, "--out", f"{'x' * 300}/a.pt"], "cannot be reached: File name too long"),
        (["train", "--data", SET, "--out", f"{__file__}/a.pt"], "cannot be reached: Not a directory"),
    ],
)
def test_bad_input_is_told(arguments: list[str], message: str, tiny_model: Path) -> None:
    if arguments[0] in ("export", "train"):
        pytest.importorskip("torch" if arguments[0] == "export" else "lightning")
    typed = [str(tiny_model) if a == "TINY" else a for a in arguments]

    with pytest.raises(EdgeSegError, match=message):
        CliRunner().invoke(app, typed, catch_exceptions=False)


def test_an_unknown_precision_is_wrong_usage() -> None:
    pytest.importorskip("lightning")
    result = CliRunner().invoke(app, ["train", "--data", SET, "--precision", "fp8"])

    assert result.exit_code == 2
    assert "expected auto, bf16, fp32" in result.output


@pytest.mark.parametrize("name", ["mine", "mine.onnx", "folder.pt"])
def test_a_checkpoints_name_is_checked_before_training(name: str, tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    (tmp_path / "folder.pt").mkdir()
    result = CliRunner().invoke(app, ["train", "--data", "drive:frames=4", "--out", str(tmp_path / name)])

    assert result.exit_code == 2
    assert "expected the name of a checkpoint" in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize("option", ["--init", "--teacher"])
@pytest.mark.parametrize("named", [True, False], ids=["named", "of itself"])
def test_a_checkpoint_that_would_replace_its_beginning_is_wrong_usage(
    option: str, named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lightning")
    monkeypatch.chdir(tmp_path)
    out = Path("runs", "edge-seg-s", "edge-seg-s.pt")
    out.parent.mkdir(parents=True)
    out.write_bytes(b"weights")
    (tmp_path / "link.pt").symlink_to(out)
    arguments = ["train", "--data", "drive:frames=4", option, "link.pt", *(["--out", str(out)] if named else [])]
    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 2
    said = " ".join(result.stderr.replace("│", " ").split())
    assert "would replace a model that the run begins with. Choose another name." in said
    assert out.read_bytes() == b"weights"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data", "folder:mine"], "--test is missing: folder:mine brings no test set along"),
        (["--data", "drive:frames=4", "--size", "480"], "--size 480: expected WxH, such as 480x360, of 32 to 4096"),
        (["--data", "drive:frames=4", "--size", "16x16"], "--size 16x16: expected WxH"),
        (["--data", "drive:frames=4", "--freeze", "head"], "--freeze head: expected encoder"),
        (["--data", "drive:frames=4", "--encoder-weights", "best"], "best: expected random or published"),
        (
            ["--data", "drive:frames=4", "--freeze", "encoder"],
            "would keep weights of chance. Give a trained net: --init edge-seg-s-fp32",
        ),
        (
            ["--data", "drive:frames=4", "--freeze", "encoder", "--arch", "edge-seg-l"],
            "Give a trained net: --init FILE.pt",
        ),
        (
            ["--data", "drive:frames=4", "--freeze", "encoder", "--arch", "timm:resnet18"],
            "would keep weights of chance. Give the encoder's own weights: --encoder-weights published, or",
        ),
    ],
)
def test_wrong_usage_of_train_is_told(options: list[str], said: str) -> None:
    pytest.importorskip("lightning")
    result = CliRunner().invoke(app, ["train", *options])

    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("options", "later"),
    [
        (["--init", "nowhere.pt"], "No model 'nowhere"),
        (["--encoder-weights", "published", "--arch", "edge-seg-n"], "Nobody publishes"),
        (["--resume"], "no run to resume"),
    ],
)
def test_what_is_trained_already_may_be_frozen(options: list[str], later: str, tmp_path: Path) -> None:
    """Each is refused for another reason, and later."""
    pytest.importorskip("lightning")
    common = ["--data", "drive:frames=8", "--freeze", "encoder", "--out", str(tmp_path / "net.pt"), "--workers", "0"]

    with pytest.raises(EdgeSegError, match=later):
        CliRunner().invoke(app, ["train", *common, *options], catch_exceptions=False)
