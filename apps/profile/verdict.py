"""What a soak says, in words: its first minute against its last."""

import math
from collections.abc import Sequence

from edge_seg.apps.profile.rows import Minute
from edge_seg.devices.watch import OTHERS_CORES, tell_others

STEADY = 0.05
"""The share by which FPS may change from the first minute to the last."""

GROWS_MB_A_MINUTE, GROWS_MB = 1.0, 10.0
"""A leak is what grows by more than both, a minute and in all, after the first minute; less is an allocator's habit."""

CLOCK_FELL = 0.95
"""The share of the first minute's clock below which a slower run is laid to it."""

HOT_CELSIUS = 75.0
"""From here on, a clock that falls falls for heat: small boards begin at 80 °C or 85 °C, laptops at 90 °C or more."""


def soak_verdict(minutes: Sequence[Minute], *, interval_s: float = 60.0) -> str:
    r"""One or two sentences on the minutes of a soak, each of `interval_s` seconds; at least one of them.

    FPS and p99 are compared from the first to the last. The first counts: it is the cool one, which other benchmarks
    show. Memory is followed from the second on, since buffers fill in the first. Throttling and other work are told of
    an even run too: without them it might have been faster throughout.

    >>> rates = 61.2, 61.0, 60.8
    >>> found = soak_verdict([Minute(n, fps, 15.0, 18.1 + n / 10, 300.0 + n * 0.3) for n, fps in enumerate(rates, 1)])
    >>> print(*found.split("; "), sep="\n")
    Steady: 61.2 FPS in the first minute, 60.8 in the last (-0.7 %)
    p99 of the age 18.2 ms, then 18.4
    memory +0.3 MB a minute.
    """
    first, last = minutes[0], minutes[-1]
    span = _span(interval_s)
    if len(minutes) == 1:
        return f"Too short to compare: {first.fps:.1f} FPS, p99 of the age {first.p99_ms:.1f} ms."
    change = last.fps / first.fps - 1
    growth = memory_growth(minutes, interval_s=interval_s)
    grows = growth is not None and growth > GROWS_MB_A_MINUTE and last.memory_mb - minutes[1].memory_mb > GROWS_MB
    slower = change < -STEADY
    parts = [
        f"{first.fps:.1f} FPS in the first {span}, {last.fps:.1f} in the last ({change * 100:+.1f} %)"
        + (cause(minutes) if slower else ""),
        *([] if slower else filter(None, [_events(minutes)])),
        *filter(None, [others_work(minutes, interval_s=interval_s)]),
        f"p99 of the age {first.p99_ms:.1f} ms, then {last.p99_ms:.1f}",
        *([] if growth is None else [f"memory {growth:+.1f} MB a minute"]),
    ]
    return f"{_head(change, grows=grows)}: {'; '.join(parts)}."


def _head(change: float, *, grows: bool) -> str:
    """The word at the beginning.

    >>> _head(0.01, grows=True), _head(-0.2, grows=True), _head(0.2, grows=False)
    ('Grows', 'Slows down and grows', 'Speeds up')
    """
    pace = "Slows down" if change < -STEADY else "Speeds up" if change > STEADY else ""
    if not grows:
        return pace or "Steady"
    return f"{pace} and grows" if pace else "Grows"


def cause(minutes: Sequence[Minute]) -> str:
    """What a run that slows down is laid to, as far as the machine tells; other work only where it grew.

    >>> cause([Minute(1, 30.0, 15.0, 18.2, 300.0), Minute(2, 21.0, 22.0, 25.1, 300.0, others_cpu=0.8)])
    ', while other work took 0.8 cores'
    >>> cause([Minute(1, 30.0, 15.0, 18.2, 300.0, 61.0, 1500.0), Minute(2, 21.0, 22.0, 25.1, 300.0, 86.0, 1100.0)])
    ', while the clock fell from 1.5 to 1.1 GHz at 86 °C: throttled by heat'
    """
    first, last = minutes[0], minutes[-1]
    events = _events(minutes)
    fell = first.mhz and last.mhz and last.mhz < CLOCK_FELL * first.mhz
    hot = (fell or events) and last.celsius is not None and last.celsius >= HOT_CELSIUS
    told = [_clock(first, last) if fell else None, _events(minutes), _more_others(first, last)]
    known = " and ".join(part for part in told if part)
    if known:
        return f", while {known}{': throttled by heat' if hot else ''}"
    if all(tell_others(minute.others_cpu) for minute in minutes):
        return ", beside other work all along"
    return "" if others_work(minutes) else ", and the machine does not tell why"


def _clock(first: Minute, last: Minute) -> str:
    assert first.mhz is not None and last.mhz is not None
    degrees = "" if last.celsius is None else f" at {last.celsius:.0f} °C"
    return f"the clock fell from {first.mhz / 1e3:.1f} to {last.mhz / 1e3:.1f} GHz{degrees}"


def _more_others(first: Minute, last: Minute) -> str | None:
    """Other work, where it took more in the last minute than in the first: what was there all along slows nothing."""
    grew = (last.others_cpu or 0.0) - (first.others_cpu or 0.0) > OTHERS_CORES
    return tell_others(last.others_cpu) if grew else None


def others_work(minutes: Sequence[Minute], *, interval_s: float = 60.0) -> str | None:
    """In how many minutes other work disturbed, and how much it took; None where it never did.

    >>> others_work([Minute(n, 30.0, 15.0, 18.2, 300.0, others_cpu=0.05 + n * 0.3) for n in range(3)])
    'other work took up to 0.7 cores, and more than 0.1 in 2 of 3 minutes'
    """
    taken = [minute.others_cpu for minute in minutes if minute.others_cpu is not None]
    most = max(taken, default=0.0)
    if most <= OTHERS_CORES:
        return None
    times = sum(cores > OTHERS_CORES for cores in taken)
    unit = "minutes" if interval_s == 60.0 else "intervals"
    return f"other work took up to {most:.1f} cores, and more than {OTHERS_CORES} in {times} of {len(taken)} {unit}"


def _events(minutes: Sequence[Minute]) -> str | None:
    events = sum(minute.throttled or 0 for minute in minutes)
    return f"the CPU throttled {events} time{'s' if events > 1 else ''}" if events else None


def memory_growth(minutes: Sequence[Minute], *, interval_s: float = 60.0) -> float | None:
    """Megabytes a minute, the slope of a straight line through all but the first minute.

    None for less than two more, and for less than a minute in all: what it says would be mostly stretched.

    >>> memory_growth([Minute(n, 30.0, 15.0, 18.2, 300.0 + 12 * n) for n in range(1, 6)])
    12.0
    """
    later = minutes[1:]
    if len(later) < 2 or len(later) * interval_s < 60.0 or any(math.isnan(minute.memory_mb) for minute in later):
        return None
    middle = (len(later) - 1) / 2
    mean = sum(minute.memory_mb for minute in later) / len(later)
    steps = [index - middle for index in range(len(later))]
    rise = sum(step * (minute.memory_mb - mean) for step, minute in zip(steps, later, strict=True))
    return rise / sum(step * step for step in steps) * 60.0 / interval_s


def verdict_end(found: int, wanted: int, *, dropped: int | None, frames: int) -> str:
    """What is to be added: frames that a live source lost, and a run that ended early.

    >>> verdict_end(3, 30, dropped=None, frames=900), verdict_end(30, 30, dropped=10, frames=990)
    (' It ended early, with 3 of 30.', ' 10 of 1000 frames were dropped.')
    """
    lost = "" if dropped is None else f" {dropped} of {frames + dropped} frames were dropped."
    return lost + (f" It ended early, with {found} of {wanted}." if found < wanted else "")


def _span(interval_s: float) -> str:
    """A minute, or what was measured instead.

    >>> _span(60.0), _span(0.5)
    ('minute', '0.5 s')
    """
    return "minute" if interval_s == 60.0 else f"{interval_s:.3g} s"
