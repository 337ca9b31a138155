"""The run loop of all rows, in turns: twice, and once more where something else kept the machine busy."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from edge_seg.apps.profile.in_loop import LEAST_FRAMES, run_loop_of
from edge_seg.apps.profile.rows import LoopSpeed, Row
from edge_seg.errors import EdgeSegError

PASSES = 2
"""How often each row has its turn; once more where one of them was disturbed."""
STEADY_FRAMES = 20
"""Frames of a turn from which its rate holds: the first answers of several segmenters come almost at once."""
ENOUGH = 200
"""Frames in all of a row that hold."""


@dataclass(slots=True, eq=False)
class Looped:
    """A row, what its turns gave so far, and why it has no more of them."""

    row: Row
    frames: int
    turns: list[LoopSpeed] = field(default_factory=list)
    failure: str | None = None

    def take(self, source: str) -> None:
        """Take a turn of `frames` frames."""
        try:
            self.turns.append(run_loop_of(self.row, source, self.frames))
        except EdgeSegError as error:
            self.failure = str(error)

    @property
    def is_done(self) -> bool:
        """True for a row that needs no further turn."""
        quiet = all(turn.disturbed is None for turn in self.turns)
        return self.failure is not None or len(self.turns) == PASSES + (not quiet)

    def result(self) -> Row:
        """The row with its fastest undisturbed turn, or the fastest of all; with a note where a turn failed."""
        if self.failure is not None:
            return replace(self.row, notes=(*self.row.notes, f"Not run in the loop: {self.failure}"))
        quiet = [turn for turn in self.turns if turn.disturbed is None]
        return replace(self.row, loop=max(quiet or self.turns, key=lambda turn: turn.fps), notes=self._notes())

    def _notes(self) -> tuple[str, ...]:
        if self.frames >= STEADY_FRAMES:
            return self.row.notes
        few = f"FPS (loop) is of {self.frames} frames a turn and may be far too high: give --frames {ENOUGH}."
        return (*self.row.notes, few)


def frames_a_turn(frames: int) -> int:
    """Frames of each turn, where a row has so many in all.

    >>> frames_a_turn(200), frames_a_turn(2)
    (100, 2)
    """
    return max(LEAST_FRAMES, -(-frames // PASSES))


def loop_rows(
    rows: Sequence[Row], source: str, frames: int, *, on_turn: Callable[[], None] = lambda: None
) -> Iterator[Row]:
    """The rows with their speed in the run loop, each as soon as it is known; `frames` of the source in all.

    Every second pass goes backwards, so that a machine that slows down meets all alike. `on_turn` is told PASSES times
    of a row that does not fail.
    """
    waiting = [Looped(row, frames_a_turn(frames)) for row in rows]
    for number in range(PASSES + 1):
        for looped in waiting[:: 1 if number % 2 == 0 else -1]:
            looped.take(source)
            if number < PASSES:
                on_turn()
            if looped.is_done:
                waiting.remove(looped)
                yield looped.result()
