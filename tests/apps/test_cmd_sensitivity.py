"""`edge-seg calib sensitivity` from the command line, its table and its heat map."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from edge_seg.apps.cli import app
from edge_seg.calib.ranges import read_ranges
from edge_seg.calib.rung import read_rung
from edge_seg.calib.sensitivity import LayerEffect, Sensitivity, layers_in
from edge_seg.calib.sensitivity_kept import ClassIou, Setup
from edge_seg.errors import DataError, EdgeSegError, MissingExtraError, ModelError, SinkError
from edge_seg.spec import CAMVID_CLASSES

SET = "drive:seed=3,frames=12,size=96x72"
SHORT = ("--data", SET, "--images", "2")
NAMES = [kind.name for kind in CAMVID_CLASSES]


def invoke(*arguments: object) -> Result:
    """Run a command that succeeds."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def ranges(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ranges") / "r.json"
    invoke("calib", "observe", tiny_model, "--data", SET, "--images", 8, "--out", path)
    return path


def test_layers_are_measured_reported_and_written(tiny_model: Path, ranges: Path, tmp_path: Path) -> None:
    out = tmp_path / "found"
    options = (*SHORT, "--ranges", ranges, "--target", "onnxruntime-x86", "--out", out, "--json")

    done = invoke("calib", "sensitivity", tiny_model, *options, "--budget", 3, "--floats", 1)
    report = json.loads(done.stdout)

    first = report["layers"][0]
    assert (report["model"], report["target"], report["method"]) == ("tiny", "onnxruntime-x86", "min-max")
    assert report["runtime"].startswith("onnxruntime ")
    assert (report["data"], report["images"]) == ("drive seed 3", 2)
    assert (report["evaluations"], report["new"]) == (3, 3)
    assert list(report["fp32"]["class_iou"]) == list(first["class_drop"]) == list(first["class_gain"]) == NAMES
    known = [drop for drop in first["class_drop"].values() if drop is not None]
    assert first["drop"] == pytest.approx(sum(known) / len(known))
    assert first["worst_class_drop"] == max(known) == first["class_drop"][first["worst_class"]]
    assert all(layer["drop"] is None and layer["worst_class"] is None for layer in report["layers"][1:])

    assert list(layers_in(out / "sensitivity.toml")) == [layer["name"] for layer in report["layers"]]
    assert read_rung(out / "sensitivity.toml").floats == tuple(first["nodes"])
    assert layers_in(out / "sensitivity.toml")[first["name"]] == tuple(first["nodes"])
    assert "not measured" in done.stderr
    assert f"mIoU {report['fp32']['miou']:.4f} in FP32" in done.stderr

    again = invoke("calib", "sensitivity", tiny_model, *options, "--budget", 3)
    assert json.loads(again.stdout) == report | {"new": 0}
    assert read_rung(out / "sensitivity.toml").floats == ()


def test_layers_are_judged_where_the_target_is_computed(tiny_model: Path, ranges: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    options = (*SHORT, "--ranges", ranges, "--target", "openvino", "--budget", 1, "--out", tmp_path, "--json")

    assert json.loads(invoke("calib", "sensitivity", tiny_model, *options).stdout)["runtime"].startswith("openvino ")


def test_ranges_are_observed_once_and_kept(
    tiny_model: Path, ranges: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = Path("mine.onnx")
    model.write_bytes(tiny_model.read_bytes())

    invoke("calib", "sensitivity", model, *SHORT, "--budget", 1)

    kept = Path("mine.sensitivity/ranges.json")
    assert read_ranges(kept).pictures == SET
    assert read_ranges(kept).images == 12
    done = invoke("calib", "sensitivity", model, *SHORT, "--budget", 1, "--json")
    assert json.loads(done.stdout)["new"] == 0
    other = ["calib", "sensitivity", "mine.onnx", "--data", "drive:seed=4,frames=12,size=96x72", "--images", "2"]
    with pytest.raises(DataError, match=rf"was observed on {SET}, not on drive:seed=4.*give another --out"):
        CliRunner().invoke(app, other, catch_exceptions=False)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (("MODEL", *SHORT, "--ranges", "RANGES", "--target", "tpu"), ModelError, "No target 'tpu'"),
        (("MODEL", "--data", "nowhere"), DataError, "No data set 'nowhere'"),
        (("MODEL", *SHORT, "--ranges", "nowhere.json"), DataError, r"nowhere\.json cannot be read"),
        (("edge-seg-n-fp32", *SHORT, "--ranges", "RANGES"), DataError, "observed on another model"),
        (("INT8", *SHORT, "--ranges", "RANGES"), ModelError, "quantized already"),
        (("MODEL", "--data", "mask:masks"), DataError, "has other classes than the model: label 0 is"),
        (("MODEL", "--data", "camvid:."), DataError, "train"),
        (
            ("MODEL", "--data", SET, "--images", "2", "--out", "no/such"),
            SinkError,
            "no is no folder. Type: mkdir -p no",
        ),
        (("MODEL", *SHORT, "--out", "file"), SinkError, "file is no folder. Choose another --out"),
        (("MODEL", *SHORT, "--out", "/proc/new"), SinkError, r"/proc/new cannot be written: .*Choose another --out"),
        (("MODEL", *SHORT, "--out", "x" * 300), SinkError, "File name too long"),
        (("MODEL", "--data", "drive:frames=7,size=96x72"), DataError, "7 calibration images are too few"),
    ],
)
def test_bad_input_is_told_and_nothing_written(
    arguments: tuple[str, ...],
    kind: type[EdgeSegError],
    message: str,
    tiny_model: Path,
    tiny_int8_model: Path,
    ranges: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    for name in ("images", "labels"):
        Path("masks", name).mkdir(parents=True)
        cv2.imwrite(f"masks/{name}/a.png", np.zeros((6, 8), np.uint8))
    before = sorted(tmp_path.rglob("*"))
    names = {"MODEL": str(tiny_model), "INT8": str(tiny_int8_model), "RANGES": str(ranges)}

    with pytest.raises(kind, match=message):
        CliRunner().invoke(app, ["calib", "sensitivity", *(names.get(a, a) for a in arguments)], catch_exceptions=False)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_runtime_that_is_missing_is_told_before_a_set_is_opened(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("edge_seg.data.open_dataset", lambda uri: pytest.fail("the set was opened"))
    arguments = ["calib", "sensitivity", str(tiny_model), *SHORT, "--target", "openvino", "--out", str(tmp_path / "s")]

    with pytest.raises(MissingExtraError, match="The run-time openvino is not installed"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


@pytest.mark.parametrize("wrong", [("--budget", "0"), ("--images", "0"), ("--floats", "-1"), ("--method", "kl")])
def test_wrong_usage(wrong: tuple[str, str], tiny_model: Path) -> None:
    assert CliRunner().invoke(app, ["calib", "sensitivity", str(tiny_model), *SHORT, *wrong]).exit_code == 2


def test_without_matplotlib_all_but_the_heat_map_is_there(
    tiny_model: Path, ranges: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out = tmp_path / "found"

    done = invoke("calib", "sensitivity", tiny_model, *SHORT, "--ranges", ranges, "--budget", 1, "--out", out)

    assert "Without a heat map. This needs matplotlib" in done.stderr
    assert "all layers in INT8" in done.stdout
    assert {path.name for path in out.iterdir()} == {"evaluations.json", "sensitivity.toml"}


def test_a_file_that_cannot_be_written_does_not_cost_the_report(tiny_model: Path, ranges: Path, tmp_path: Path) -> None:
    (tmp_path / "sensitivity.toml").mkdir()
    arguments = ["calib", "sensitivity", str(tiny_model), *SHORT, "--ranges", str(ranges), "--budget", "1"]

    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path), "--json"])

    assert isinstance(result.exception, SinkError)
    assert json.loads(result.stdout)["evaluations"] == 1


def table(drops: list[ClassIou | None], kinds: list[str], names: list[str] | None = None) -> Sensitivity:
    """Layers of these drops, and no gains."""
    labels = names or [f"/net/stages.{number}/stages.{number}.0/Conv" for number in range(len(drops))]
    layers = tuple(LayerEffect(name, (name,), 20.0, drop) for name, drop in zip(labels, drops, strict=True))
    setup = Setup("m", "r", "d", 2, "tensorrt", "mse-symmetric", "openvino 1")
    return Sensitivity("tiny $x$", "the set", setup, dict.fromkeys(kinds, 0.5), dict.fromkeys(kinds, 0.4), layers, 2, 2)


def draw(found: Sensitivity) -> np.ndarray:
    """The heat map's picture, BGR."""
    pytest.importorskip("matplotlib")
    from edge_seg.apps.heat_map import draw_heat_map

    image = cv2.imdecode(np.frombuffer(draw_heat_map(found), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def count(image: np.ndarray, rgb: tuple[int, int, int]) -> int:
    return int((np.abs(image.astype(int) - rgb[::-1]).max(axis=2) < 6).sum())


RED, BLUE, GREY = (103, 0, 31), (5, 48, 97), (227, 231, 235)
"""The two ends of matplotlib's RdBu, and what was not measured."""


def test_a_layer_that_costs_is_red_and_what_was_not_measured_is_grey() -> None:
    worse, better = (
        draw(table([{"Road": 0.01, "Sky": 0.01}], ["Road", "Sky"])),
        draw(table([{"Road": -0.01}], ["Road"])),
    )
    cell = 40 * 15

    assert count(worse, RED) > 3 * cell > count(better, RED)
    assert count(better, BLUE) > 2 * cell > count(worse, BLUE)
    assert count(worse, GREY) > 3 * cell  # the other side
    assert count(draw(table([{"Road": 0.0, "Car": None}], ["Road", "Car"])), GREY) > count(
        draw(table([{"Road": 0.0, "Car": 0.0}], ["Road", "Car"])), GREY
    )


def test_noise_is_pale() -> None:
    assert count(draw(table([{"Road": 0.0001}], ["Road"])), RED) < 2000  # of the scale's bar


@pytest.mark.parametrize(
    ("layers", "kinds", "names"),
    [
        (1, ["Road"], ["head"]),
        (40, NAMES, None),
        (3, [f"class {number}" for number in range(100)], None),
        (2, ["_back$ground$", "$x^{$", "été 道路"], ["/a" * 200, "\n\t$"]),
    ],
    ids=["least", "many layers", "many classes", "odd names"],
)
def test_every_table_can_be_drawn(layers: int, kinds: list[str], names: list[str] | None) -> None:
    image = draw(table([dict.fromkeys(kinds, 0.002)] * layers, kinds, names))

    assert image.shape[0] >= 20 * layers
    assert image.shape[1] >= 20 * len(kinds)
    assert image.std() > 5
