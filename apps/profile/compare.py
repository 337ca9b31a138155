"""Two profiles: what became slower or less accurate, beyond the noise that they measured."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_seg.apps.profile.rows import Accuracy, Latency, Profile, Row
from edge_seg.bootstrap import miou_interval, ratio_interval
from edge_seg.errors import DataError

SLOWER = 1.05
"""How many times as long p50 has to be: two profiles of one build on a quiet machine can differ by so much."""
LEAST_DROP = 0.001
"""mIoU that has to be lost: less is no reason to stop anybody."""


LEAST_ROUNDS = 5
"""Rounds that a profile needs for an interval that means anything."""
ALIKE = ("machine", "rounds", "source")
"""Settings that two profiles have to share."""


@dataclass(frozen=True, slots=True)
class Change:
    """A number of a combination in both profiles; `low` to `high` is the 95 % interval of its change.

    `change` is new / old of a time, new - old of an mIoU. `worse` is set where it is beyond the interval and matters,
    and where the number is there no more. `disturbed` says what else kept the machine busy in one of them.
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


def compare_profiles(old: Profile, new: Profile) -> list[Change]:
    """Lines for every combination of `old`: p50, mIoU, and what is missing in `new`.

    Combinations are the same where model, run-time, batch and threads are; the models' file names count where none is
    the same as typed. What `old` has and `new` gives an error for is worse; a combination that was not asked for there
    is told. DataError where the two share none, or were made with other settings or too few rounds.
    """
    for name in ALIKE:
        if old.settings.get(name) != new.settings.get(name):
            raise DataError(
                f"The profiles have another {name}: {old.settings.get(name)}, and then {new.settings.get(name)}. "
                "Profile both alike."
            )
    for key in (_typed, _file):
        known = {key(row): row for row in new.rows}
        if any(key(row) in known for row in old.rows):
            break
    else:
        raise DataError("The profiles share no combination of model, run-time, batch and threads. Profile the same.")
    return [change for row in old.rows if row.error is None for change in _changes(row, known.get(key(row)))]


def _typed(row: Row) -> tuple[str, str, int, int]:
    return row.model, row.runtime, row.batch, row.threads


def _file(row: Row) -> tuple[str, str, int, int]:
    return Path(row.path).name, row.runtime, row.batch, row.threads


def _changes(before: Row, after: Row | None) -> Iterator[Change]:
    if after is None:
        yield Change(before.label, "not in the new profile")
    elif after.error is not None:
        yield Change(before.label, after.error, worse=True)
    else:
        if before.latency_ms is not None:
            yield _latency_change(before, before.latency_ms, after)
        if before.accuracy is not None and before.accuracy.miou is not None:
            yield _accuracy_change(before.label, before.accuracy, before.accuracy.miou, after)


def _latency_change(before: Row, old: Latency, after: Row) -> Change:
    new = after.latency_ms
    if new is None:
        return Change(before.label, "p50 ms", old.p50, worse=True)
    fewest = min(len(old.rounds), len(new.rounds))
    if fewest < LEAST_ROUNDS:
        raise DataError(f"{before.label} was timed in {fewest} rounds, too few to tell. Profile with --rounds 9.")
    ratio = new.p50 / old.p50
    low, high = ratio_interval(old.rounds, new.rounds)
    worse = ratio > SLOWER and low > 1
    disturbed = before.disturbed or after.disturbed
    return Change(before.label, "p50 ms", old.p50, new.p50, ratio, low, high, worse, disturbed)


def _accuracy_change(label: str, old: Accuracy, miou: float, after: Row) -> Change:
    new = after.accuracy
    if new is None or new.miou is None:
        return Change(label, "mIoU", miou, worse=True)
    if (old.data, old.images, list(old.class_iou)) != (new.data, new.images, list(new.class_iou)):
        raise DataError(
            f"{label} was judged on {old.data}, {old.images} images, and then on {new.data}, {new.images}, or on other "
            "classes: no comparison. Profile both on the same --data."
        )
    change = new.miou - miou
    low, high = miou_interval(np.asarray(old.counts), np.asarray(new.counts))
    return Change(label, "mIoU", miou, new.miou, change, low, high, change < -LEAST_DROP and high < 0)
