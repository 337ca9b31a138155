"""Which rows are worth a look: the Pareto front, and the best row under conditions."""

import math
import operator
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_seg.apps.profile.rows import Row
from edge_seg.errors import EdgeSegError
from edge_seg.weights import BUNDLED

SAME_MIOU = 0.001
"""Rows this near to the highest mIoU count as equally accurate: the faster one is picked."""
NEAREST = 3
"""Rows that a failed pick names."""


class PickError(EdgeSegError):
    """Conditions that cannot be read, or that no row meets."""


def _of_latency(name: str) -> Callable[[Row], float | None]:
    return lambda row: None if row.latency_ms is None else float(getattr(row.latency_ms, name))


COSTS: Mapping[str, Callable[[Row], float | None]] = {"p95": _of_latency("p95"), "joules": lambda row: row.joules}
"""What is paid for accuracy: milliseconds at the 95th percentile, or joules a frame."""

FIELDS: Mapping[str, Callable[[Row], float | None]] = {
    "miou": lambda row: row.miou,
    "fps": lambda row: row.fps,
    **{name: _of_latency(name) for name in ("min", "p50", "p95", "p99", "jitter")},
    "images_per_s": lambda row: row.images_per_s,
    "load": lambda row: row.load_ms,
    "memory": lambda row: row.memory_mb,
    "size": lambda row: row.size_mb,
    "gmacs": lambda row: row.gmacs,
    "joules": lambda row: row.joules,
}
"""What a condition can be about: times in ms, memory and size in MB, fps of the run loop."""

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A field, an operator and a number, such as miou >= 0.65."""

    field: str
    operator: str
    number: float

    def value(self, row: Row) -> float | None:
        """The row's own number of the field; None where it was not measured."""
        return FIELDS[self.field](row)

    def holds(self, row: Row) -> bool:
        """True where the row has the number and it is on the right side."""
        value = self.value(row)
        return value is not None and OPERATORS[self.operator](value, self.number)

    def distance(self, row: Row) -> float:
        """How far the row is off, as a share of the number; 0 where it holds, infinite where nothing was measured."""
        value = self.value(row)
        if value is None:
            return math.inf
        return 0.0 if self.holds(row) else abs(value - self.number) / max(abs(self.number), 1e-9)

    def miss(self, row: Row) -> str:
        """The condition and what the row has instead."""
        value = self.value(row)
        return f"{self} ({'not measured' if value is None else f'has {value:.4g}'})"

    def __str__(self) -> str:
        return f"{self.field}{self.operator}{self.number:g}"


def front(rows: Sequence[Row], *, cost: str = "p95") -> set[int]:
    """Indices of the rows that no other row dominates: none has as high a mIoU for less, or a higher one for as little.

    `cost` is `p95` (milliseconds) or `joules` (a frame). Rows with an error, without mIoU or without the cost take no
    part. Nor do rows of batch > 1: their latency is that of several pictures, which nobody waits for at a camera, and
    the rest of theirs is comparable with other rows in `images_per_s` alone. Equal rows are on the front together.
    """
    return set(_candidates(rows, cost)) - set(dominated_by(rows, cost=cost))


def dominated_by(rows: Sequence[Row], *, cost: str = "p95") -> dict[int, int]:
    """Index of each dominated row -> index of the row on the front that dominates it and costs least.

    The comparison is of the numbers as they are: rows that differ by less than the noise are told apart too.
    """
    points = _candidates(rows, cost)
    beaten = {index: [other for other in points if _beats(points[other], points[index])] for index in points}
    best = {index for index, others in beaten.items() if not others}
    return {
        index: min((other for other in others if other in best), key=lambda other: points[other][1])
        for index, others in beaten.items()
        if others
    }


def _candidates(rows: Sequence[Row], cost: str) -> dict[int, tuple[float, float]]:
    """mIoU and cost by index of the rows that take part."""
    found = {i: (row.miou, COSTS[cost](row)) for i, row in enumerate(rows) if row.error is None and row.batch == 1}
    return {i: (miou, paid) for i, (miou, paid) in found.items() if miou is not None and paid is not None}


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] >= other[0] and one[1] <= other[1] and one != other


def pick(rows: Sequence[Row], conditions: str) -> Row:
    """The best row that meets all conditions, such as "miou>=0.65, fps>=30".

    The highest mIoU wins, and of the rows within SAME_MIOU of it the lowest p95; where no accuracy was measured, the
    lowest p95 alone. Disturbed rows take part, rows of batch > 1 do not: `edge-seg run` takes one picture at a time.
    PickError for conditions that cannot be read, and where no row meets them: it says what the nearest rows miss.
    """
    wanted = parse_conditions(conditions)
    able = [row for row in rows if row.error is None and row.batch == 1]
    met = [row for row in able if all(condition.holds(row) for condition in wanted)]
    if not met:
        raise PickError(_misses(rows, able, wanted))
    highest = max((row.miou for row in met if row.miou is not None), default=None)
    if highest is not None:
        met = [row for row in met if row.miou is not None and row.miou >= highest - SAME_MIOU - 1e-12]
    return min(met, key=_p95_or_inf)


def parse_conditions(text: str) -> list[Condition]:
    """The conditions in a text; PickError that names what cannot be read and lists what there is.

    >>> [str(condition) for condition in parse_conditions("miou >= 0.65, fps>30")]
    ['miou>=0.65', 'fps>30']
    >>> parse_conditions("speed>=3")
    Traceback (most recent call last):
    ...
    edge_seg.apps.profile.pareto.PickError: No field 'speed' in 'speed>=3'. There are: miou, fps, min, ...
    """
    return [_parse_condition(part.strip()) for part in text.split(",")]


def _parse_condition(text: str) -> Condition:
    found = re.fullmatch(r"(\w*)\s*([^\w\s.+-]*)\s*(.*)", text)
    field, sign, number = found.groups() if found else (text, "", "")
    if field not in FIELDS:
        raise PickError(f"No field {field!r} in {text!r}. There are: {', '.join(FIELDS)}.")
    if sign not in OPERATORS:
        raise PickError(
            f"No operator {sign!r} in {text!r}. There are: {'  '.join(OPERATORS)}. Type for example: {field}>=30"
        )
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise PickError(f"No number {number!r} in {text!r}. Type for example: {field}{sign}30")
    if field == "miou" and not 0 <= value <= 1:
        raise PickError(f"mIoU is a share between 0 and 1, not {number!r} in {text!r}. Type for example: miou>=0.65")
    return Condition(field, sign, value)


def _misses(rows: Sequence[Row], able: Sequence[Row], wanted: Sequence[Condition]) -> str:
    """Why no row was picked."""
    asked = ", ".join(map(str, wanted))
    if not able:
        batches = sum(row.error is None for row in rows)
        return f"No row can meet {asked}: " + (
            f"all {batches} with numbers are of batch > 1, and run takes one picture at a time. Profile with --batch 1."
            if batches
            else "none has numbers. The table says what went wrong with each."
        )
    nearest = sorted(able, key=lambda row: _misfit(row, wanted))[:NEAREST]
    lines = [f"  {row.label} misses {', '.join(c.miss(row) for c in wanted if not c.holds(row))}" for row in nearest]
    head = f"No row of batch 1 meets {asked}. " + ("Nearest:" if len(able) > 1 else "The only one:")
    return "\n".join([head, *lines])


def _misfit(row: Row, wanted: Sequence[Condition]) -> tuple[int, float]:
    """How many conditions a row misses, and by how much in all."""
    missed = [condition for condition in wanted if not condition.holds(row)]
    return len(missed), sum(condition.distance(row) for condition in missed)


def _p95_or_inf(row: Row) -> float:
    return math.inf if row.latency_ms is None else row.latency_ms.p95


def run_line(row: Row) -> str:
    """The command that runs a row's artefact in the live loop as it was measured, quoted for a POSIX shell."""
    bundled = BUNDLED.get(row.model) == Path(row.path).name
    parts = ["edge-seg", "run", "--model", row.model if bundled else row.path, "--runtime", row.runtime]
    return shlex.join([*parts, "--threads", str(row.threads)] if row.threads else parts)


def picked_text(row: Row) -> str:
    """What was picked, whether its times can be trusted, and the command that runs it; one line each."""
    known = [
        None if row.miou is None else f"mIoU {row.miou:.4f}",
        None if row.latency_ms is None else f"p95 {row.latency_ms.p95:.2f} ms",
        None if row.fps is None else f"{row.fps:.1f} FPS",
    ]
    told = ", ".join(part for part in known if part)
    lines = [f"{row.label}: {told}" if told else row.label]
    if row.disturbed is not None:
        lines.append(f"Its times were taken under disturbance: {row.disturbed}")
    return "\n".join([*lines, run_line(row)])
