"""What a person may ask of a running loop: quit, pause, overlay on or off, by key or by signal."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

KEYS = "q quit, space pause, o overlay, s screenshot"


class Controls:
    """The wishes so far. The loop reads them between frames, so that no frame is left half written.

    >>> controls = Controls()
    >>> controls.press(ord("o")), controls.press(ord("q"))
    (False, False)
    >>> controls.overlay, controls.quit
    (False, True)
    """

    def __init__(self) -> None:
        self.quit = False
        self.paused = False
        self.overlay = True

    def press(self, key: int) -> bool:
        """Take a key's code; True where it asks for a screenshot."""
        letter = chr(key & 0xFF).lower()  # above the eighth bit some windows report the shift keys
        self.quit |= letter == "q"
        self.paused ^= letter == " "
        self.overlay ^= letter == "o"
        return letter == "s"

    @contextmanager
    def on_signals(self) -> Iterator["Controls"]:
        """Make the first Ctrl-C or SIGTERM ask to quit; a second one interrupts at once."""
        signals = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, self._take_signal) for number in signals]
        try:
            yield self
        finally:
            for number, handler in zip(signals, before, strict=True):
                signal.signal(number, handler)

    def _take_signal(self, number: int, frame: FrameType | None) -> None:
        if self.quit:
            raise KeyboardInterrupt
        self.quit = True  # a flag only: a handler that takes a lock can meet its own thread holding it
