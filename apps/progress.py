"""Progress of long work on stderr: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LINE_EVERY_S = 10.0


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Callable[[], None]]:
    """A function to call after each of `total` steps, or of a number not known."""
    if not sys.stderr.isatty():
        yield _Lines(title, total).step
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, refresh_per_second=4) as bar:
        task = bar.add_task(title, total=total)
        yield lambda: bar.advance(task)


class _Lines:
    """Prints a line every LINE_EVERY_S seconds."""

    def __init__(self, title: str, total: int | None) -> None:
        self._title, self._total = title, total
        self._start_s = self._told_s = time.perf_counter()
        self._count = 0

    def step(self) -> None:
        """Count a step."""
        self._count += 1
        now_s = time.perf_counter()
        if now_s - self._told_s >= LINE_EVERY_S:
            self._told_s = now_s
            rate = self._count / (now_s - self._start_s)
            left = "" if self._total is None else f" of {self._total}, {(self._total - self._count) / rate:.0f} s left"
            print(f"{self._title}: {self._count}{left}, {rate:.1f} a second", file=sys.stderr, flush=True)
