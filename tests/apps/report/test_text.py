"""A profile as CSV and as Markdown."""

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace

from edge_seg.apps.profile.from_json import from_json
from edge_seg.apps.profile.rows import Layers, Profile, Row
from edge_seg.apps.report.findings import shares
from edge_seg.apps.report.text import to_csv, to_markdown


def read(profile: Profile) -> list[dict[str, str]]:
    """The lines of the CSV by their keys."""
    return list(csv.DictReader(io.StringIO(to_csv(profile))))


def test_csv_holds_every_number_with_all_its_digits(profile: Profile) -> None:
    lines = read(profile)
    row, line = profile.rows[4], lines[4]
    assert row.latency_ms and row.loop and row.accuracy and row.images_per_s

    assert len(lines) == len(profile.rows)
    assert float(line["p99_ms"]) == row.latency_ms.p99
    assert float(line["jitter_ms"]) == row.latency_ms.jitter
    assert float(line["images_per_s"]) == row.images_per_s
    assert float(line["fps"]) == row.loop.fps
    assert float(line["infer_p95_ms"]) == row.loop.stages_ms["infer"].p95
    assert float(line["age_p50_ms"]) == row.loop.age_ms.p50
    assert float(line["iou_SignSymbol"]) == row.accuracy.class_iou["SignSymbol"]
    assert (line["data"], line["images"], line["front_p95"]) == ("CamVid test", "233", "yes")
    assert [lines[i]["front_p95"] for i in (0, 6, 11)] == ["no", "", ""]
    assert lines[11]["error"].startswith("TensorRT is not installed")
    assert lines[11]["p95_ms"] == lines[11]["miou"] == lines[11]["iou_Sky"] == ""
    assert read(Profile("", {}, (replace(row, accuracy=None),)))[0]["miou"] == ""
    assert lines[9]["disturbed"] == "load average 5.1 on 2 cores, after 3 repeats"


def test_csv_has_the_same_keys_for_every_profile(profile: Profile, make_row: Callable[..., Row]) -> None:
    bare = make_row(loop=None, joules=None, miou=None, memory_mb=None)
    heads = [to_csv(Profile("", {}, rows)).splitlines()[0] for rows in ((), (bare,), profile.rows)]

    assert heads[0] == heads[1]
    assert re.sub(",iou_.*", "", heads[2]) == heads[0]
    assert heads[0].split(",")[:4] == ["model", "path", "sha256", "name"]


def test_csv_survives_what_stands_in_names(evil_profile: Profile) -> None:
    text = to_csv(evil_profile)
    lines = read(evil_profile)

    assert text.encode()
    assert len(text.splitlines()) == len(evil_profile.rows) + 1 == len(lines) + 1
    assert lines[2]["model"] == "a\"b'c&d|e,f"
    assert lines[6]["model"] == "*x*? line two"
    assert all(None not in line for line in lines)


def tables(text: str) -> list[list[list[str]]]:
    """The tables of a Markdown text, as the cells of their lines."""
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("| ")]
    return [[re.split(r"(?<!\\)\|", line)[1:-1] for line in block] for block in blocks]


def test_markdown_has_a_part_for_everything(profile: Profile) -> None:
    text = to_markdown(profile)

    assert re.findall("^#+ (.*)", text, re.MULTILINE) == [
        *("Accuracy against latency", "Rows", "IoU lost by INT8", "Layers: edge-seg-s, openvino"),
        *("Layers: edge-seg-n, onnxruntime", "Soak: edge-seg-s, openvino on drive seed 1", "Machine", "Command"),
    ]
    assert "Most accurate, within 0.001 of the highest mIoU, is edge-seg-s, openvino with mIoU 0.6431 at p95" in text
    assert "3.30 ms less for 0.0539 mIoU." in text
    assert f"```\n{profile.command}\n```" in text
    rows, drops, layers, other, soak, machine = tables(text)
    assert [len(table) - 2 for table in (rows, drops, layers, other, soak, machine)] == [12, 12, 10, 4, 30, 6]
    assert all(len({len(line) for line in table}) == 1 for table in tables(text))
    assert rows[11][-1] == " beaten by 11; disturbed: load average 5.1 on 2 cores, after 3 repeats "
    assert drops[2] == [" mIoU ", " +0.0003 ", " +0.0004 ", " +0.0006 ", " +0.0004 "]
    assert layers[2][0] == " /head/resize "
    assert "1 float island between INT8 layers" in text


def test_markdown_leaves_out_what_is_not_there(make_row: Callable[..., Row]) -> None:
    text = to_markdown(Profile("edge-seg profile x", {}, (make_row(miou=None, loop=None),)))

    assert re.findall("^## (.*)", text, re.MULTILINE) == ["Rows", "Command"]
    assert "Fastest is edge-seg-s, openvino with p95 8.40 ms; accuracy was not measured." in text
    (rows,) = tables(text)
    assert rows[2][rows[0].index(" mIoU ")] == " no data "


def test_markdown_survives_what_stands_in_names(evil_profile: Profile) -> None:
    text = to_markdown(evil_profile)

    assert text.encode()
    assert "<script>" not in text.rpartition("## Command")[0]
    assert all(len({len(line) for line in table}) == 1 for table in tables(text))
    assert f"````\n{evil_profile.command}\n````" in text


def test_a_soak_tells_only_what_the_machine_tells(profile: Profile) -> None:
    assert profile.soak
    minutes = tuple(replace(m, celsius=None, watts=None, mhz=None, throttled=None) for m in profile.soak.minutes)
    text = to_markdown(replace(profile, soak=replace(profile.soak, minutes=minutes)))

    assert "| minute | FPS | p50 ms | p99 ms | memory MB |" in text
    assert "intervals" not in text


def test_a_short_soak_has_intervals(profile: Profile) -> None:
    assert profile.soak
    text = to_markdown(replace(profile, soak=replace(profile.soak, interval_s=15.0)))

    assert "The rows are intervals of 15 s." in text
    assert "| interval | FPS |" in text and "| minute |" not in text


def test_a_profile_that_was_read_back_gives_the_same_reports(profile: Profile) -> None:
    again = from_json(Profile, profile.to_dict())

    assert to_csv(again) == to_csv(profile)
    assert to_markdown(again) == to_markdown(profile)


def test_what_was_looked_at_and_gave_nothing_is_left_out(profile: Profile) -> None:
    assert profile.soak
    text = to_markdown(Profile("", {}, (), (Layers("empty", ()),), replace(profile.soak, minutes=())))

    assert "Layers" not in text
    assert profile.soak.verdict in text and "minute |" not in text
    assert "Of the time" not in shares(Layers("empty", ())).words()
