"""`edge-seg profile`, from models to reports: what it measures, what it keeps, and what it says of bad input."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from typer.testing import CliRunner

from edge_seg.apps.cli import app, main
from edge_seg.apps.profile.store import read_profile, write_profile

DATA = "drive:seed=3,frames=3,size=96x72"
QUICK = ["--rounds", "2", "--frames", "3"]


def run(*words: str | Path) -> Any:  # noqa: ANN401
    """The JSON that a profile prints."""
    result = CliRunner().invoke(app, ["profile", "--json", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def profiled(tiny_model: Path, tiny_int8_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the profile of two good files, and of one without a spec."""
    folder = tmp_path_factory.mktemp("profiled")
    model = onnx.load(tiny_model)
    del model.metadata_props[:]
    onnx.save(model, folder / "bare.onnx")
    models = (tiny_model, tiny_int8_model, folder / "bare.onnx")
    found = run(*models, "--runtimes", "onnxruntime", "--batch", "1,2", "--data", DATA, *QUICK, "--out", folder)
    assert found == json.loads((folder / "profile.json").read_text())
    return folder


def test_every_combination_has_all_its_numbers(profiled: Path) -> None:
    rows = read_profile(profiled / "profile.json").rows

    assert [(row.precision, row.batch) for row in rows[:4]] == [("FP32", 1), ("FP32", 2), ("INT8", 1), ("INT8", 2)]
    for row in rows[:4]:
        assert row.error is None
        assert [note.startswith("FPS (loop) is of 2 frames a turn") for note in row.notes] == [True] * (row.batch == 1)
        assert row.latency_ms is not None and row.latency_ms.p50 > 0
        assert row.accuracy is not None and row.accuracy.images == 3
        assert (row.loop is None) == (row.batch == 2)
        assert row.memory_mb and row.load_ms and row.images_per_s
    assert rows[0].accuracy == rows[1].accuracy
    assert all("bare.onnx" in (row.error or "") and row.latency_ms is None for row in rows[4:])


def test_reports_lie_beside_it(profiled: Path) -> None:
    with (profiled / "profile.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 6
    assert (profiled / "profile.md").read_text().count("tiny") > 1
    assert "<svg" in (profiled / "profile.html").read_text()


def test_what_is_measured_is_not_measured_again(profiled: Path, tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    shutil.copytree(profiled, folder)
    kept = read_profile(folder / "profile.json")
    half = replace(kept, rows=(replace(kept.rows[0], loop=None, accuracy=None), *kept.rows[1:]))
    write_profile(half, folder)  # as an interrupted run leaves it

    words = [tiny_model, "--runtimes", "onnxruntime", "--data", DATA, *QUICK, "--out", folder]
    run(*words, "--batch", "1")

    row, *others = read_profile(folder / "profile.json").rows
    assert others == list(half.rows[1:])  # what was not asked for now stays
    assert row.latency_ms == kept.rows[0].latency_ms
    assert row.accuracy == kept.rows[0].accuracy
    assert row.loop is not None and row.loop != kept.rows[0].loop


def test_without_data_there_is_latency_alone(tiny_model: Path, tmp_path: Path) -> None:
    words = [tiny_model, "--runtimes", "onnxruntime", "--threads", "1", *QUICK, "--out", tmp_path]
    found = run(*words, "--source", "drive:seed=1,size=96x72")

    (row,) = found["rows"]
    assert row["accuracy"] is None and row["latency_ms"]["p50"] > 0 and row["threads"] == 1
    assert found["settings"]["data"] == "none"


def test_other_classes_cost_the_accuracy_alone(tiny_model: Path, tmp_path: Path) -> None:
    import cv2
    import numpy as np

    for name in ("images", "labels"):
        (tmp_path / "set" / name).mkdir(parents=True)
    for name in ("a.png", "b.png"):  # two, which make a rate
        cv2.imwrite(str(tmp_path / "set" / "images" / name), np.zeros((8, 8, 3), np.uint8))
        cv2.imwrite(str(tmp_path / "set" / "labels" / name), np.zeros((8, 8), np.uint8))
    (tmp_path / "set" / "classes.csv").write_text("name,r,g,b\nRoad,1,2,3\nCow,4,5,6\n")
    words = [tiny_model, "--runtimes", "onnxruntime", "--data", f"folder:{tmp_path / 'set'}", *QUICK]
    found = run(*words, "--out", tmp_path / "out")

    (row,) = found["rows"]
    assert row["latency_ms"] is not None and row["loop"]["fps"] > 0 and row["accuracy"] is None
    assert any("label 0 is Road there, but Sky in the model" in note for note in row["notes"])


def children_of(parent: int) -> list[int]:
    """The numbers of a process's children."""
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def command_of(pid: int) -> str:
    """A process's command line, empty of one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_a_soak_and_layers_stand_beside_the_rows(tiny_model: Path, tmp_path: Path) -> None:
    words = [str(tiny_model), "--runtimes", "onnxruntime", *QUICK, "--source", "drive:seed=1,size=96x72,frames=20"]
    result = CliRunner().invoke(
        app, ["profile", *words, "--soak", "2s", "--layers", "--out", str(tmp_path)], catch_exceptions=False
    )

    found = read_profile(tmp_path / "profile.json")
    assert found.soak is not None
    assert found.soak.label == found.layers[0].label == found.rows[0].label
    assert found.soak.verdict in " ".join(result.stdout.split())
    assert result.stderr.count("soak: ") == len(found.soak.minutes) == 6
    assert any(layer.gmacs for layer in found.layers[0].layers)


def test_pick_names_the_best_and_its_command(profiled: Path, tiny_model: Path) -> None:
    words = ["profile", str(tiny_model), "--runtimes", "onnxruntime", "--batch", "1,2", "--data", DATA, *QUICK]
    result = CliRunner().invoke(app, [*words, "--out", str(profiled), "--pick", "p95<100000"], catch_exceptions=False)

    assert f"edge-seg run --model {tiny_model.parent}/tiny" in result.stdout


def compare(*words: str | Path) -> Any:  # noqa: ANN401
    """What the command line does with two sides."""
    return CliRunner().invoke(app, ["profile", "--compare", *map(str, words)], catch_exceptions=False)


@pytest.fixture(scope="module")
def two_profiles(profiled: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """profile.json of one row, and of the same three times as slow."""
    old = read_profile(profiled / "profile.json")
    first, paths = old.rows[0], []
    assert first.latency_ms is not None
    for times in (1, 3):
        latency = replace(first.latency_ms, p50=10.0 * times, rounds=(10.0 * times,) * 5)
        paths.append(tmp_path_factory.mktemp("compared, of") / "profile.json")
        write_profile(replace(old, rows=(replace(first, latency_ms=latency),)), paths[-1].parent)
    return paths[0], paths[1]


def test_comparing_ends_with_one_where_something_is_worse(two_profiles: tuple[Path, Path]) -> None:
    quick, slow = two_profiles

    same, worse = compare(quick, quick), compare(quick, slow, "--json")

    assert (same.exit_code, worse.exit_code) == (0, 1)
    assert any("memory MB" in line and "│ none " in line for line in same.stdout.splitlines())  # no interval
    changes = {change["what"]: change for change in json.loads(worse.stdout)["changes"]}
    assert list(changes) == ["p50 ms", "p95 ms", "FPS", "memory MB", "mIoU"]
    assert [what for what, change in changes.items() if change["worse"]] == ["p50 ms"]
    assert changes["p50 ms"]["change"] == pytest.approx(3)


def test_each_side_may_be_several_profiles(
    two_profiles: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, path in zip(("quick.json", "slow.json"), two_profiles, strict=True):
        shutil.copy(path, name)

    mixed = json.loads(compare("quick.json", "quick.json, slow.json", "--json").stdout)["changes"]

    assert mixed[0]["new"] == pytest.approx((10 * 30) ** 0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": {"machine": "another"}}, "The profiles differ in machine"),
        ({"rows": ()}, "The profiles share no combination"),
        (None, "is no profile that this version reads"),
    ],
)
def test_what_cannot_be_compared_is_no_regression(
    change: dict[str, Any] | None,
    message: str,
    two_profiles: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if change is None:
        (tmp_path / "profile.json").write_text("{}")
    else:
        write_profile(replace(read_profile(two_profiles[0]), **change), tmp_path)

    for new in (tmp_path / "profile.json", tmp_path / "nowhere.json"):
        with pytest.raises(SystemExit, match="2"):
            main(["profile", "--compare", str(two_profiles[0]), str(new)])
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert message in told[0] and "nowhere.json is no file" in told[1]


def test_a_size_that_cannot_be_exported_is_an_error_of_its_row(tiny_checkpoint: Path, tmp_path: Path) -> None:
    from edge_seg.apps.profile.sizes import plan_sizes

    planned = plan_sizes(tiny_checkpoint, [(64, 48)], tmp_path / "models", calib=None, name="tiny")
    planned[0].path.mkdir(parents=True)
    words = [tiny_checkpoint, "--sizes", "64x48,96x72", "--runtimes", "onnxruntime", *QUICK]

    found = run(*words, "--source", "drive:seed=1,size=96x72", "--out", tmp_path)

    rows = {row["model"]: row for row in found["rows"]}
    assert rows["tiny 96x72"]["latency_ms"]["p50"] > 0 and rows["tiny 96x72"]["width"] == 96
    assert rows["tiny 64x48"]["error"].startswith("Not exported: ")
    assert "tiny 64x48" in (tmp_path / "profile.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Give one or more models"),
        (["edge-seg-n", "--batch", "0"], "--batch 0: expected whole numbers of 1 to 1024"),
        (["edge-seg-n", "--threads", "two"], "--threads two: expected whole numbers of 0 to 1024"),
        (["edge-seg-n", "--runtimes", "a,,b"], "--runtimes a,,b: expected values with commas between"),
        (["edge-seg-n", "--sizes", "480"], "--sizes 480: expected WxH"),
        (["edge-seg-n", "--sizes", "96x72"], "edge-seg-n is none. Leave --sizes out"),
        (["edge-seg-n", "--calib", DATA], "--calib belongs to --sizes"),
        (["edge-seg-n", "--soak", "half an hour"], "--soak half an hour: expected a duration"),
        (["edge-seg-n", "--soak", "0m"], "--soak 0m: expected a duration"),
        (["edge-seg-n", "--compare", "a", "b"], "Leave the models out"),
    ],
)
def test_wrong_usage_is_told(words: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["profile", *words, "--out", str(tmp_path / "out")])

    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.onnx"], "No model 'nowhere.onnx'"),
        (["edge-seg-n", "--runtimes", "tpu"], "Unknown run-time 'tpu'"),
        (["edge-seg-n", "--pick", "speed>3"], "No field 'speed'"),
        (["edge-seg-n", "--soak", "1s", "--runtimes", "all"], "--soak runs one combination of batch 1"),
        (["edge-seg-n", "--data", "camvid:nowhere"], "nowhere"),
        (["edge-seg-n", "--source", "rtsp://me:secret@there"], "Network addresses cannot be read"),
    ],
)
def test_bad_input_is_told_before_anything_is_measured(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["profile", *words, "--out", str(tmp_path / "out")])

    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_processes_and_keeps_what_was_measured(
    number: signal.Signals, tiny_model: Path, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "edge_seg.apps", "profile", str(tiny_model), "--runtimes", "onnxruntime"]
    words += ["--data", "drive:seed=3,frames=100000,size=96x72", "--source", "drive:seed=1,size=96x72", *QUICK]
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in a shell's background ignore it
    process = subprocess.Popen([*words, "--out", str(tmp_path)], stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, usual)
    try:
        path = tmp_path / "profile.json"
        while not (path.is_file() and read_profile(path).rows[0].loop):  # until only the accuracy is left: minutes
            with suppress(subprocess.TimeoutExpired):
                pytest.fail(f"ended with {process.wait(0.05)}")
        children = children_of(process.pid)
        process.send_signal(number)
        assert "profile.json keeps what was measured" in process.communicate(timeout=60)[1] and process.returncode
        deadline = time.monotonic() + 20  # those that were killed are gone in a moment
        while any(map(command_of, children)) and time.monotonic() < deadline:
            process.poll()
        assert not any(map(command_of, children))
    finally:
        process.kill()

    (row,) = read_profile(tmp_path / "profile.json").rows
    assert row.latency_ms is not None and row.loop is not None and row.accuracy is None
