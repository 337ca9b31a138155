"""A profile as CSV, for machines, and as Markdown, for repositories."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

from edge_seg.apps.meters import STAGES
from edge_seg.apps.profile.rows import Layers, Profile, Row, Soak
from edge_seg.apps.report.columns import COLUMNS, about, columns_of, shown, standing
from edge_seg.apps.report.findings import Drop, answer, int8_drops, position, shares, top_layers
from edge_seg.apps.report.words import fenced, interval, percent, plain, signed, to_markdown_cell

Cell = str | float | None
PERCENTILES = ("p50", "p95", "p99")
MINUTE = (
    ("minute", "minute", 0),
    ("FPS", "fps", 1),
    ("p50 ms", "p50_ms", 2),
    ("p99 ms", "p99_ms", 2),
    ("memory MB", "memory_mb", 1),
    ("°C", "celsius", 1),
    ("MHz", "mhz", 0),
    ("W", "watts", 1),
    ("throttled", "throttled", 0),
    ("others' work, cores", "others_cpu", 2),
)
"""Heading, field and digits of a soak's columns."""


def to_csv(profile: Profile) -> str:
    """A line a row under one line of keys, which are the same for every profile but for the classes at their end.

    Numbers have all their digits, an empty cell is a number that was not measured. Times are in ms, memory and files in
    MB; `threads` 0 is the run-time's own number. `front_p95` and `front_joules` are yes, no, or empty where a row takes
    no part. The columns `iou_<class>` end each line, in label order.
    """
    classes = list(dict.fromkeys(name for row in profile.rows if row.accuracy for name in row.accuracy.class_iou))
    stand = standing(profile.rows)
    flat = [
        _identity(row) | _numbers(row) | _loop_times(row) | stand.fronts(index) | _words(row) | _ious(row, classes)
        for index, row in enumerate(profile.rows)
    ]
    keys = list(_identity(_NOTHING) | _numbers(_NOTHING) | _loop_times(_NOTHING) | stand.fronts(-1) | _words(_NOTHING))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*keys, *(plain(f"iou_{name}") for name in classes)])
    writer.writerows([[plain(cell) if isinstance(cell, str) else cell for cell in line.values()] for line in flat])
    return out.getvalue()


_NOTHING = Row("", "", "")
"""A row whose keys are those of all rows."""


def _identity(row: Row) -> dict[str, Cell]:
    keys = ("model", "path", "sha256", "name", "precision", "width", "height", "runtime", "version", "batch", "threads")
    return {key: getattr(row, key) for key in keys}


def _numbers(row: Row) -> dict[str, Cell]:
    """mIoU and what it was measured on, latency, throughput, memory and the rest."""
    found = row.accuracy
    data: dict[str, Cell] = {"data": None, "images": None}
    if found is not None:
        data = {"data": found.data, "images": found.images}
    return data | {column.key: column.value(row) for column in COLUMNS if column.is_measure}


def _loop_times(row: Row) -> dict[str, Cell]:
    """Age and stages in the run loop."""
    loop = row.loop
    times = {} if loop is None else {"age": loop.age_ms, **loop.stages_ms}
    cells: dict[str, Cell] = {"loop_source": None if loop is None else loop.source}
    for name in ("age", *STAGES):
        cells |= {f"{name}_{part}_ms": getattr(times[name], part) if name in times else None for part in PERCENTILES}
    return cells


def _words(row: Row) -> dict[str, Cell]:
    read = {"load1": row.load1, "mhz": row.mhz, "throttled": row.throttled}
    return read | {"disturbed": row.disturbed, "error": row.error, "notes": " ".join(row.remarks) or None}


def _ious(row: Row, classes: Iterable[str]) -> dict[str, Cell]:
    return {f"iou_{name}": None if row.accuracy is None else row.accuracy.class_iou.get(name) for name in classes}


def to_markdown(profile: Profile) -> str:
    """The rows, what INT8 costs by class, the layers that take longest, the soak, the machine and the command."""
    parts = ["# Accuracy against latency", to_markdown_cell(answer(profile.rows)), *_rows_part(profile.rows)]
    parts += _drops_part(int8_drops(profile.rows))
    for layers in profile.layers:
        parts += _layers_part(layers) if layers.layers else ()
    if profile.soak is not None:
        parts += _soak_part(profile.soak)
    if profile.machine:
        parts += ["## Machine", _table(["what", "found"], profile.machine.items())]
    return "\n\n".join([*parts, "## Command", fenced(profile.command)]) + "\n"


def _rows_part(rows: Sequence[Row]) -> Iterator[str]:
    """The table of all rows, with the reasons of errors and disturbances below it."""
    stand, columns = standing(rows), columns_of(rows)
    lines = [
        [str(index + 1), *(column.cell(row) for column in columns), _remark(index, row, stand.word(index))]
        for index, row in enumerate(rows)
    ]
    numeric = [True, *(column.digits is not None for column in columns), False]
    yield "## Rows"
    yield _table(["#", *(column.full_heading for column in columns), "remark"], lines, right=numeric)
    if about(rows):
        yield to_markdown_cell(about(rows))


def _remark(index: int, row: Row, standing_word: str) -> str:
    if row.error is not None:
        return f"error: {row.error}"
    words = [standing_word, f"disturbed: {row.disturbed}" if row.disturbed is not None else "", *row.remarks]
    return "; ".join(word for word in words if word)


def _drops_part(drops: Sequence[Drop]) -> Iterator[str]:
    """IoU lost by class, a column for each INT8 file on each run-time."""
    if not drops:
        return
    yield "## IoU lost by INT8"
    classes = list(dict.fromkeys(name for drop in drops for name in drop.lost))
    lines = [["mIoU", *("" if drop.mean is None else signed(drop.mean) for drop in drops)]]
    lines += [[name, *(signed(drop.lost[name]) if name in drop.lost else "" for drop in drops)] for name in classes]
    yield _table(["class", *(drop.title for drop in drops)], lines, right=[False, *(True for _ in drops)])
    yield "FP32 less INT8: + is lost, - won. " + " ".join(
        to_markdown_cell(f"{drop.title} {drop.against}.") for drop in drops
    )


def _layers_part(layers: Layers) -> Iterator[str]:
    """Where the time goes, and the layers that take longest."""
    yield f"## Layers: {to_markdown_cell(layers.label)}"
    yield to_markdown_cell(shares(layers).words())
    whole = sum(layer.ms for layer in layers.layers) or 1.0
    lines = []
    for layer in top_layers(layers):
        place = None if layers.roof is None else position(layer, layers.roof)
        under = "" if place is None or place.share is None else percent(place.share)
        cells = [layer.name, layer.kind, layer.precision, layer.role, f"{layer.ms:.3f}", percent(layer.ms / whole)]
        lines.append([*cells, shown(layer.gmacs, 3), shown(layer.mb, 2), under])
    headings = ["layer", "kind", "precision", "role", "ms", "share", "GMAC", "MB", "of the roof"]
    yield _table(headings, lines, right=[False] * 4 + [True] * 5)


def _soak_part(soak: Soak) -> Iterator[str]:
    """The verdict and the minutes, or the intervals of a short one."""
    yield f"## Soak: {to_markdown_cell(soak.label)} on {to_markdown_cell(soak.source)}"
    yield to_markdown_cell(soak.verdict)
    if not soak.minutes:
        return
    unit = interval(soak.interval_s)
    if unit != "minute":
        yield f"The rows are {interval(soak.interval_s, many=True)}."
    known = [part for part in MINUTE if any(getattr(minute, part[1]) is not None for minute in soak.minutes)]
    lines = [[shown(getattr(minute, key), digits) for _, key, digits in known] for minute in soak.minutes]
    headings = [unit.split()[0] if key == "minute" else heading for heading, key, _ in known]
    yield _table(headings, lines, right=[True] * len(known))


def _table(headings: Sequence[str], lines: Iterable[Sequence[str]], *, right: Sequence[bool] = ()) -> str:
    """A table in GitHub's Markdown; `right` says which columns are numbers."""
    sides = ["---:" if index < len(right) and right[index] else "---" for index in range(len(headings))]
    body = [[to_markdown_cell(cell) for cell in line] for line in [headings, *lines]]
    return "\n".join("| " + " | ".join(line) + " |" for line in [body[0], sides, *body[1:]])
