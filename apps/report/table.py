"""The table of a profile on a terminal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from edge_seg.apps.profile.rows import Profile, Row
from edge_seg.apps.report.columns import NAMES, Column, Standing, about, columns_of, standing

FRONT, ENERGY, DOMINATED, FAILED = "●", "◆", "○", "✗"
LEAST_NAME = 16
"""Letters of a model's name that stay in a line; a longer name is folded where there is no room."""


def profile_table(profile: Profile) -> RenderableType:
    """One line a row; several tables below each other where the terminal is too narrow for all columns.

    Columns that are empty in all rows are left out. Rows on the front are marked, dominated ones dimmed, and below the
    table stands what disturbed a row, and why one has no numbers.
    """
    return _ProfileTable(profile)


@dataclass(frozen=True, slots=True)
class _ProfileTable:
    """Rendered when the width is known."""

    profile: Profile

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = self.profile.rows
        if not rows:
            yield Text("No combination was profiled.")
            return
        stand = standing(rows)
        room = options.max_width - _mark_width(rows, stand)
        for part, columns in enumerate(split(columns_of(rows), rows, room)):
            if part:
                yield Text()
            yield _table(rows, columns, stand)
        yield from _footnotes(rows, stand)
        if self.profile.soak is not None:
            yield Text(f"\nSoak of {self.profile.soak.label}: {self.profile.soak.verdict}")


def split(columns: Sequence[Column], rows: Sequence[Row], room: int) -> list[list[Column]]:
    """The columns in parts that fit into `room` letters each; one part where all fit.

    Each further part begins with model and run-time again where these leave half of the room; the rows' numbers, which
    all parts have, tell the rows apart.
    """
    names = [column for column in columns if column in NAMES[:2]]
    again = names if sum(_width(column, rows) for column in names) <= room / 2 else []
    parts: list[list[Column]] = [[]]
    for column in columns:
        if len(parts[-1]) > len(names) and sum(_width(other, rows) for other in [*parts[-1], column]) > room:
            parts.append(list(again))
        parts[-1].append(column)
    return parts


def _width(column: Column, rows: Sequence[Row]) -> int:
    """Letters that a column needs, with the space behind it."""
    longest = max(map(cell_len, [column.heading, column.unit, *(column.cell(row) for row in rows)]))
    return min(longest, LEAST_NAME) + 1 if column is NAMES[0] else longest + 1


def _mark_width(rows: Sequence[Row], stand: Standing) -> int:
    """Letters of the two first columns, number and mark, with the spaces behind them."""
    return len(str(len(rows))) + max(_mark(index, row, stand).cell_len for index, row in enumerate(rows)) + 2


def _table(rows: Sequence[Row], columns: Sequence[Column], stand: Standing) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for column in columns:
        heading = f"{column.heading}\n{column.unit}" if column.unit else column.heading
        side: Literal["left", "right"] = "left" if column.digits is None else "right"
        table.add_column(heading, justify=side, no_wrap=column is not NAMES[0], overflow="fold")
    for index, row in enumerate(rows):
        cells = (Text(column.cell(row)) for column in columns)  # a bracket in a name is no markup
        table.add_row(str(index + 1), _mark(index, row, stand), *cells, style=_style(index, row, stand))
    return table


def _mark(index: int, row: Row, stand: Standing) -> Text:
    """Front, energy front, dominated or failed, and the number of a note."""
    if row.error is not None:
        return Text(FAILED, "red")
    mark = Text(FRONT * (index in stand.front) + ENERGY * (index in stand.energy_front), "green")
    if index in stand.dominated:
        mark.append(DOMINATED)
    if index in stand.note_of:
        mark.append(f"[{stand.note_of[index] + 1}]", "yellow")
    return mark


def _style(index: int, row: Row, stand: Standing) -> str:
    if index in stand.dominated or row.error is not None:
        return "dim"
    return "bold" if index in stand.front or index in stand.energy_front else ""


def _footnotes(rows: Sequence[Row], stand: Standing) -> Iterator[Text]:
    """What the marks mean, the reasons, the errors, and what was measured."""
    known = [
        (FRONT, "on the front of mIoU and p95", stand.front),
        (ENERGY, "on the front of mIoU and joules a frame", stand.energy_front),
        (DOMINATED, "dominated: another row is at least as good in both", stand.dominated),
    ]
    legend = [f"{mark} {meaning}" for mark, meaning, marked in known if marked]
    yield Text("\n" + "   ".join(legend) if legend else "", "dim")
    for number, reason in enumerate(stand.notes, 1):
        yield Text(f"[{number}] disturbed: {reason}", "yellow")
    for number, row in enumerate(rows, 1):
        if row.error is not None:
            yield Text(f"{FAILED} {number} {row.label}: {row.error}", "red")
        for note in row.remarks:
            yield Text(f"{number} {row.label}: {note}", "yellow")
    yield Text(about(rows), "dim")
