"""What a profile holds: a row for each combination, what was looked at more closely, and the machine."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edge_seg.metrics import Percentiles

NOT_JUDGED = "Accuracy not measured"
"""How a note begins that says why a labelled set gave no accuracy."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one call of the whole contract graph, of all calls of all rounds.

    `rounds` holds each round's own median, in the order taken: what intervals are drawn from. `calls` is how many there
    were in all: p99 of less than some hundred is hardly more than their maximum.
    """

    min: float
    p50: float
    p95: float
    p99: float
    rounds: tuple[float, ...]
    calls: int = 0

    @property
    def jitter(self) -> float:
        """p99 - p50, milliseconds."""
        return self.p99 - self.p50


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Accuracy of the very artefact on a labelled set, as `edge-seg eval` prints it.

    `counts` holds for each image and class the pixels that are right, and those in truth or labels: what intervals are
    drawn from.
    """

    data: str
    images: int
    miou: float | None
    class_iou: Mapping[str, float | None]
    counts: tuple[tuple[tuple[int, int], ...], ...] = ()


@dataclass(frozen=True, slots=True)
class LoopSpeed:
    """The same artefact in the run loop, without truth: frames a second end to end, age and stages in milliseconds.

    `disturbed` says what else kept the machine busy meanwhile.
    """

    source: str
    fps: float
    age_ms: Percentiles
    stages_ms: Mapping[str, Percentiles]
    disturbed: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A combination of artefact, run-time, batch and threads, and what was measured of it; None: not measured.

    `name` is the one in the spec: the FP32 and the INT8 file of a net share it. `threads` 0 leaves their number to the
    run-time. `load1` (load average) and `mhz` are medians over the rounds, `throttled` is their sum. `disturbed` says
    what else kept the machine busy while the times were taken, `error` why a combination gave nothing (the rest of the
    row is then None), and `notes` why a part of it is missing.
    """

    model: str
    path: str
    runtime: str
    batch: int = 1
    threads: int = 0
    sha256: str = ""
    name: str = ""
    precision: str = ""
    width: int = 0
    height: int = 0
    version: str = ""
    size_mb: float | None = None
    gmacs: float | None = None
    accuracy: Accuracy | None = None
    latency_ms: Latency | None = None
    images_per_s: float | None = None
    loop: LoopSpeed | None = None
    load_ms: float | None = None
    memory_mb: float | None = None
    joules: float | None = None
    load1: float | None = None
    mhz: float | None = None
    throttled: int | None = None
    disturbed: str | None = None
    error: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def miou(self) -> float | None:
        """mIoU on the set, where one was given."""
        return None if self.accuracy is None else self.accuracy.miou

    @property
    def fps(self) -> float | None:
        """Frames a second end to end."""
        return None if self.loop is None else self.loop.fps

    @property
    def is_unjudged(self) -> bool:
        """True where the set that was given could not be judged on; a note says why."""
        return any(note.startswith(NOT_JUDGED) for note in self.notes)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What people are to be told besides the numbers: the notes, and what disturbed the loop."""
        reason = None if self.loop is None else self.loop.disturbed
        return self.notes if reason is None else (*self.notes, f"The loop was disturbed: {reason}.")

    @property
    def label(self) -> str:
        """A name for tables and pictures: model, run-time, and batch and threads where they are not the usual ones."""
        parts = [self.model, self.runtime]
        if self.batch > 1:
            parts.append(f"batch {self.batch}")
        if self.threads:
            parts.append(f"{self.threads} thread{'s' if self.threads > 1 else ''}")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as the run-time ran it, with its time in milliseconds a picture.

    `kind` is the run-time's own word for the operation; `precision` is `int8`, `bf16`, `f16`, `f32` or the type that it
    says; `role` is `compute`, `reformat` (Reorder, Transpose, Cast, Concat: bytes moved, none computed) or `quantize`
    (QuantizeLinear and its like). `gmacs` and `mb` (read and written) are of one picture, None where not known.
    """

    name: str
    kind: str
    precision: str
    role: str
    ms: float
    gmacs: float | None = None
    mb: float | None = None


@dataclass(frozen=True, slots=True)
class Roof:
    """What this machine does at best on a run-time, measured: GMAC/s by precision, and GB/s from memory."""

    gmacs_per_s: Mapping[str, float]
    gb_per_s: float


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of one combination, in the order in which they ran, and the roof above them.

    `sha256` and `version` are those of the row: the file and the run-time that were looked at.
    """

    label: str
    layers: tuple[Layer, ...]
    roof: Roof | None = None
    sha256: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Minute:
    """A minute of a soak; None where the machine does not tell. `others_cpu` is what other work took, in cores."""

    minute: int
    fps: float
    p50_ms: float
    p99_ms: float
    memory_mb: float
    celsius: float | None = None
    mhz: float | None = None
    watts: float | None = None
    throttled: int | None = None
    others_cpu: float | None = None


@dataclass(frozen=True, slots=True)
class Soak:
    """A long run of one combination, minute by minute, and what the first against the last says, in words.

    A short one has intervals of `interval_s` seconds instead of minutes.
    """

    label: str
    source: str
    minutes: tuple[Minute, ...]
    verdict: str
    interval_s: float = 60.0
    sha256: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile: its rows, the machine (what -> value, in words) and the command that made it.

    `settings` are what has to be equal for two rows to be comparable: data, source and how long was timed.
    """

    command: str
    machine: Mapping[str, str]
    rows: tuple[Row, ...]
    layers: tuple[Layers, ...] = ()
    soak: Soak | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The keys of profile.json."""
        return asdict(self)
