"""The columns of every table of rows: one list, so that terminal, Markdown, HTML and CSV tell the same."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edge_seg.apps.profile.pareto import dominated_by, front
from edge_seg.apps.profile.rows import Row

Value = str | float | None


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its key in CSV, its heading for people, where its value is found and with how many digits it is shown.

    `digits` None is a text. `unit` is what the heading leaves open. A column that is empty in all rows is left out, or
    says `missing` in each.
    """

    key: str
    heading: str
    value: Callable[[Row], Value]
    digits: int | None = None
    unit: str = ""
    missing: str = ""

    def cell(self, row: Row) -> str:
        """The value for people; empty where nothing was measured."""
        return shown(self.value(row), self.digits)

    @property
    def is_measure(self) -> bool:
        """True for what was measured, False for what tells rows apart."""
        return self.digits is not None and self not in NAMES

    @property
    def full_heading(self) -> str:
        """Heading and unit in one line."""
        return f"{self.heading} {self.unit}".strip()


def shown(value: Value, digits: int | None = None) -> str:
    """A value for people; empty for one that is not known.

    >>> shown(3.14159, 2), shown(None, 2), shown("INT8"), shown(float("nan"), 1)
    ('3.14', '', 'INT8', '')
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return value if isinstance(value, str) else f"{value:.{digits or 0}f}"


def _latency(name: str) -> Callable[[Row], Value]:
    return lambda row: None if row.latency_ms is None else float(getattr(row.latency_ms, name))


COLUMNS = (
    Column("model", "model", lambda row: row.model),
    Column("runtime", "run-time", lambda row: row.runtime),
    Column("batch", "batch", lambda row: row.batch if row.batch > 1 else None, 0),
    Column("threads", "threads", lambda row: row.threads or None, 0),
    Column("precision", "precision", lambda row: row.precision),
    Column("size", "size", lambda row: f"{row.width}x{row.height}"),
    Column("miou", "mIoU", lambda row: row.miou, 4, missing="no data"),
    Column("min_ms", "min", _latency("min"), 2, "ms"),
    Column("p50_ms", "p50", _latency("p50"), 2, "ms"),
    Column("p95_ms", "p95", _latency("p95"), 2, "ms"),
    Column("p99_ms", "p99", _latency("p99"), 2, "ms"),
    Column("jitter_ms", "jitter", _latency("jitter"), 2, "ms"),
    Column("images_per_s", "images/s", lambda row: row.images_per_s, 1),
    Column("fps", "FPS", lambda row: row.fps, 1, "(loop)"),
    Column("load_ms", "load", lambda row: row.load_ms, 0, "ms"),
    Column("memory_mb", "memory", lambda row: row.memory_mb, 0, "MB"),
    Column("size_mb", "file", lambda row: row.size_mb, 2, "MB"),
    Column("gmacs", "GMAC", lambda row: row.gmacs, 2),
    Column("joules_per_frame", "J/frame", lambda row: row.joules, 3),
)
"""Batch 1 and a number of threads that is left to the run-time are the usual ones: their cells are empty."""

NAMES = COLUMNS[:4]
"""What tells rows apart, and stands in each part of a table that is taken apart."""


def about(rows: Sequence[Row]) -> str:
    """What the numbers of the rows are, and what they were measured on."""
    sets = dict.fromkeys(f"{a.data}, {a.images} images" for a in (row.accuracy for row in rows) if a is not None)
    sources = dict.fromkeys(row.loop.source for row in rows if row.loop is not None)
    parts = [
        f"mIoU: {'; '.join(sets)}, of the very file on the very run-time." if sets else "",
        "min to p99: one call of the whole graph, bytes in and labels out; jitter is p99 - p50."
        if any(row.latency_ms is not None for row in rows)
        else "",
        f"FPS (loop): end to end through the run loop, on {'; '.join(sources)}." if sources else "",
        "memory: the most the process held." if any(row.memory_mb is not None for row in rows) else "",
    ]
    return " ".join(part for part in parts if part)


def columns_of(rows: Sequence[Row]) -> tuple[Column, ...]:
    """The columns that are not empty in all rows, and those that say so."""
    told = [column if any(column.cell(row) for row in rows) else _missing(column, rows) for column in COLUMNS]
    return tuple(column for column in told if any(column.cell(row) for row in rows))


def _missing(column: Column, rows: Sequence[Row]) -> Column:
    """The column with what stands in each cell where no row has a value: no data, or data that gave none."""
    word = "not measured" if column.missing and any(row.is_unjudged for row in rows) else column.missing
    return replace(column, value=lambda row: word)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the rows stand, by index: on which front, dominated by which row, and the reason why times may be off.

    `beaten` maps a row to the one that dominates it in p95, `energy_beaten` in joules.
    """

    front: frozenset[int]
    energy_front: frozenset[int]
    beaten: dict[int, int]
    energy_beaten: dict[int, int]
    notes: tuple[str, ...]
    note_of: dict[int, int]

    @property
    def dominated(self) -> dict[int, int]:
        """The rows that no front has: one that is slower but takes less energy is none of them."""
        return {index: by for index, by in self.beaten.items() if index not in self.energy_front}

    def fronts(self, index: int) -> dict[str, str | None]:
        """Yes, no, or None where the row takes no part, for the fronts of p95 and of energy."""
        sides = (("front_p95", self.front, self.beaten), ("front_joules", self.energy_front, self.energy_beaten))
        return {key: "yes" if index in on else "no" if index in off else None for key, on, off in sides}

    def word(self, index: int) -> str:
        """What is to be said of a row in a cell: `front`, `energy front`, or the number of the row that beats it."""
        if index in self.front:
            return "front"
        if index in self.energy_front:
            return "energy front"
        return f"beaten by {self.dominated[index] + 1}" if index in self.dominated else ""


def standing(rows: Sequence[Row]) -> Standing:
    """The fronts of p95 and of energy, and the reasons of disturbed rows, each told once."""
    notes = tuple(dict.fromkeys(row.disturbed for row in rows if row.disturbed is not None))
    note_of = {index: notes.index(row.disturbed) for index, row in enumerate(rows) if row.disturbed is not None}
    return Standing(
        frozenset(front(rows)),
        frozenset(front(rows, cost="joules")),
        dominated_by(rows),
        dominated_by(rows, cost="joules"),
        notes,
        note_of,
    )
