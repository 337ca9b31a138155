"""How long two artefacts take for a picture, paired: two processes in turns on the same noisy machine."""

import statistics
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edge_seg.runners.timed import PROGRAM, timed_process

ROUNDS = 9
ROUND_S = 0.3
"""How long an artefact works in each round, or two pictures where these take longer."""

CLEARLY_FASTER = 1.05
"""How many times as fast the other of two choices has to be: below it the timings say nothing."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Milliseconds a picture of two artefacts, medians over all rounds, and how many times as fast the second is.

    `speedup` is the median of the rounds' own ratios; `least` and `most` are those of the rounds furthest apart.
    """

    first_ms: float
    second_ms: float
    speedup: float
    least: float
    most: float


def compare_speed(
    first: tuple[Path, str], second: tuple[Path, str], *, rounds: int = ROUNDS, program: tuple[str, ...] = PROGRAM
) -> Speed:
    """Time two artefacts, each (path, run-time), on pictures of noise; ModelError where one cannot be opened.

    `program` as for `timed_process`.
    """
    with ExitStack() as stack:  # both are warm before one is timed
        processes = [
            stack.enter_context(timed_process(path, runtime, program=program)) for path, runtime in (first, second)
        ]
        times: list[tuple[float, float]] = []
        for turn in range(rounds):
            order = (0, 1) if turn % 2 == 0 else (1, 0)  # a machine that slows down meets both alike
            found = {index: statistics.median(processes[index].round(ROUND_S).times_ms) for index in order}
            times.append((found[0], found[1]))
    return summarise(times)


def summarise(times: list[tuple[float, float]]) -> Speed:
    """The medians of rounds of (first, second) milliseconds.

    >>> summarise([(10.0, 5.0), (30.0, 10.0), (12.0, 4.8)])
    Speed(first_ms=12.0, second_ms=5.0, speedup=2.5, least=2.0, most=3.0)
    """
    ratios = [first / second for first, second in times]
    firsts, seconds = zip(*times, strict=True)
    median = statistics.median
    return Speed(median(firsts), median(seconds), median(ratios), min(ratios), max(ratios))


def computes_bf16() -> bool:
    """Whether OpenVINO, which has to be installed, computes in BF16 on this CPU, by what it tells of it."""
    from openvino import Core

    return "BF16" in Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
