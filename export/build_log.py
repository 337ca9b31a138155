"""What happens while TensorRT builds: its phases, and what stops it.

TensorRT calls our Python from C++, and takes an exception there for an answer: Ctrl-C would be lost in it, and so would
the error of a picture that cannot be read. So both are kept here, and raised when the build has come back.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from edge_seg.runners.tensorrt_api import has

OnPhase = Callable[[str, int, int], None]
"""Told a phase's name, its finished steps and their number: 0 when it begins, all when it has ended."""


class Watch:
    """One build: whether it is to end, and why."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def stop(self, error: BaseException) -> None:
        """Keep the first reason to end."""
        self.error = self.error or error

    @property
    def ended(self) -> bool:
        """Whether the build is to end."""
        return self.error is not None

    @contextmanager
    def interrupts(self) -> Iterator[None]:
        """Keep Ctrl-C for the end of the block, where it, or any other reason to end, is raised.

        A second Ctrl-C ends the process. TensorRT before 10 cannot be stopped within a build.
        """
        main = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGINT) if main else None

        def keep(number: int, frame: object) -> None:
            self.stop(KeyboardInterrupt())
            signal.signal(signal.SIGINT, signal.SIG_DFL)

        if main:
            signal.signal(signal.SIGINT, keep)
        try:
            yield
        finally:
            if main:
                signal.signal(signal.SIGINT, before or signal.SIG_DFL)
        if self.error is not None:
            raise self.error


def make_monitor(trt: Any, watch: Watch, on_phase: OnPhase) -> Any:  # noqa: ANN401
    """A progress monitor that tells `on_phase` and lets `watch` end the build; None before TensorRT 10."""
    if not has(trt, "progress"):
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps
            on_phase(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            steps = self.steps.get(phase_name, 0)
            if step + 1 < steps:  # the last one is told by the phase's end
                on_phase(phase_name, step + 1, steps)
            return not watch.ended

        def phase_finish(self, phase_name: str) -> None:
            steps = self.steps.pop(phase_name, 0)
            on_phase(phase_name, steps, steps)

    return Monitor()
