"""A checkpoint at several sizes: files of those sizes, made once, and what cannot be made costs its own rows alone."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("torch")

from edge_seg.apps.profile import sizes
from edge_seg.apps.profile.combinations import combine
from edge_seg.apps.profile.measure import Plan
from edge_seg.apps.profile.rows import Profile
from edge_seg.apps.profile.sizes import make_all, make_rows, plan_sizes
from edge_seg.apps.profile.store import read_profile, write_profile
from edge_seg.errors import DataError, ModelError
from edge_seg.runners import read_spec

SIDES = [(96, 72), (64, 48)]
CALIB = "drive:seed=1,frames=12,size=96x72"
PLAN = Plan(2, 0.01, "drive:seed=1,size=96x72", 3, None)


def test_what_cannot_be_made_does_not_stop_the_others_and_is_made_later(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    planned = plan_sizes(tiny_checkpoint, SIDES, folder, calib=CALIB, name="net")
    assert [sized.name for sized in planned] == ["net 96x72", "net 96x72 INT8", "net 64x48", "net 64x48 INT8"]
    first, second, third, fourth = (sized.path for sized in planned)
    third.mkdir(parents=True)  # where a file should be
    made: list[None] = []

    errors = make_all(planned, on_made=lambda: made.append(None))

    assert list(errors) == [third, fourth]
    assert "Not exported: " in errors[third] and "it is no ordinary file" in errors[third]
    assert len(made) == 4
    times = [path.stat().st_mtime_ns for path in (first, second)]
    third.rmdir()
    assert make_all(planned) == {}
    specs = [read_spec(sized.path) for sized in planned]
    assert [(spec.width, spec.height) for spec in specs[::2]] == [(spec.width, spec.height) for spec in specs[1::2]]
    assert [(spec.width, spec.height) for spec in specs[::2]] == SIDES
    assert [spec.precision for spec in specs] == ["FP32", "INT8"] * 2
    assert [path.stat().st_mtime_ns for path in (first, second)] == times


def fail_at(size: tuple[int, int], model: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files of all sizes but one are copies of a model; that one's process is killed. The paths that were asked for."""
    asked: list[str] = []

    def run_child(module: str, *words: str) -> "subprocess.CompletedProcess[str]":
        asked.append(words[1])
        if words[2:4] == tuple(map(str, size)):
            return subprocess.CompletedProcess([], -9, "", "")
        shutil.copy(model, words[1])
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(sizes, "run_child", run_child)
    return asked


def test_a_process_that_is_killed_is_an_error_of_its_rows(
    tiny_checkpoint: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan_sizes(tiny_checkpoint, SIDES, tmp_path / "models", calib=None, name="net")
    rows = combine([(sized.name, sized.path) for sized in planned], ["onnxruntime"], batches=[1], threads=[1])
    fail_at((64, 48), tiny_model, monkeypatch)

    for _ in range(2):  # an earlier error of the same row is replaced
        assert make_rows(planned, rows, PLAN, tmp_path, "command") == rows[:1]
        (failed,) = read_profile(tmp_path / "profile.json").rows
        assert (failed.model, failed.path) == ("net 64x48", str(planned[1].path))
        assert failed.error == "Not exported: Its process was killed, as it is where memory runs out."

    with pytest.raises(ModelError, match="Nothing can be measured: Not exported: Its process was killed"):
        make_rows(planned[1:], rows[1:], PLAN, tmp_path, "command")


def test_a_folder_with_other_settings_is_refused_before_anything_is_made(
    tiny_checkpoint: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan_sizes(tiny_checkpoint, SIDES, tmp_path / "models", calib=None, name="net")
    asked = fail_at((0, 0), tiny_model, monkeypatch)
    write_profile(Profile("", {}, (), settings={"data": "other"}), tmp_path)

    with pytest.raises(DataError, match="holds a profile with another data: other, now none"):
        make_rows(planned, [], PLAN, tmp_path, "command")
    assert asked == []
