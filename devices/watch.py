"""What else went on in the machine while something was timed."""

import os
import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edge_seg.devices.clocks import is_held, read_mhz, read_throttles, risen
from edge_seg.devices.load import read_busy_s, read_load, read_process_s
from edge_seg.devices.power import Read
from edge_seg.devices.telemetry import open_energy

OTHERS_CORES = 0.1
"""What others may use of the CPUs, in cores, without disturbing: background work of an idle desktop stays below."""

CLOCK_KEPT = 0.9
"""The share of the usual clock above which it has not fallen."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A moment: seconds of `time.perf_counter()`, CPU seconds of all and of our own processes, clock and throttling."""

    at_s: float
    busy_s: float | None
    own_s: float | None
    mhz: float | None
    throttles: Mapping[str, int]
    held: bool | None


def take_reading(
    root: Path = Path("/"), *, pids: Collection[int] | None = None, cpus: Collection[int] | None = None
) -> Reading:
    """The machine now; `pids` are our own processes (this one), `cpus` the CPUs that we may use (this process's)."""
    own = (os.getpid(),) if pids is None else pids
    usable = os.sched_getaffinity(0) if cpus is None else cpus
    at_s, busy_s, own_s = time.perf_counter(), read_busy_s(root, usable), read_process_s(root, own)  # at one moment
    return Reading(at_s, busy_s, own_s, read_mhz(root), read_throttles(root), is_held(root))


def others_cores(before: Reading, after: Reading) -> float | None:
    """CPU seconds a second that others took of our CPUs between two readings; None where that is not told.

    >>> before = Reading(10.0, 100.0, 40.0, None, {}, None)
    >>> others_cores(before, Reading(12.0, 104.0, 42.5, None, {}, None))
    0.75
    """
    if before.busy_s is None or after.busy_s is None or before.own_s is None or after.own_s is None:
        return None
    others_s = (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
    return max(0.0, others_s) / (after.at_s - before.at_s)  # below 0 by the roundings of /proc


def throttle_events(before: Reading, after: Reading) -> int | None:
    """How often throttling was counted in between; 1 where the clock is held down and nothing counts, None if not told.

    >>> held = Reading(1.0, None, None, None, {}, True)
    >>> throttle_events(held, held)
    1
    """
    counted = risen(before.throttles, after.throttles)
    if after.held is None:
        return counted
    return max(counted or 0, int(after.held))


class Watch:
    """Looks at the machine before and after a block of work that is timed; what it does not tell is None.

    `pids` are the processes that do the work, with this one among them where it does any: their CPU time is not that of
    others. A process that ends within the block leaves `others_cpu` unknown. `gpu` adds an NVIDIA GPU's energy.
    CPU times are exact to some hundredths of a second, so the block should take half a second or more.
    """

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        pids: Collection[int] | None = None,
        cpus: Collection[int] | None = None,
        gpu: bool = False,
    ) -> None:
        self._root, self._pids, self._cpus, self._gpu = root, pids, cpus, gpu
        self._stack = ExitStack()
        self._joules: Read = lambda: None
        self.others_cpu: float | None = None
        self.mhz_before: float | None = None
        self.mhz: float | None = None
        self.throttled: int | None = None
        self.load1: float | None = None
        self.joules: float | None = None
        self.seconds = 0.0

    def __enter__(self) -> "Watch":
        self._joules = self._stack.enter_context(open_energy(self._root, gpu=self._gpu))
        self._first_joules = self._joules()
        self._before = self._read()
        self.mhz_before = self._before.mhz
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            after, joules = self._read(), self._joules()
        if joules is not None and self._first_joules is not None:
            self.joules = joules - self._first_joules
        self.seconds = after.at_s - self._before.at_s
        self.others_cpu = others_cores(self._before, after)
        self.mhz, self.throttled = after.mhz, throttle_events(self._before, after)
        self.load1 = read_load(self._root)

    def _read(self) -> Reading:
        return take_reading(self._root, pids=self._pids, cpus=self._cpus)


def told(watch: Watch, usual_mhz: float | None = None) -> str | None:
    """What disturbed a block of work, in words; None where nothing did, as far as the machine tells.

    `usual_mhz` is the clock of earlier blocks, where there were some: one that was low from the start has fallen too.
    """
    parts = [
        tell_others(watch.others_cpu),
        tell_clock(max(usual_mhz or 0.0, watch.mhz_before or 0.0), watch.mhz),
        f"the CPU throttled {watch.throttled} time{'s' if watch.throttled > 1 else ''}" if watch.throttled else None,
    ]
    return ", ".join(part for part in parts if part) or None


def tell_others(cores: float | None) -> str | None:
    """Words for what others used, above OTHERS_CORES.

    That may be processes, interrupts, or other machines on the same host.

    >>> tell_others(0.82), tell_others(0.05), tell_others(None)
    ('other work took 0.8 cores', None, None)
    """
    return f"other work took {cores:.1f} cores" if cores is not None and cores > OTHERS_CORES else None


def tell_clock(before: float | None, after: float | None) -> str | None:
    """Words for a clock in MHz that fell to less than CLOCK_KEPT.

    >>> tell_clock(2900.0, 1800.0), tell_clock(2900.0, 2800.0), tell_clock(None, 1800.0)
    ('the clock fell from 2.9 to 1.8 GHz', None, None)
    """
    if not before or after is None or after >= CLOCK_KEPT * before:
        return None
    return f"the clock fell from {before / 1e3:.1f} to {after / 1e3:.1f} GHz"
