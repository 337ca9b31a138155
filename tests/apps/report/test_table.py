"""The table of a profile on terminals of several widths."""

import io
import itertools
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from edge_seg.apps.profile.rows import NOT_JUDGED, Profile, Row
from edge_seg.apps.report.columns import COLUMNS, columns_of, standing
from edge_seg.apps.report.table import profile_table


def lines_of(profile: Profile, width: int) -> list[str]:
    """The table as it stands on a terminal without colours."""
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(profile_table(profile))
    return out.getvalue().splitlines()


def test_on_a_wide_terminal_each_row_is_one_line(profile: Profile) -> None:
    lines = lines_of(profile, 160)
    (first,) = [line.split() for line in lines if line.startswith(" 5 ")]

    assert first[:8] == ["5", "●◆", "edge-seg-s", "openvino", "INT8", "480x360", "0.6431", "5.90"]
    assert first[8:] == ["6.70", "8.40", "8.90", "2.20", "144.9", "84.0", "153", "212", "1.90", "2.21", "0.210"]
    assert sum(bool(re.match(r" ?\d+ ", line)) for line in lines) == len(profile.rows)
    assert max(map(len, lines)) <= 160
    headings = " ".join(lines[:2]).split()
    assert all(word in headings for word in ["mIoU", "min", "p50", "p95", "p99", "jitter", "(loop)", "GMAC", "J/frame"])


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_no_number_is_lost_or_cut_at_any_width(profile: Profile, width: int) -> None:
    lines = lines_of(profile, width)
    words = [word for line in lines for word in line.split()]

    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    for column in columns_of(profile.rows):
        if column.key not in ("model", "runtime"):
            wanted = [column.cell(row) for row in profile.rows]
            assert all(words.count(cell) >= wanted.count(cell) for cell in wanted if cell), column.key


def test_at_100_columns_each_part_names_the_rows(profile: Profile) -> None:
    lines = lines_of(profile, 100)

    assert len([line for line in lines if line.startswith("11 ") and "edge-seg-n" in line and "openvino" in line]) == 2


def test_columns_that_are_empty_are_left_out(make_row: Callable[..., Row]) -> None:
    bare = make_row(loop=None, joules=None, miou=None, memory_mb=None)
    keys = [column.key for column in columns_of([bare])]
    headings = lines_of(Profile("", {}, (bare,)), 160)

    assert keys == [
        *("model", "runtime", "precision", "size", "miou", "min_ms", "p50_ms", "p95_ms", "p99_ms", "jitter_ms"),
        *("images_per_s", "load_ms", "size_mb", "gmacs"),
    ]
    assert not re.search("FPS|J/frame|batch|threads|memory|front", "\n".join(headings))
    assert {column.key for column in columns_of([bare, make_row(batch=4, threads=2)])} == {c.key for c in COLUMNS}


def test_where_no_row_has_an_accuracy_the_column_says_so(make_row: Callable[..., Row]) -> None:
    rows = make_row(miou=None), make_row("other", miou=None)
    text = "\n".join(lines_of(Profile("", {}, rows), 160))

    assert "mIoU" in text and text.count("no data") == 2
    assert "no data" not in "\n".join(lines_of(Profile("", {}, (*rows, make_row("judged"))), 160))
    assert columns_of(()) == ()


def test_where_a_set_was_given_and_fits_no_model_the_column_does_not_say_no_data(make_row: Callable[..., Row]) -> None:
    row = make_row(miou=None, notes=(f"{NOT_JUDGED}: set has other classes than the model.",))
    text = "\n".join(lines_of(Profile("", {}, (row, make_row("other", miou=None))), 160))

    assert text.count(" not measured") == 3 and "no data" not in text  # two cells and the note


def test_a_disturbed_loop_is_told_below_the_table(make_row: Callable[..., Row]) -> None:
    row = make_row()
    assert row.loop is not None
    busy = replace(row, loop=replace(row.loop, disturbed="other work took 0.9 cores"))

    lines = lines_of(Profile("", {}, (busy,)), 160)

    assert "1 edge-seg-s, openvino: The loop was disturbed: other work took 0.9 cores." in lines


def test_marks_and_reasons_stand_below_the_table(profile: Profile) -> None:
    text = "\n".join(lines_of(profile, 160))

    assert "10 ○[1] edge-seg-n" in text
    assert "[1] disturbed: load average 5.1 on 2 cores, after 3 repeats" in text
    assert "12 ✗    edge-seg-s      tensorrt" in text
    assert "✗ 12 edge-seg-s, tensorrt: TensorRT is not installed. Type: pip install 'edge-seg[tensorrt]'" in text
    assert "mIoU: CamVid test, 233 images" in text
    assert "FPS (loop): end to end through the run loop, on drive seed 1." in text.replace("\n", " ")


def test_dominated_rows_are_dim_and_those_on_the_front_bold(profile: Profile) -> None:
    out = io.StringIO()
    console = Console(file=out, width=160, highlight=False, force_terminal=True, color_system="standard")
    console.print(profile_table(profile))
    styles = {int(m[2]): m[1] for m in re.finditer(r"^\x1b\[([\d;]+)m *(\d+)\x1b", out.getvalue(), re.MULTILINE)}

    assert styles == {1: "2", 2: "1", 3: "1", 4: "1", 5: "1", 6: "2", 8: "2", 9: "2", 10: "2", 11: "1", 12: "2"}


def test_a_row_that_is_slow_but_takes_least_energy_is_not_dominated(make_row: Callable[..., Row]) -> None:
    rows = (
        make_row(p95=8.0, joules=0.9),
        make_row("slow", p95=20.0, joules=0.1),
        make_row("bad", p95=30.0, joules=1.0),
    )
    stand = standing(rows)
    text = "\n".join(lines_of(Profile("", {}, rows), 160))

    assert [stand.word(index) for index in range(3)] == ["front", "energy front", "beaten by 1"]
    assert re.search(r"2 ◆ +slow", text)
    assert "◆ on the front of mIoU and joules a frame" in text


def test_names_are_shown_as_they_are_and_long_ones_whole(make_row: Callable[..., Row]) -> None:
    long = "runs/a-very-long-name-of-a-model-that-no-terminal-shows-in-one-line-of-a-table.int8"
    lines = lines_of(Profile("", {}, (make_row("[bold]x[/bold]"), make_row(long))), 100)
    (start,) = [
        index for index, line in enumerate(lines) if line.startswith("2 ") and "openvino" in line and "INT8" in line
    ]
    rest = itertools.takewhile(lambda line: line.startswith("   "), lines[start + 1 :])

    assert any("[bold]x[/bold]" in line for line in lines)
    assert lines[start].split()[2] + "".join(line.strip() for line in rest) == long
    assert max(map(len, lines)) <= 100


def test_nothing_profiled_is_said() -> None:
    assert lines_of(Profile("edge-seg profile", {}, ()), 80) == ["No combination was profiled."]


def test_disturbances_are_told_once(profile: Profile) -> None:
    busy = replace(profile.rows[9], disturbed="a")
    rows = (busy, replace(busy, disturbed="b"), busy)

    assert standing(rows).notes == ("a", "b")
    assert standing(rows).note_of == {0: 0, 1: 1, 2: 0}
