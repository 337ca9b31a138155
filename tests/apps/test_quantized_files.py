"""The files that `edge-seg quantize` writes and finds beside its INT8 file: all are of it, or none."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_seg.apps.cli import app
from edge_seg.apps.ladder import files_beside, stale_beside
from edge_seg.calib.gates import Step
from edge_seg.calib.ladder import Ladder
from edge_seg.calib.ranges import Ranges
from edge_seg.calib.rung import Rung
from edge_seg.errors import SinkError

SET = "drive:seed=3,frames=24,size=96x72"


def test_what_a_ladder_left_beside_a_file_stays_with_a_warning(tiny_model: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "fast.onnx", tmp_path / "other.json"
    ranges, rung = files_beside(out)
    observe = ["calib", "observe", str(tiny_model), "--data", SET, "--images", "8", "--out", str(ranges)]
    CliRunner().invoke(app, observe, catch_exceptions=False)
    other.write_bytes(ranges.read_bytes())
    rung.write_text('target = "onnxruntime-x86"')

    def told(*given: str) -> str:
        quantize = ["quantize", str(tiny_model), "--out", str(out), *given]
        found = CliRunner().invoke(app, quantize, catch_exceptions=False).stderr
        assert sorted(tmp_path.iterdir()) == sorted((out, other, ranges, rung))
        return found

    plain = ("--target", "onnxruntime-x86", "--ranges")
    assert "Warning" not in told(*plain, str(other))  # there was no file that they could tell of
    assert "Warning" not in told("--ranges", str(ranges), "--rung", str(rung))
    assert f"Warning: {rung} tells of an earlier fast.onnx." in told(*plain, str(ranges))
    assert f"Warning: {ranges} and {rung} tell of an earlier fast.onnx." in told(*plain, str(other))


def test_ranges_alone_beside_a_file_are_no_ladders(tmp_path: Path) -> None:
    out = tmp_path / "fast.onnx"
    for path in (out, files_beside(out)[0]):
        path.touch()

    assert stale_beside(out, kept=[]) == []


FILES = ("fast.onnx", "fast.ranges.json", "fast.rung.toml")


@pytest.fixture
def new_ladder(monkeypatch: pytest.MonkeyPatch) -> None:
    """What every ladder ends with, without climbing one."""
    step = Step("INT8", Rung(), "onnxruntime", 0.5, 0.0, {"Road": 0.0}, None, ())
    ladder = Ladder((step,), step, b"new", Ranges("m", "p", 8, {"x": {"min-max": (0.0, 1.0)}}))
    monkeypatch.setattr("edge_seg.apps.ladder._measure", lambda *given, **options: ladder)


def refused(tiny_model: Path, out: Path, reason: str) -> None:
    gated = ["quantize", str(tiny_model), "--data", SET, "--max-drop", "1", "--out", str(out)]
    with pytest.raises(SinkError, match=reason):
        CliRunner().invoke(app, gated, catch_exceptions=False)


@pytest.mark.parametrize("failing", FILES)
@pytest.mark.usefixtures("new_ladder")
def test_all_files_of_a_ladder_are_replaced_or_none(
    failing: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / name for name in FILES]
    for path in paths:
        path.write_text("old")
    write = Path.write_bytes

    def on_a_full_disk(path: Path, content: bytes) -> int:
        if path.suffix == Path(failing).suffix and path.parent == tmp_path:
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", on_a_full_disk)
    refused(tiny_model, paths[0], f"{failing} cannot be written: No space left")
    assert [path.read_text() for path in paths] == ["old"] * 3
    assert sorted(tmp_path.iterdir()) == paths


@pytest.mark.parametrize("old", [FILES, ()], ids=["old ones", "none"])
@pytest.mark.parametrize("failing", FILES)
@pytest.mark.usefixtures("new_ladder")
def test_where_a_file_cannot_be_renamed_the_others_are_put_back(
    failing: str, old: tuple[str, ...], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in old:
        (tmp_path / name).write_text("old")
    replace, renamed = os.replace, []

    def of_another_user(source: Path, target: Path) -> None:
        renamed.append(target.name)
        if target.name == failing:
            raise OSError(1, "Operation not permitted")
        replace(source, target)

    monkeypatch.setattr("os.replace", of_another_user)
    refused(tiny_model, tmp_path / "fast.onnx", f"{failing} cannot be written: Operation not permitted")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(old, "old")
    assert "fast.onnx" not in renamed[:2]  # where it is, all is
