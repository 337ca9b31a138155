"""Progress of TensorRT's builder on stderr: a bar for each of its phases on a terminal, a line for each elsewhere.

TensorRT before 10 tells nothing of its phases: there is a bar that says no more than how long it takes.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from edge_seg.export.build_log import OnPhase


@contextmanager
def build_progress() -> "Iterator[OnPhase]":
    """A function to tell a phase's name, its finished steps and their number."""
    if not sys.stderr.isatty():
        yield _print_phase
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, refresh_per_second=4) as bars:
        bars.add_task("TensorRT", total=None)
        yield _Bars(bars).show


class _Bars:
    """A bar for each phase that is under way."""

    def __init__(self, bars: "Progress") -> None:
        self._bars = bars
        self._phases: dict[str, TaskID] = {}

    def show(self, phase: str, step: int, steps: int) -> None:
        """Move a phase's bar; a new phase has a new one, and a finished one has none."""
        if phase not in self._phases:
            self._phases[phase] = self._bars.add_task(f"  {phase}", total=steps, completed=step)
        elif step < steps:
            self._bars.update(self._phases[phase], completed=step)
        else:
            self._bars.remove_task(self._phases.pop(phase))


def _print_phase(phase: str, step: int, steps: int) -> None:
    """A line for a phase that begins."""
    if step == 0:
        print(f"  {phase}", file=sys.stderr, flush=True)
