"""Profiles of before and after: what became slower or less accurate, beyond what profiles of one build differ by."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_seg.apps.profile.rows import Profile, Row
from edge_seg.bootstrap import LEAST_ROWS, compare_sessions, median_error, miou_interval
from edge_seg.errors import DataError

ALL_ROWS = "the machine as a whole"
"""What the drift common to all rows is told under: it may be the machine's, or of all models at once."""
LEAST_DROP = 0.001
"""mIoU that has to be lost: less is no reason to stop anybody."""
MORE_MEMORY = 1.10
"""How many times as much the peak has to be: allocators do not always ask for the same."""
LEAST_ROUNDS = 5
"""Rounds that a profile needs for an error that means anything."""
ALIKE = ("machine", "rounds", "source", "timed")
"""Settings that all profiles have to share."""

Key = tuple[str, str, int, int]
Cells = tuple[Row | None, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A number of a combination before and after; `low` to `high` is the 95 % interval of its change.

    `change` is new / old of times, FPS and memory, new - old of an mIoU; of times and FPS it is what is left beyond the
    change of all rows together. Of several profiles `old` and `new` are the middle (geometric mean). A number without
    an interval has None there. `worse` is set where it is beyond the interval and matters, and where the number is
    there no more. `disturbed` says what else kept the machine busy in one of the profiles.
    """

    label: str
    what: str
    old: float | None = None
    new: float | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    worse: bool = False
    disturbed: str | None = None


@dataclass(frozen=True, slots=True)
class Speed:
    """A number that drifts with the machine: `margin` is how many times as slow a row has to be to matter.

    `together` is that of all rows at once. `usual` is how far the logarithm spreads over profiles of the same build,
    `drift` how far that of all rows alike does, and `error` its standard error within a profile, where that is known.
    """

    what: str
    read: Callable[[Row], float | None]
    margin: float
    together: float
    usual: float
    drift: float
    error: Callable[[Row], float] = lambda row: 0.0
    disturbed: Callable[[Row], str | None] = lambda row: row.disturbed
    more_is_better: bool = False


def _p50(row: Row) -> float | None:
    return None if row.latency_ms is None else row.latency_ms.p50


def _p50_error(row: Row) -> float:
    return 0.0 if row.latency_ms is None else median_error(row.latency_ms.rounds)


def _p95(row: Row) -> float | None:
    return None if row.latency_ms is None else row.latency_ms.p95


def _loop_disturbed(row: Row) -> str | None:
    return None if row.loop is None else row.loop.disturbed


SPEEDS = (
    # `usual` and `drift` are measured (docs/profile.md); `margin` and `together` chosen: worth stopping a CI for.
    Speed("p50 ms", _p50, margin=1.05, together=1.15, usual=0.04, drift=0.03, error=_p50_error),
    Speed("p95 ms", _p95, margin=1.15, together=1.25, usual=0.06, drift=0.06),
    Speed(
        "FPS",
        lambda row: row.fps,
        margin=1.10,
        together=1.15,
        usual=0.05,
        drift=0.05,
        disturbed=_loop_disturbed,
        more_is_better=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A combination in each of the old profiles, None where one did not measure it, and in each new one that has it."""

    label: str
    old: Cells
    new: Cells

    @property
    def error(self) -> str | None:
        """Why a new profile could not measure it."""
        return next((row.error for row in self.new if row is not None and row.error is not None), None)

    @property
    def is_measured(self) -> bool:
        """True where both sides have numbers, and no new profile failed."""
        return self.error is None and any(row is not None for row in self.new)


def compare_profiles(old: Sequence[Profile], new: Sequence[Profile]) -> list[Change]:
    """Lines for every combination of `old`: times, FPS, memory, mIoU, and what is missing in `new`.

    Combinations are the same where model, run-time, batch and threads are; the models' file names count where none is
    the same as typed. What `old` has and a profile of `new` gives an error for is worse; a combination that was not
    asked for there is told. Where three or more are in both, what all changed by stands first. DataError where the
    profiles share no combination, or were made with other settings or too few rounds.
    """
    _check_alike([*old, *new])
    pairs = _pairs(old, new)
    measured = [pair for pair in pairs if pair.is_measured]
    _check_rounds(measured)
    changes = [change for speed in SPEEDS for change in _speed_changes(speed, measured)]
    changes += [change for pair in pairs for change in _other_changes(pair)]
    place = {ALL_ROWS: -1} | {pair.label: index for index, pair in enumerate(pairs)}
    return sorted(changes, key=lambda change: place[change.label])


def _check_alike(profiles: Sequence[Profile]) -> None:
    first = profiles[0].settings
    for name in ALIKE:
        for profile in profiles:
            if profile.settings.get(name) != first.get(name):
                raise DataError(
                    f"The profiles differ in {name}: {first.get(name)}, and then {profile.settings.get(name)}. "
                    "Profile both alike."
                )


def _check_rounds(pairs: Sequence[Pair]) -> None:
    for pair in pairs:
        rounds = [len(row.latency_ms.rounds) for row in (*pair.old, *pair.new) if row and row.latency_ms]
        if rounds and min(rounds) < LEAST_ROUNDS:
            raise DataError(
                f"{pair.label} was timed in {min(rounds)} rounds, too few to tell. Profile with --rounds 9."
            )


def _pairs(old: Sequence[Profile], new: Sequence[Profile]) -> list[Pair]:
    """The combinations that an old profile measured, by what was typed where all share one, else by file names."""
    for key in (_typed, _file):
        tables = [_table(profile, key) for profile in (*old, *new)]
        if set.intersection(*map(set, tables)):
            break
    else:
        raise DataError("The profiles share no combination of model, run-time, batch and threads. Profile the same.")
    before, after = tables[: len(old)], tables[len(old) :]
    found = []
    for one in dict.fromkeys(one for table in before for one in table):
        cells = tuple(row if row is None or row.error is None else None for row in (table.get(one) for table in before))
        label = next((row.label for row in cells if row is not None), None)
        if label is not None:
            found.append(Pair(label, cells, tuple(table.get(one) for table in after)))
    return found


def _table(profile: Profile, key: Callable[[Row], Key]) -> dict[Key, Row]:
    """The rows by key; of two with the same key, as of a model trained anew, the first: it was measured last."""
    table: dict[Key, Row] = {}
    for row in profile.rows:
        table.setdefault(key(row), row)
    return table


def _typed(row: Row) -> Key:
    return row.model, row.runtime, row.batch, row.threads


def _file(row: Row) -> Key:
    return Path(row.path).name, row.runtime, row.batch, row.threads


def _speed_changes(speed: Speed, pairs: Sequence[Pair]) -> Iterator[Change]:
    """A line for each combination that has the number, and one for all together where there are enough."""
    both = []
    for pair in pairs:
        before, after = (_known(speed.read, side) for side in (pair.old, pair.new))
        if before and after:
            both.append(pair)
        elif before:
            yield Change(pair.label, speed.what, _middle(before), worse=True)
    if not both:
        return
    found = compare_sessions(
        _slowness(speed, [pair.old for pair in both]),
        _slowness(speed, [pair.new for pair in both]),
        usual=speed.usual,
        drift=speed.drift,
        errors=np.array([math.hypot(*(_side_error(speed, side) for side in (pair.old, pair.new))) for pair in both]),
    )
    if len(both) >= LEAST_ROWS:
        slower = math.exp(found.common)
        yield Change(ALL_ROWS, speed.what, change=_turned(speed, slower), worse=slower > speed.together)
    yield from map(partial(_row_change, speed), both, found.rows.tolist(), found.widths.tolist())


def _row_change(speed: Speed, pair: Pair, change: float, width: float) -> Change:
    old, new = (_middle(_known(speed.read, side)) for side in (pair.old, pair.new))
    least, slower, most = (math.exp(change + step) for step in (-width, 0, width))
    low, high = sorted((_turned(speed, least), _turned(speed, most)))
    worse = slower > speed.margin and least > 1
    disturbed = (speed.disturbed(row) for row in (*pair.old, *pair.new) if row is not None)
    reason = next(filter(None, disturbed), None)
    return Change(pair.label, speed.what, old, new, _turned(speed, slower), low, high, worse, reason)


def _turned(speed: Speed, slower: float) -> float:
    """How many times as long, as a ratio of the number itself."""
    return 1 / slower if speed.more_is_better else slower


def _slowness(speed: Speed, sides: Sequence[Cells]) -> NDArray[np.float64]:
    """Logarithms [rows, profiles] of times, or of the time that a frame takes; NaN where there is none."""
    values = [[speed.read(row) if row else None for row in side] for side in sides]
    logs = np.log([[value if value and value > 0 else math.nan for value in row] for row in values])
    return -logs if speed.more_is_better else logs


def _side_error(speed: Speed, side: Cells) -> float:
    """The standard error of the mean of a side's profiles, by the rounds within each."""
    errors = [speed.error(row) for row in side if row and speed.read(row)]
    return math.hypot(*errors) / len(errors)


def _known(read: Callable[[Row], float | None], side: Cells) -> list[float]:
    """The numbers that the profiles of a side have; a ratio takes positive ones."""
    values = (read(row) for row in side if row is not None)
    return [value for value in values if value is not None and value > 0]


def _middle(values: Sequence[float]) -> float:
    """The geometric mean.

    >>> _middle([2.0, 8.0])
    4.0
    """
    return values[0] if len(values) == 1 else math.exp(math.fsum(map(math.log, values)) / len(values))


def _other_changes(pair: Pair) -> Iterator[Change]:
    """Peak memory and mIoU; or why there is nothing to compare."""
    if pair.error is not None:
        yield Change(pair.label, pair.error, worse=True)
    elif not pair.is_measured:
        yield Change(pair.label, "not in the new profile")
    else:
        yield from _memory_change(pair)
        yield from _accuracy_change(pair)


def _memory_change(pair: Pair) -> Iterator[Change]:
    before, after = (_known(lambda row: row.memory_mb, side) for side in (pair.old, pair.new))
    if before and after:
        old, new = _middle(before), _middle(after)
        yield Change(pair.label, "memory MB", old, new, new / old, worse=new > MORE_MEMORY * old)
    elif before:
        yield Change(pair.label, "memory MB", _middle(before), worse=True)


def _accuracy_change(pair: Pair) -> Iterator[Change]:
    """The mIoU of the first profile of each side that has one: another would count the same pictures again."""
    old, new = (
        next((row.accuracy for row in side if row and row.accuracy and row.accuracy.miou is not None), None)
        for side in (pair.old, pair.new)
    )
    if old is None or old.miou is None:
        return
    if new is None or new.miou is None:
        yield Change(pair.label, "mIoU", old.miou, worse=True)
        return
    if (old.data, old.images, list(old.class_iou)) != (new.data, new.images, list(new.class_iou)):
        raise DataError(
            f"{pair.label} was judged on {old.data}, {old.images} images, and then on {new.data}, {new.images}, or on "
            "other classes: no comparison. Profile both on the same --data."
        )
    change = new.miou - old.miou
    low, high = miou_interval(np.asarray(old.counts), np.asarray(new.counts))
    yield Change(pair.label, "mIoU", old.miou, new.miou, change, low, high, change < -LEAST_DROP and high < 0)
