"""What TensorRT says while it builds: kept whole in a file, its errors for the message, its phases for a bar."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_seg.runners.tensorrt_api import has

OnPhase = Callable[[str, int, int], bool]
"""Told a phase's name, its finished steps and their number; False ends the build."""

MEMORY = ("out of memory", "outofmemory", "insufficient workspace", "requested amount of gpu memory")
"""Words of TensorRT and CUDA where memory has run out."""


class BuildLog:
    """The lines of one build."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.errors: list[str] = []

    def add(self, severity: str, message: str) -> None:
        """Keep a line."""
        self.lines.append(f"{severity} {message}")
        if severity in ("ERROR", "INTERNAL_ERROR"):
            self.errors.append(message)

    @property
    def ran_out_of_memory(self) -> bool:
        """Whether an error is one of memory."""
        return any(word in error.lower() for error in self.errors for word in MEMORY)

    def write(self, path: Path) -> None:
        """Write all lines; of no use to the engine, so plainly."""
        path.write_text("\n".join([*self.lines, ""]), encoding="utf-8")


def make_logger(trt: Any, log: BuildLog) -> Any:  # noqa: ANN401
    """A logger of TensorRT that fills `log`. It must live as long as what it is given to."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:  # noqa: ANN401
            log.add(str(severity).rpartition(".")[2], message)

    return Logger()


def make_monitor(trt: Any, on_phase: OnPhase) -> Any:  # noqa: ANN401
    """A progress monitor, or None where this TensorRT has none (before 10)."""
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
            return on_phase(phase_name, step + 1, self.steps.get(phase_name, 0))

        def phase_finish(self, phase_name: str) -> None:
            steps = self.steps.pop(phase_name, 0)
            on_phase(phase_name, steps, steps)

    return Monitor()
