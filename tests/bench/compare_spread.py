"""How far profiles of one build differ: what `edge-seg profile --compare` takes as usual, measured.

    python tests/bench/compare_spread.py 1/profile.json 2/profile.json 3/profile.json

Prints p50, p95 and FPS by row of each profile, and beneath them the spread that --compare looks at: the standard
deviation of the logarithm from profile to profile, once what all rows drift by is taken out, and that drift itself.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_seg.apps.profile.compare import SPEEDS
from edge_seg.apps.profile.rows import Profile
from edge_seg.apps.profile.store import read_profile
from edge_seg.bootstrap import session_scatter
from edge_seg.errors import EdgeSegError

CLOSE = 0.05
DIGITS = {"p50 ms": 2, "p95 ms": 2, "FPS": 1}
Numbers = Mapping[str, Mapping[str, Sequence[float]]]
"""Of p50 ms, p95 ms and FPS each: row -> its number in each profile."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard deviations of a logarithm from profile to profile: of a row alone, and of what all drift by."""

    row: float
    freedom: float
    common: float


def main() -> None:
    """Print the tables of the profiles that are named."""
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        profiles = [read_profile(Path(path)) for path in sys.argv[1:]]
    except EdgeSegError as error:
        sys.exit(str(error))
    if len({(one.machine["cpu"], one.machine["cores"]) for one in profiles}) > 1:
        sys.exit("The profiles are of several machines. Give those of one.")
    numbers = numbers_of(profiles)
    if not all(numbers.values()):
        sys.exit("The profiles share no rows that were timed in each. Give profiles of the same models.")
    print(rows_table(numbers), spread_table(numbers), sep="\n\n")


def numbers_of(profiles: Sequence[Profile]) -> dict[str, dict[str, list[float]]]:
    """The numbers of the rows that all profiles have."""
    found: dict[str, dict[str, list[float]]] = {}
    for speed in SPEEDS:
        tables = [{row.label: speed.read(row) for row in profile.rows} for profile in profiles]
        values = {label: [table.get(label) for table in tables] for label in tables[0]}
        found[speed.what] = {
            label: [value for value in row if value is not None] for label, row in values.items() if None not in row
        }
    return found


def spread_of(rows: Mapping[str, Sequence[float]]) -> Spread:
    """The spread of a number over profiles of the same rows; three rows and two profiles at least.

    >>> spread = spread_of({"a": [1.0, 1.1], "b": [2.0, 2.2], "c": [3.0, 3.3]})
    >>> round(spread.row, 6), spread.freedom, round(spread.common, 3)
    (0.0, 2.0, 0.067)
    """
    logs = np.log(np.array(list(rows.values())))
    squares, freedom = session_scatter(logs)
    drift = np.median(logs - logs.mean(axis=1, keepdims=True), axis=0)
    return Spread(float(np.sqrt(squares / freedom)), freedom, float(np.std(drift, ddof=1)))


def rows_table(numbers: Numbers) -> str:
    """A line a row: its number in each profile, and how far they lie apart."""
    heads = [head for what in numbers for head in (what, "largest / smallest")]
    lines = [f"| the same rows, profile by profile | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for label in dict.fromkeys(label for rows in numbers.values() for label in rows):
        cells = [cell for what, rows in numbers.items() for cell in _cells(rows.get(label), DIGITS[what])]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cells(values: Sequence[float] | None, digits: int) -> tuple[str, str]:
    if not values:
        return "", ""
    return ", ".join(f"{value:.{digits}f}" for value in values), f"{max(values) / min(values):.3f}"


def spread_table(numbers: Numbers) -> str:
    """What --compare would take as usual, by what was measured, and what it takes."""
    usual = {speed.what: speed.usual for speed in SPEEDS}
    heads = "| | rows within 5 % | spread of a row (degrees of freedom) | `--compare` takes | drift of all rows |"
    lines = [heads, "|---|---|---|---|---|"]
    for what, rows in numbers.items():
        spread, close = spread_of(rows), within(rows)
        told = f"{spread.row:.3f} ({spread.freedom:.0f}) | {usual[what]} | {spread.common:.3f}"
        lines.append(f"| {what} | {close} of {len(rows)} | {told} |")
    return "\n".join(lines)


def within(rows: Mapping[str, Sequence[float]]) -> int:
    """How many rows lie within CLOSE over all profiles."""
    return sum(max(values) <= (1 + CLOSE) * min(values) for values in rows.values())


if __name__ == "__main__":
    main()
