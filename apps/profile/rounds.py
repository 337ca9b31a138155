"""Latency: all artefacts in turns, so that what else the machine does hurts all alike."""

import os
import statistics
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from edge_seg.apps.profile.rows import Latency, Row
from edge_seg.devices.load import read_memory_mb
from edge_seg.devices.watch import Watch, told
from edge_seg.errors import EdgeSegError
from edge_seg.runners import RUNTIMES
from edge_seg.runners.timed import TimedProcess, timed_process

Number = TypeVar("Number", int, float)

GPU_RUNTIMES = ("torch", *(name for name, known in RUNTIMES.items() if known.on_gpu))
"""Run-times that work on a GPU where there is one: its energy is theirs too."""
SCARCE = 0.1
"""Share of the machine's memory that has to stay free: no more processes are opened below it."""
MOST_REPEATED = 2
"""Passes in all over the rows, as a multiple of the rounds asked for, where rounds were disturbed."""
NEIGHBOURS = 2
"""Rounds before and after one, of whatever rows, that tell how fast the machine was then."""
LEAST_ROWS = 3
"""Rows that it takes to tell the machine's slowness from a row's own."""
SLOWER = 1.08
"""From here on the machine was slower: rounds of a machine at rest differ by half of that."""


@dataclass(slots=True)
class Timed:
    """A row with its process at work, and the rounds so far: calls in milliseconds, what disturbed, what was read."""

    row: Row
    process: TimedProcess
    times_ms: list[tuple[float, ...]] = field(default_factory=list)
    disturbed: list[str | None] = field(default_factory=list)
    joules: list[float | None] = field(default_factory=list)
    loads: list[float | None] = field(default_factory=list)
    clocks: list[float | None] = field(default_factory=list)
    throttled: list[int | None] = field(default_factory=list)
    slowness: list[float] = field(default_factory=list)
    memory_mb: float | None = None
    usual_mhz: float = 0.0

    def time(self, seconds: float, pids: Collection[int]) -> None:
        """Take a round; a row whose process fails keeps that as its error, and takes no more.

        `pids` are all processes whose work is not that of others.
        """
        if self.row.error is not None:
            return
        try:
            with Watch(pids=pids, gpu=self.row.runtime in GPU_RUNTIMES) as watch:
                found = self.process.round(seconds)
        except EdgeSegError as error:
            self.row = replace(self.row, error=str(error))
            return
        self.times_ms.append(found.times_ms)
        self.slowness.append(1.0)
        self.usual_mhz = max(self.usual_mhz, watch.mhz or 0.0)
        self.disturbed.append(told(watch, self.usual_mhz))
        self.joules.append(watch.joules)
        self.loads.append(watch.load1)
        self.clocks.append(watch.mhz)
        self.throttled.append(watch.throttled)
        self.memory_mb = found.memory_mb

    @property
    def quiet(self) -> list[int]:
        """The rounds that nothing disturbed."""
        return [number for number in range(len(self.times_ms)) if self.reason(number) is None]

    def reason(self, number: int) -> str | None:
        """What disturbed a round; None where nothing did."""
        slowness = self.slowness[number]
        return self.disturbed[number] or (
            f"the machine was {slowness:.2f} times as slow" if slowness > SLOWER else None
        )


def time_rows(
    rows: Sequence[Row], *, rounds: int, seconds: float, on_round: Callable[[], None] = lambda: None
) -> Iterator[Row]:
    """The rows with their latency, each in a process of its own, in turns; in groups where memory is short.

    A round is `seconds` of calls. Odd passes go backwards, so that a machine that slows down meets all alike. A row
    with disturbed rounds, and with rounds in which all rows were slower, is timed again, up to twice the rounds; where
    most stay disturbed, all count, and the row is marked. A row that fails has an error, and the others go on.
    """
    waiting = list(rows)
    while waiting:
        with ExitStack() as stack:
            group: list[Timed] = []
            while waiting and (not group or not _memory_is_short()):
                row = waiting.pop(0)
                try:
                    process = stack.enter_context(_open(row))
                except EdgeSegError as error:
                    yield replace(row, error=str(error))
                    continue
                group.append(Timed(replace(row, load_ms=process.load_ms), process))
            _time_group(group, rounds, seconds, on_round)
        yield from (summarise(timed, rounds) for timed in group)


def _open(row: Row) -> AbstractContextManager[TimedProcess]:
    return timed_process(Path(row.path), row.runtime, threads=row.threads, batch=row.batch)


def _time_group(group: Sequence[Timed], rounds: int, seconds: float, on_round: Callable[[], None]) -> None:
    order: list[tuple[Timed, int]] = []
    for number in range(rounds * MOST_REPEATED):
        repeated = number >= rounds
        for timed in group if number % 2 == 0 else reversed(group):
            if not repeated or len(timed.quiet) < rounds:
                # Also those that wait now: a run-time's threads may spin on for a while.
                pids = [os.getpid(), *(other.process.pid for other in group if other.row.error is None)]
                timed.time(seconds, pids)
                if timed.row.error is None:
                    order.append((timed, len(timed.times_ms) - 1))
            if not repeated:
                on_round()
        compare_rounds(order)


def compare_rounds(order: Sequence[tuple[Timed, int]]) -> None:
    """Note for each round how slow the machine was then; `order` has rows and rounds as they were taken.

    A virtual machine does not tell when its host gives it less. But then every row is slower than at its best: the
    slowness is the median of that over the rounds around. With few rows nothing is noted.
    """
    if len({id(timed) for timed, _ in order}) < LEAST_ROWS:
        return
    best = {id(timed): min(map(np.median, timed.times_ms)) for timed, _ in order}
    slower = [float(np.median(timed.times_ms[number]) / best[id(timed)]) for timed, number in order]
    for at, (timed, number) in enumerate(order):
        timed.slowness[number] = statistics.median(slower[max(0, at - NEIGHBOURS) : at + NEIGHBOURS + 1])


def summarise(timed: Timed, rounds: int) -> Row:
    """The row with the numbers of its undisturbed rounds, or of all where fewer than half as many as asked for are."""
    row = timed.row
    if row.error is not None:
        return row
    every = range(len(timed.times_ms))
    taken = timed.quiet if len(timed.quiet) * 2 >= rounds else every
    calls = np.concatenate([timed.times_ms[number] for number in taken])
    p50, p95, p99 = np.percentile(calls, (50, 95, 99)).tolist()
    medians = tuple(float(np.median(timed.times_ms[number])) for number in taken)
    joules = _known([timed.joules[number] for number in taken], sum)
    reasons = [reason for reason in map(timed.reason, every) if reason is not None]
    return replace(
        row,
        latency_ms=Latency(float(calls.min()), p50, p95, p99, medians, len(calls)),
        images_per_s=row.batch * len(calls) / float(calls.sum()) * 1e3,
        memory_mb=timed.memory_mb,
        joules=None if joules is None else joules / (row.batch * len(calls)),
        load1=_known([timed.loads[number] for number in taken], statistics.median),
        mhz=_known([timed.clocks[number] for number in taken], statistics.median),
        throttled=_known([timed.throttled[number] for number in taken], sum),
        disturbed=reasons[-1] if taken is every and reasons else None,
    )


def _known(values: Sequence[Number | None], of: Callable[[list[Number]], Number]) -> Number | None:
    """What `of` makes of the values; None where one is not known."""
    known = [value for value in values if value is not None]
    return of(known) if known and len(known) == len(values) else None


def _memory_is_short(root: Path = Path("/")) -> bool:
    free, whole = read_memory_mb(root), read_memory_mb(root, "MemTotal")
    return free is not None and whole is not None and free < SCARCE * whole
