"""Joules, from energy counters, or from power that is read ten times a second."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

SAMPLE_S = 0.1
"""Between two readings of a power; they cost a millisecond or so, as an INA3221 is asked over I2C."""

LEAVE_S = 5.0

Read = Callable[[], float | None]
"""A number that may not be there at the moment."""


@dataclass(frozen=True, slots=True)
class Energy:
    """What there is to read, in words: joules counted since some time, or watts now; neither where the words say why.

    The words stand in reports, so that a number says which part of the machine it is of.
    """

    words: str
    joules: Read | None = None
    watts: Read | None = None

    @property
    def told(self) -> bool:
        """Whether there is a number."""
        return self.joules is not None or self.watts is not None


def total(reads: Sequence[Read]) -> Read:
    """The sum of several readings, None where one of them is missing.

    >>> total([lambda: 1.0, lambda: 2.5])(), total([lambda: 1.0, lambda: None])()
    (3.5, None)
    """

    def read() -> float | None:
        values = [one() for one in reads]
        return None if None in values else sum(value for value in values if value is not None)

    return read


class PowerIntegral:
    """Joules of readings of a power, by the trapezoidal rule.

    >>> integral = PowerIntegral()
    >>> for watts, second in ((10.0, 0.0), (20.0, 2.0), (20.0, 3.0)):
    ...     integral.add(watts, second)
    >>> integral.joules
    50.0
    """

    def __init__(self) -> None:
        self.joules: float | None = None
        self._last: tuple[float, float] | None = None

    def add(self, watts: float, now_s: float) -> None:
        """Take a reading at `now_s` seconds of a monotonic clock."""
        if self._last is None:
            self.joules = 0.0
        else:
            before, then_s = self._last
            self.joules = (self.joules or 0.0) + (before + watts) / 2 * (now_s - then_s)
        self._last = watts, now_s


@contextmanager
def measure(energy: Energy) -> Iterator[Read]:
    """A reading of the joules since some time. A power is sampled by a thread until the block ends.

    A thread, since two readings around a round of work would tell of the moments before and after it.
    """
    if energy.watts is None:
        yield energy.joules or (lambda: None)
        return
    sampler = _Sampler(energy.watts)
    try:
        yield sampler.read_joules
    finally:
        sampler.stop()


class _Sampler:
    """Integrates a power on a thread of its own."""

    def __init__(self, watts: Read) -> None:
        self._watts = watts
        self._integral = PowerIntegral()
        self._lock = threading.Lock()
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="power", daemon=True)
        self.read_joules()
        self._thread.start()

    def read_joules(self) -> float | None:
        """Joules since the first reading, up to now; None before there was one."""
        with self._lock:
            watts = self._watts()
            if watts is not None:  # a reading that fails now and then leaves a longer step
                self._integral.add(watts, time.perf_counter())
            return self._integral.joules

    def stop(self) -> None:
        """End the thread."""
        self._leaving.set()
        self._thread.join(LEAVE_S)

    def _run(self) -> None:
        while not self._leaving.wait(SAMPLE_S):
            self.read_joules()
