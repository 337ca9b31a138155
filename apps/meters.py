"""What a run measures, while it goes on and at its end."""

from dataclasses import asdict, dataclass

from edge_seg.metrics import ConfusionMatrix, LatencyStats, Percentiles, RateMeter, none_for_nan
from edge_seg.spec import ModelSpec
from edge_seg.types import Frame, Result

STAGES = ("capture", "pre", "infer", "post", "draw", "sink")


@dataclass(frozen=True, slots=True)
class RunReport:
    """The outcome of a run; times in milliseconds, `class_iou` in label order, NaN for a class that never occurs."""

    model: str
    runtime: str
    precision: str
    frames: int
    dropped: int
    skipped: int
    fps: float
    age_ms: Percentiles
    stages_ms: dict[str, Percentiles]
    miou_truth: float | None
    class_iou: dict[str, float] | None

    def to_dict(self) -> dict[str, object]:
        """The report under the documented keys of `run --json`: no IoU without truth, null for what is not known."""
        report = asdict(self)
        del report["skipped"]
        if self.class_iou is None:
            del report["miou_truth"], report["class_iou"]
        return {key: _known_parts(value) for key, value in report.items()}


def _known_parts(value: object) -> object:
    if isinstance(value, dict):
        return {key: _known_parts(part) for key, part in value.items()}
    return none_for_nan(value) if isinstance(value, float) else value


class Meters:
    """The accumulators of one run, for frames in the order in which they finish."""

    def __init__(self, spec: ModelSpec, runtime: str) -> None:
        self.spec, self.runtime = spec, runtime
        self.age = LatencyStats()
        self.stages = {name: LatencyStats() for name in STAGES}
        self.rate = RateMeter()
        self.matrix: ConfusionMatrix | None = None
        self.dropped = 0
        self.skipped = 0
        self._paused_s = 0.0
        self._dropped_in_pauses = 0
        self._pauses: list[tuple[float, float]] = []

    def add(self, result: Result, capture_ms: float, draw_ms: float, sink_ms: float) -> None:
        """Take one frame's stage times."""
        times = (capture_ms, result.pre_ms, result.infer_ms, result.post_ms, draw_ms, sink_ms)
        for name, ms in zip(STAGES, times, strict=True):
            self.stages[name].add(ms)

    def finish(self, frame: Frame, end_s: float) -> None:
        """Count a frame that was finished at `end_s` seconds of `time.perf_counter()`; pauses do not age it."""
        self._pauses = [pause for pause in self._pauses if pause[1] > frame.captured_s]  # the others are over for good
        paused_s = sum(end - max(start, frame.captured_s) for start, end in self._pauses)
        self.age.add((end_s - frame.captured_s - paused_s) * 1e3)
        self.rate.tick(end_s - self._paused_s)

    def lose(self, dropped: int, skipped: int) -> None:
        """Take the source's counts so far: frames that gave way to newer ones, and those that could not be read."""
        self.dropped, self.skipped = dropped - self._dropped_in_pauses, skipped

    def pause(self, start_s: float, end_s: float, dropped: int) -> None:
        """Leave a time, and the frames dropped in it, out of the age of frames on their way, the rate and the drops."""
        self._pauses.append((start_s, end_s))
        self._paused_s += end_s - start_s
        self._dropped_in_pauses += dropped

    def score(self, result: Result, frame: Frame) -> None:
        """Compare with the truth, where the frame has one."""
        if frame.truth is not None:
            if self.matrix is None:
                self.matrix = ConfusionMatrix(len(self.spec.classes))
            self.matrix.update(result.labels, frame.truth)

    def named_miou(self) -> tuple[str, float] | None:
        """The mIoU to show with what it was measured on: the run's own truth, else what the model brings along."""
        if self.matrix is not None:
            return "mIoU (truth)", self.matrix.miou()
        return next(((score_label(name), value) for name, value in self.spec.scores.items()), None)

    def report(self) -> RunReport:
        """What is known now."""
        matrix = self.matrix
        return RunReport(
            self.spec.name,
            self.runtime,
            self.spec.precision,
            self.rate.count,
            self.dropped,
            self.skipped,
            self.rate.rate(),
            self.age.percentiles(),
            {name: stats.percentiles() for name, stats in self.stages.items()},
            None if matrix is None else matrix.miou(),
            None if matrix is None else dict(zip(self.spec.class_names, matrix.class_iou().tolist(), strict=True)),
        )


def score_label(name: str) -> str:
    """A score's name, what was measured last.

    >>> score_label("CamVid test mIoU")
    'mIoU (CamVid test)'
    """
    data, _, metric = name.rpartition(" ")
    return f"{metric} ({data})" if data else metric
