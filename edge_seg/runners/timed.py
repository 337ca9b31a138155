"""An artefact timed in a process of its own.

In one process run-times would slow each other: their threads spin for a while after each picture. The process opens the
artefact, and then answers each line of its input, a number of seconds, with the times of the calls that fit into it.
Where it may, it goes before all other processes.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from edge_seg.errors import EdgeSegError, ModelError

WARM_UP = 3
FIRST = -20
"""The priority of what is timed: the highest that is not real-time."""
LEAST_CALLS = 2
"""Calls of a round, also where they take longer than it."""


Say = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Round:
    """The times of a round's calls, milliseconds each, and the most memory of its process; None: not told."""

    times_ms: tuple[float, ...]
    memory_mb: float | None


class TimedProcess:
    """The process of one artefact, whose `round` can be asked for again and again."""

    def __init__(self, process: "subprocess.Popen[bytes]", name: str) -> None:
        self._process, self._name = process, name
        self.load_ms: float = self._answer()["load_ms"]
        """From opening the artefact to its first labels, with the run-time's own import."""

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def round(self, seconds: float) -> Round:
        """Time calls for so long; ModelError where the artefact fails or its process ends."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # of a process that has ended: what it said is still to be read
            self._process.stdin.write(f"{seconds}\n".encode())
        answer = self._answer()
        return Round(tuple(answer["times_ms"]), answer["memory_mb"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {"error": self._ending()}
        if "error" in answer:
            raise ModelError(f"{self._name} cannot be timed: {answer['error']}")
        return answer

    def _ending(self) -> str:
        code = self._process.wait()
        if code == -9:
            return "its process was killed, as it is where memory runs out."
        return f"its process ended with {code}; what it said stands above."


PROGRAM = ("-m", "edge_seg.runners.timed")


@contextmanager
def timed_process(
    path: Path, runtime: str, *, threads: int = 0, batch: int = 1, program: tuple[str, ...] = PROGRAM
) -> Iterator[TimedProcess]:
    """The process of an artefact, open and warm; ModelError where that fails. Leaving ends it.

    `program` is what Python runs: this module, or one that first lets `open_runner` take other artefacts.
    """
    command = [sys.executable, *program, str(path), runtime, str(threads), str(batch)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        try:
            yield TimedProcess(process, f"{path.name} on {runtime}")
        finally:
            process.kill()


def peak_memory_mb(status: Path = Path("/proc/self/status")) -> float | None:
    """The most memory that this process has had at a time, in millions of bytes; None where the kernel does not tell.

    Of the kernel's two counts, `ru_maxrss` would begin with what the parent had.
    """
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if found is None else int(found[1]) * 1024 / 1e6


def answers_alone() -> TextIO:
    """What was stdout, for answers alone: what a run-time prints there goes to stderr from now on."""
    sys.stdout.flush()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def go_first() -> bool:
    """Give this process, and the threads that it starts from now on, the first claim on the cores; False if it may not.

    setpriority(2): root may, and whoever has CAP_SYS_NICE. A neighbour then gets a hundredth of a core that both want.
    A real-time priority would keep it out as well, but Linux makes up for that with pauses of 50 ms. Where the kernel
    puts each session's processes into a group of its own (sched(7), autogroup), it is groups that share the cores, so
    the process becomes a session.
    """
    if not _take_priority():
        return False
    with suppress(OSError):  # of a process that is a session already, and of a kernel without groups
        os.setsid()
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(FIRST))
    return True


def _take_priority() -> bool:
    try:
        os.setpriority(os.PRIO_PROCESS, 0, FIRST)  # of this thread and those that it starts
    except OSError:
        return False
    return True


def priority() -> str:
    """In words, whether processes that are timed go before all others here."""
    with ThreadPoolExecutor(1) as pool:  # a thread that ends: this one goes on as it is
        first = pool.submit(_take_priority).result()
    return f"before all other processes (nice {FIRST})" if first else "beside other processes: only root may go first"


def _serve(path: Path, runtime: str, threads: int, batch: int, say: Say) -> None:
    start = time.perf_counter()
    from edge_seg.runners import open_runner

    with open_runner(path, runtime, threads=threads) as runner:
        shape = (batch, runner.spec.height, runner.spec.width, 3)
        images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        runner.infer(images)
        load_ms = (time.perf_counter() - start) * 1e3
        for _ in range(WARM_UP):
            runner.infer(images)
        say({"load_ms": load_ms})
        for line in sys.stdin:
            taken: list[float] = []
            while sum(taken) < float(line) * 1e3 or len(taken) < LEAST_CALLS:
                start = time.perf_counter()
                runner.infer(images)
                taken.append((time.perf_counter() - start) * 1e3)
            say({"times_ms": taken, "memory_mb": peak_memory_mb()})


def _main(arguments: list[str]) -> None:
    path, runtime, threads, batch = arguments
    answers = answers_alone()

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    go_first()
    try:
        _serve(Path(path), runtime, int(threads), int(batch), say)
    except EdgeSegError as error:
        say({"error": " ".join(str(error).split())})
    except MemoryError:
        say({"error": "memory ran out. Try a smaller batch."})
    except Exception as error:  # a run-time's own: the process that asked has a table to put it into
        say({"error": f"{type(error).__name__}: {' '.join(str(error).split())}"})
    except KeyboardInterrupt:  # told by the process that asked
        raise SystemExit(130) from None


if __name__ == "__main__":
    _main(sys.argv[1:])
