"""`edge-seg calib images` and `observe` from the command line."""

import json
import shutil
from pathlib import Path

import cv2
import pytest
import typer
from typer.testing import CliRunner, Result

from edge_seg.apps.calibration_data import check_calibration_data
from edge_seg.apps.cli import app
from edge_seg.calib.manifest import manifest_hash, read_manifest
from edge_seg.calib.quantize import open_fp32
from edge_seg.calib.ranges import read_ranges
from edge_seg.data.drive import Drive
from edge_seg.errors import DataError, EdgeSegError, ModelError

DRIVE = "drive:seed=3,frames=60,size=96x72"


def invoke(*arguments: object) -> Result:
    result = CliRunner().invoke(app, ["calib", "images", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_a_set_is_picked_written_and_reported(tmp_path: Path) -> None:
    out = tmp_path / "calib.json"

    done = invoke("--data", DRIVE, "--data", "drive:seed=4,frames=9,size=96x72", "--images", 12, "--out", out, "--json")
    report, manifest = json.loads(done.stdout), read_manifest(out)

    assert report["images"] == len(manifest.pictures) == 12
    assert report["hash"] == manifest_hash(manifest)
    assert [(source["uri"], source["available"]) for source in report["sources"]] == [
        (DRIVE, 60),
        ("drive:seed=4,frames=9,size=96x72", 9),
    ]
    assert sum(source["images"] for source in report["sources"]) == 12
    assert (report["candidates"], report["unreadable"], report["blank"]) == (69, 0, 0)
    assert 0 < report["brightness"]["least"] <= report["brightness"]["median"] <= report["brightness"]["most"] < 1
    assert (report["classes"], report["mirror_agreement"]) == ({}, None)
    assert report["warnings"] == ["12 pictures are few. Better give 100 or more: --images 120"]
    assert "Warning: 12 pictures are few." in done.stderr


def test_an_int8_file_is_no_model_to_pick_by(tiny_int8_model: Path, tmp_path: Path) -> None:
    arguments = ["--data", "nowhere", "--model", str(tiny_int8_model), "--out", str(tmp_path / "c.json")]
    with pytest.raises(ModelError, match=r"quantized already\. Give the FP32 file"):
        CliRunner().invoke(app, ["calib", "images", *arguments], catch_exceptions=False)
    assert not list(tmp_path.iterdir())


def test_without_a_model_the_domain_is_said_to_be_unchecked(tiny_model: Path, tmp_path: Path) -> None:
    common = ["--data", DRIVE, "--images", 8, "--out", tmp_path / "calib.json"]

    assert "Domain not checked, nor classes: give --model." in invoke(*common).stderr
    assert "Domain not checked" not in invoke(*common, "--model", tiny_model).stderr


def test_the_same_command_writes_the_same_file(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        invoke("--data", DRIVE, "--images", 10, "--seed", 5, "--out", tmp_path / name)

    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_people_read_sources_and_classes(tiny_model: Path, tmp_path: Path) -> None:
    done = invoke("--data", DRIVE, "--images", 10, "--model", tiny_model, "--out", tmp_path / "calib.json")

    assert "10 of 60 candidates" in done.stdout
    assert "labels of mirrored pictures that agree 0." in done.stdout
    assert "Bicyclist" in done.stdout
    assert manifest_hash(read_manifest(tmp_path / "calib.json")) in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "nowhere does not exist"),
        (["--data", DRIVE, "--images", "7"], "7 calibration images are too few"),
        (["--data", DRIVE, "--model", "nowhere.onnx"], "No model 'nowhere.onnx'"),
        (["--data", DRIVE, "--out", "no/such/calib.json"], "no/such is no folder. Type: mkdir -p no/such"),
        (["--data", DRIVE, "--out", f"{'x' * 300}.json"], "File name too long"),
    ],
)
def test_bad_input_is_told_and_nothing_written(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(EdgeSegError, match=message):
        CliRunner().invoke(app, ["calib", "images", "--out", "calib.json", *arguments], catch_exceptions=False)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["calib observe", "quantize"])
def test_a_set_whose_picture_has_changed_is_not_calibrated_on(
    command: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for frame in Drive(3, 96, 72, 9):
        cv2.imwrite(f"{frame.index}.png", frame.image)
    invoke("--data", ".", "--images", 9, "--out", "calib.json")
    image = cv2.imread("5.png")
    image[0, 0, 0] ^= 1
    cv2.imwrite("5.png", image)
    before = set(tmp_path.iterdir())
    words = [*command.split(), str(tiny_model), "--manifest", "calib.json", "--out"]
    words += (
        ["ranges.json"]
        if command == "calib observe"
        else ["int8.onnx", "--data", DRIVE.replace("3", "4", 1), "--max-drop", "0.1"]
    )

    with pytest.raises(DataError, match=r"Calibration picture 5\.png .*has other pixels than when it was picked"):
        CliRunner().invoke(app, words, catch_exceptions=False)

    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("arguments", [["--data", DRIVE], ["--out", "a.json"], ["--data", DRIVE, "--out", "a.txt"]])
def test_wrong_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["calib", "images", *arguments]).exit_code == 2


def test_a_number_of_pictures_is_of_no_manifest(tiny_model: Path) -> None:
    arguments = ["calib", "observe", str(tiny_model), "--manifest", "c.json", "--images", "50", "--out", "r.json"]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "300", "TERM": "dumb"})

    assert result.exit_code == 2 and "Those of c.json are all taken" in result.output


UNION = 'classes = "c.csv"\n[[set]]\ndata = "camvid:CamVid/train"\n[[set]]\ndata = "camvid:CamVid/{}"\n'


@pytest.mark.parametrize(
    ("uris", "split"),
    [
        (["camvid:CamVid/test"], "test"),
        (["cityscapes:Cityscapes/val/"], "val"),
        (["camvid:CamVid/train", "films/test"], "test"),
        (["union:test.toml"], "test"),
        (["union:outer.toml"], "test"),
        (["S/test/*.png"], "test"),
        (["S/test/*/*.png"], "test"),
        (["S/test/**/images/*.png"], "test"),
        (["S/test/a.png"], "test"),
        (["S/test/film.mp4"], "test"),
        (["film.mp4"], "test"),
        (["S/test/images"], "test"),
        (["C/leftImg8bit/test/berlin"], "test"),
        (["S/./test/."], "test"),
        (["mine"], "test"),
        (["folder:S/testing"], "test"),
        (["folder:S/valid"], "val"),
        (["S/validation/"], "val"),
    ],
)
@pytest.mark.parametrize(
    "command", ["calib images --out c.json", "calib observe M --out r.json", "calib sensitivity M", "quantize M"]
)
def test_what_tells_the_result_is_not_calibrated_on(
    command: str, uris: list[str], split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("S/test").mkdir(parents=True)
    Path("mine").symlink_to("S/test")
    Path("S/test/film.mp4").touch()
    Path("film.mp4").symlink_to("S/test/film.mp4")
    Path("test.toml").write_text(UNION.format("test"))
    Path("outer.toml").write_text('classes = "c.csv"\n[[set]]\ndata = "union:test.toml"\n')
    given = uris if "images" in command else uris[-1:]
    data = [part for uri in given for part in ("--data", uri)]

    result = CliRunner().invoke(app, [*command.split(), *data], env={"COLUMNS": "300", "TERM": "dumb"})

    assert result.exit_code == 2
    assert f"what is learned or chosen on {split} cannot be measured there" in " ".join(
        result.output.replace("│", " ").split()
    )


@pytest.mark.parametrize("uri", [".", "*.png", "folder:", "camvid:."])
def test_within_a_folder_called_test_nothing_is_calibrated_on(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "test").mkdir()
    monkeypatch.chdir(tmp_path / "test")

    with pytest.raises(typer.BadParameter, match="chosen on test cannot be measured there"):
        check_calibration_data(uri)


@pytest.mark.parametrize("uri", ["test/data/train/images", "test/train/*/*.png", "test/mine", "C/train/test.mp4"])
def test_the_last_name_alone_tells_the_split(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("C/train").mkdir(parents=True)
    Path("C/train/test.mp4").touch()

    check_calibration_data(uri, f"{tmp_path}/{uri}")


def test_val_beside_train_is_not_val_alone(tmp_path: Path) -> None:
    (tmp_path / "both.toml").write_text(UNION.format("val"))
    (tmp_path / "endless.toml").write_text(f'classes = "c.csv"\n[[set]]\ndata = "union:{tmp_path}/endless.toml"\n')
    (tmp_path / "damaged.toml").write_text("set = 3")

    check_calibration_data("camvid:CamVid/train", "camvid:CamVid/val")
    for name in ("both", "endless", "damaged", "nowhere"):
        check_calibration_data(f"union:{tmp_path}/{name}.toml")


def test_a_manifest_of_test_is_not_observed(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    invoke("--data", DRIVE, "--images", 8, "--out", "c.json")
    manifest = Path("c.json").read_text()
    Path("c.json").write_text(manifest.replace(json.dumps(DRIVE), '"camvid:CamVid/test"'))

    result = CliRunner().invoke(
        app, ["calib", "observe", str(tiny_model), "--manifest", "c.json", "--out", "r.json"], env={"COLUMNS": "300"}
    )

    assert result.exit_code == 2 and "what is learned or chosen on test" in result.output
    assert not Path("r.json").exists()


def test_ranges_are_named_after_the_model_and_nothing_is_replaced_unasked(tiny_model: Path, tmp_path: Path) -> None:
    model = tmp_path / "net.onnx"
    shutil.copyfile(tiny_model, model)
    observe = ["calib", "observe", str(model), "--data", DRIVE, "--images", "8"]
    runner = CliRunner(env={"COLUMNS": "300", "TERM": "dumb"})

    assert runner.invoke(app, observe).exit_code == 0
    written = tmp_path / "net.ranges.json"
    assert read_ranges(written, open_fp32(model)).images == 8
    written.write_text("of a fine-tuning")
    result = runner.invoke(app, observe)
    assert result.exit_code == 2 and f"{written} is there already. To replace it: --out" in result.output
    assert written.read_text() == "of a fine-tuning"
    assert runner.invoke(app, [*observe, "--out", str(written)]).exit_code == 0
    assert read_ranges(written, open_fp32(model)).images == 8
