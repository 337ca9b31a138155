"""Every combination once: latency in turns, the run loop, accuracy; what is there already is not done again."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge_seg.apps.profile.judge import judge
from edge_seg.apps.profile.loops import PASSES, loop_rows
from edge_seg.apps.profile.rounds import time_rows
from edge_seg.apps.profile.rows import NOT_JUDGED, Accuracy, Row
from edge_seg.apps.profile.store import key_of
from edge_seg.errors import EdgeSegError


@dataclass(frozen=True, slots=True)
class Plan:
    """How rows are measured: rounds of so many seconds, frames of a source in the loop, and the labelled set if any."""

    rounds: int
    seconds: float
    source: str
    frames: int
    data: str | None

    def steps(self, rows: Sequence[Row]) -> int:
        """How often `measure` calls `on_step` for these rows, if none of them fails."""
        timed = [row for row in rows if row.latency_ms is None and row.error is None]
        looped = [row for row in rows if _wants_loop(row)]
        known = {(row.sha256, row.runtime) for row in rows if row.accuracy is not None}
        judged = {(row.sha256, row.runtime) for row in rows if self.data and row.accuracy is None and row.error is None}
        return len(timed) * self.rounds + len(looped) * PASSES + len(judged - known)


def resume(rows: Iterable[Row], kept: Iterable[Row]) -> list[Row]:
    """The rows, with what an earlier run measured of each; a part that failed then is tried again."""
    known = {key_of(row): row for row in kept}
    found = [known.get(key_of(row), row) for row in rows]
    return [
        replace(old, model=row.model, path=row.path, error=row.error, notes=())
        for row, old in zip(rows, found, strict=True)
    ]


def measure(
    rows: Sequence[Row], plan: Plan, *, on_step: Callable[[], None], save: Callable[[Sequence[Row]], None]
) -> list[Row]:
    """The rows with all that can be measured of them; `save` is given all of them whenever one has more."""
    found = list(rows)
    place = {_asked(row): index for index, row in enumerate(found)}

    def keep(row: Row) -> None:
        found[place[_asked(row)]] = row
        save(found)

    waiting = [row for row in found if row.error is None and row.latency_ms is None]
    for row in time_rows(waiting, rounds=plan.rounds, seconds=plan.seconds, on_round=on_step):
        keep(row)
    looping = [row for row in found if _wants_loop(row)]
    for row in loop_rows(looping, plan.source, plan.frames, on_turn=on_step):
        keep(row)
    judged: dict[tuple[str, str], Accuracy | str] = {
        (row.sha256, row.runtime): row.accuracy for row in found if row.accuracy is not None
    }
    for row in list(found):
        keep(_with_accuracy(row, plan, judged, on_step))
    return found


def _asked(row: Row) -> tuple[str, str, str, int, int]:
    return row.model, row.path, row.runtime, row.batch, row.threads


def _wants_loop(row: Row) -> bool:
    """True for a row that is still to run in the loop, which takes frames one by one: a larger batch has no part."""
    return row.error is None and row.loop is None and row.batch == 1


def _with_accuracy(
    row: Row, plan: Plan, judged: dict[tuple[str, str], Accuracy | str], on_step: Callable[[], None]
) -> Row:
    """The row with its accuracy, which batch and threads do not change: each file is judged once on a run-time."""
    if row.error is not None or plan.data is None or row.accuracy is not None:
        return row
    key = row.sha256, row.runtime
    if key not in judged:
        try:
            judged[key] = judge(Path(row.path), row.runtime, plan.data)
        except EdgeSegError as error:
            judged[key] = f"{NOT_JUDGED}: {error}"
        on_step()
    found = judged[key]
    return replace(row, notes=(*row.notes, found)) if isinstance(found, str) else replace(row, accuracy=found)
