"""A whole profile around measurements that are made up: what is kept, dropped, told and saved."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from edge_seg.apps.profile import run_profile
from edge_seg.apps.profile.measure import Plan
from edge_seg.apps.profile.rows import Latency, Minute, Profile, Row, Soak
from edge_seg.apps.profile.run_profile import Extras, profile_all
from edge_seg.apps.profile.store import read_profile
from edge_seg.errors import ModelError

PLAN = Plan(1, 0.01, "drive:seed=1,size=96x72", 2, None)
TIMES = Latency(1.0, 1.0, 2.0, 3.0, (1.0,), 5)


def asked(*paths: Path) -> list[Row]:
    return [Row(path.name, str(path), "onnxruntime") for path in paths]


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are not measured: those named broken fail, the others have a latency."""

    def measure(
        rows: Sequence[Row], plan: Plan, *, on_step: Callable[[], None], save: Callable[[Sequence[Row]], None]
    ) -> list[Row]:
        failed = "Its process was killed."
        found = [
            replace(row, error=failed) if "broken" in row.model else replace(row, latency_ms=TIMES) for row in rows
        ]
        save(found)
        return found

    monkeypatch.setattr(run_profile, "measure", measure)


def test_a_file_under_another_path_does_not_come_twice(tiny_model: Path, tiny_int8_model: Path, tmp_path: Path) -> None:
    moved = shutil.copy(tiny_model, tmp_path / "moved.onnx")
    profile_all(asked(tiny_model, tiny_int8_model), PLAN, tmp_path, Extras(), "first")

    found = profile_all(asked(moved), PLAN, tmp_path, Extras(), "second")

    assert [row.path for row in found.rows] == [str(moved), str(tiny_int8_model)]
    assert read_profile(tmp_path / "profile.json").rows == found.rows


def test_a_profile_of_failures_alone_is_written_and_is_an_error(tiny_model: Path, tmp_path: Path) -> None:
    broken = [Path(shutil.copy(tiny_model, tmp_path / name)) for name in ("broken-1.onnx", "broken-2.onnx")]

    with pytest.raises(ModelError, match=r"^Nothing could be measured\. broken-1\.onnx, onnxruntime: Its process"):
        profile_all(asked(*broken), PLAN, tmp_path, Extras(), "edge-seg profile")

    assert [row.error for row in read_profile(tmp_path / "profile.json").rows] == ["Its process was killed."] * 2
    assert "Its process was killed." in (tmp_path / "profile.md").read_text()


def test_a_soak_that_its_row_leaves_out_is_told(tiny_model: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copy(tiny_model, tmp_path / "broken.onnx"))

    with pytest.raises(ModelError, match=r"killed\. The soak was left out\.$"):
        profile_all(asked(broken), PLAN, tmp_path, Extras(soak_s=1.0), "edge-seg profile")


def test_one_row_that_fails_is_no_error_of_the_profile(tiny_model: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copy(tiny_model, tmp_path / "broken.onnx"))

    found = profile_all(asked(broken, tiny_model), PLAN, tmp_path, Extras(), "edge-seg profile")

    assert [row.error is None for row in found.rows] == [False, True]


def test_a_soak_is_saved_after_each_minute(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[Profile] = []
    minutes = tuple(Minute(number, 30.0, 15.0, 18.0, 300.0) for number in (1, 2))
    whole = Soak("tiny", "drive", minutes, "Steady.")

    def soak(path: Path, runtime: str, *, on_minute: Callable[[Soak], None], **_: object) -> Soak:
        for count in (1, 2):
            on_minute(replace(whole, minutes=minutes[:count], verdict="so far"))
            saved.append(read_profile(tmp_path / "profile.json"))
        return whole

    monkeypatch.setattr(run_profile, "soak", soak)

    found = profile_all(asked(tiny_model), PLAN, tmp_path, Extras(soak_s=120.0), "edge-seg profile")

    assert [one.soak and (len(one.soak.minutes), one.soak.verdict) for one in saved] == [(1, "so far"), (2, "so far")]
    assert found.soak is not None and found.soak.sha256 == found.rows[0].sha256
    assert saved[0].rows == found.rows
    assert read_profile(tmp_path / "profile.json") == found
