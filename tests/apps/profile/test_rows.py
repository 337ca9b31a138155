"""Profiles as JSON: what is written is read back, and what is no profile is told."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edge_seg.apps.profile.from_json import from_json
from edge_seg.apps.profile.rows import (
    Accuracy,
    Latency,
    Layer,
    Layers,
    LoopSpeed,
    Minute,
    Profile,
    Roof,
    Row,
    Soak,
)
from edge_seg.apps.profile.store import check_folder, kept_profile, key_of, read_profile, write_profile
from edge_seg.errors import DataError, SinkError
from edge_seg.metrics import Percentiles

TIMES = Percentiles(1.0, 2.0, 3.0)
ROW = Row(
    "net",
    "net.onnx",
    "onnxruntime",
    sha256="ab",
    accuracy=Accuracy("set", 2, 0.5, {"Sky": 0.5, "Car": None}, (((1, 2), (0, 0)), ((3, 6), (0, 0)))),
    latency_ms=Latency(1.0, 2.0, 3.0, 4.5, (2.0, 2.5)),
    loop=LoopSpeed("drive:seed=1", 25.0, TIMES, {"infer": TIMES}),
    notes=("a note",),
)
LAYERS = Layers("net", (Layer("conv", "Conv", "int8", "compute", 0.5, 0.1, 2.0),), Roof({"int8": 100.0}, 20.0))
SOAK = Soak("net", "drive:seed=1", (Minute(1, 25.0, 1.0, 2.0, 100.0), Minute(2, 24.0, 1.0, 2.0, 100.0)), "Steady.")
PROFILE = Profile("edge-seg profile net", {"cpu": "a CPU"}, (ROW,), (LAYERS,), SOAK, {"data": "set"})


@pytest.mark.parametrize(
    "profile", [PROFILE, replace(PROFILE, rows=(Row("net", "x", "torch", error="gone"),), soak=None)]
)
def test_what_is_written_is_read_back(profile: Profile, tmp_path: Path) -> None:
    write_profile(profile, tmp_path)

    assert read_profile(tmp_path / "profile.json") == profile
    assert from_json(Profile, profile.to_dict()) == profile


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", '{"command": 1, "layers": [3]}', "[" * 100_000, '{"machine": NaN}']
)
def test_what_is_no_profile_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "some.json").write_text(text)

    with pytest.raises(DataError, match=r"is no profile that this version reads .* delete it and make it anew"):
        read_profile(tmp_path / "some.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {}}, r"value\.rows\[\]\.model: \{\} is no str"),
        ({"error": 5}, r"error: 5 is no str"),
        ({"threads": 1.5}, r"threads: 1\.5 is no int"),
        ({"latency_ms": {"min": 1, "p50": "x", "p95": 1, "p99": 1, "rounds": [1]}}, r"p50: 'x' is no float"),
        ({"latency_ms": {"min": 1, "p50": 1, "p95": 1, "p99": 1, "rounds": []}}, "a latency without rounds"),
        ({"accuracy": {"data": "", "images": 1, "miou": 1, "class_iou": {}, "counts": []}}, "counts of other images"),
    ],
)
def test_a_row_that_is_damaged_is_told(change: dict[str, object], message: str, tmp_path: Path) -> None:
    found = json.loads(json.dumps(PROFILE.to_dict()))
    found["rows"][0] |= change
    (tmp_path / "some.json").write_text(json.dumps(found))

    with pytest.raises(DataError, match=message):
        read_profile(tmp_path / "some.json")


def test_keys_of_other_versions_do_no_harm(tmp_path: Path) -> None:
    found = json.loads(json.dumps(PROFILE.to_dict())) | {"new": 1}
    found["rows"][0]["new"] = 1
    del found["rows"][0]["load1"], found["settings"]
    (tmp_path / "some.json").write_text(json.dumps(found))

    assert read_profile(tmp_path / "some.json") == replace(PROFILE, settings={})


def test_a_profile_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is no file\. Give the profile\.json"):
        read_profile(tmp_path / "profile.json")


def test_an_earlier_profile_counts_only_with_the_same_settings(tmp_path: Path) -> None:
    assert kept_profile(tmp_path, {"data": "set"}) is None
    write_profile(PROFILE, tmp_path)

    assert kept_profile(tmp_path, {"data": "set"}) == PROFILE
    with pytest.raises(DataError, match="holds a profile with another data: set, now other"):
        kept_profile(tmp_path, {"data": "other"})
    with pytest.raises(DataError, match="holds a profile with another machine: None, now new"):
        kept_profile(tmp_path, {"data": "set", "machine": "new"})


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")

    with pytest.raises(SinkError, match="cannot be"):
        check_folder(tmp_path / "file")


def test_labels_and_keys_tell_combinations_apart() -> None:
    rows = [ROW, replace(ROW, threads=1), replace(ROW, batch=4, threads=2), replace(ROW, runtime="openvino")]

    assert [row.label for row in rows] == [
        "net, onnxruntime",
        "net, onnxruntime, 1 thread",
        "net, onnxruntime, batch 4, 2 threads",
        "net, openvino",
    ]
    assert len({key_of(row) for row in rows}) == 4
    assert ROW.latency_ms is not None
    assert ROW.latency_ms.jitter == 2.5
