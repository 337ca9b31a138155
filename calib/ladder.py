"""From plain INT8 upwards until a file passes both gates: ranges, remedies, layers left in float, shorter floats."""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edge_seg.calib.builder import Builder
from edge_seg.calib.gates import Gates, Step, accuracy_reasons, compare_scores, excess, speed_reasons
from edge_seg.calib.ranges import Ranges
from edge_seg.calib.rung import Rung
from edge_seg.calib.speed import CLEARLY_FASTER, ROUNDS, Speed, compare_speed, computes_bf16
from edge_seg.errors import MissingExtraError, ModelError
from edge_seg.evaluate import Scores, evaluate
from edge_seg.segmenter import open_segmenter
from edge_seg.types import Dataset

BY_TENSOR = "ranges by the method of least error for each tensor"

REMEDIES: dict[str, dict[str, Any]] = {
    "ranges of least squared error": {"method": "mse"},
    "ranges of 99.99 % of the values": {"method": "percentile"},
    BY_TENSOR: {},
    "channels equalised across layers": {"equalised": True},
    "biases corrected": {"corrected": True},
    "weights rounded by AdaRound": {"adaptive": True},
}
"""What is tried in turn where accuracy does not pass; each goes onto the best so far."""

Order = Callable[[Rung], Sequence[tuple[str, ...]]]
"""The nodes of each layer that a rung quantizes, the layer that INT8 hurts most first."""


@dataclass(frozen=True, slots=True, eq=False)
class Ladder:
    """All that was measured, in order; the step that is chosen, its file's content, and its ranges."""

    steps: tuple[Step, ...]
    chosen: Step | None = None
    content: bytes = b""
    ranges: Ranges | None = None
    skipped: tuple[str, ...] = ()


def climb(
    path: Path,
    builder: Builder,
    gate: Dataset,
    gates: Gates,
    *,
    targets: Sequence[str],
    runtime: str,
    order: Order,
    shorter: str | None = None,
    rounds: int | None = ROUNDS,
    tell: Callable[[Step], None] = lambda step: None,
) -> Ladder:
    """Try rungs until one passes: of the FP32 file at `path`, on `runtime`, judged by the labelled pictures of `gate`.

    Of several `targets`, the one whose plain INT8 is faster is taken. `shorter` is a run-time that computes the FP32
    file in shorter floats. `rounds` are those of a timing; None, for no timing, where the target's own run-time is not
    this one. `tell` is given each step as it is measured. A rung that cannot be made or measured is a line in
    `skipped`; ModelError where the FP32 file cannot be measured, or plain INT8 be made for none of the targets.
    """
    with TemporaryDirectory() as folder:
        climber = _Climber(path, builder, gate, gates, runtime, shorter, rounds, tell, Path(folder))
        climber.exact = climber.scores(path, runtime)
        best = climber.plain(targets)
        best = climber.remedies(best)
        return climber.choose(climber.floats(best, order))


@dataclass(slots=True, eq=False)
class _Climber:
    """One climb: what is given, and what has been measured; files lie in `folder`."""

    path: Path
    builder: Builder
    gate: Dataset
    gates: Gates
    runtime: str
    shorter: str | None
    rounds: int | None
    tell: Callable[[Step], None]
    folder: Path
    exact: Scores | None = None
    steps: list[Step] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def plain(self, targets: Sequence[str]) -> Step:
        """INT8 with the range of all values, for each target; the faster one. ModelError where there is none."""
        names = {name: "INT8" if len(targets) == 1 else f"INT8 for {name}" for name in targets}
        tried = [self._try(names[name], Rung(name)) for name in targets]
        steps = [step for step in tried if step is not None]
        if not steps:
            raise ModelError("\n".join(self.skipped))
        return self._faster(steps)

    def remedies(self, best: Step) -> Step:
        """The best of the remedies, each on top of the best before; stops where accuracy passes."""
        for name, change in REMEDIES.items():
            if self._is_accurate(best):
                break
            if "adaptive" in change and importlib.util.find_spec("torch") is None:
                self.skipped.append(f"{name}: needs PyTorch. Type: pip install 'edge-seg[train]'")
                continue
            assert best.rung is not None
            rung = self._by_tensor(best.rung) if name == BY_TENSOR else replace(best.rung, **change)
            if same := [step.name for step in self.steps if step.rung == rung]:
                self.skipped.append(f"{name}: the same as {same[0]}.")
                continue
            step = self._try(name, rung)
            best = best if step is None else min(best, step, key=self._loss)
        return best

    def _by_tensor(self, rung: Rung) -> Rung:
        """The rung with the method of least squared error for each tensor: of most of them `mse`, which is the rest."""
        methods = self.builder.methods(rung)
        return replace(rung, method="mse", methods={name: way for name, way in methods.items() if way != "mse"})

    def floats(self, best: Step, order: Order) -> Step:
        """The layers that INT8 hurts most back in float, twice as many each time, until accuracy passes."""
        assert best.rung is not None
        if self._is_accurate(best):
            return best
        worst_first: Sequence[tuple[str, ...]] = ()
        with self._noted("the worst layers in float"):
            worst_first = order(best.rung)
        count = 1
        while count <= len(worst_first) // 2:
            floats = tuple(node for nodes in worst_first[:count] for node in nodes)
            layers = "layer" if count == 1 else f"{count} layers"
            step = self._try(f"worst {layers} in float", replace(best.rung, floats=floats))
            if step is not None and self._is_accurate(step):
                return step
            count *= 2
        return best

    def choose(self, best: Step) -> Ladder:
        """`best` if it passes, or what else does and is clearly faster: another target, the FP32 file in BF16."""
        if self.shorter is not None:
            self._try_shorter(self.shorter)
        passing = [step for step in (best, *self.steps) if not step.reasons]
        if not passing:
            return Ladder(tuple(self.steps), skipped=tuple(self.skipped))
        chosen = self._faster(list(dict.fromkeys(passing)))
        ranges = None if chosen.rung is None else self.builder.ranges(chosen.rung)
        content = self.files[chosen.name].read_bytes()
        return Ladder(tuple(self.steps), chosen, content, ranges, tuple(self.skipped))

    def _try_shorter(self, runtime: str) -> None:
        """Measure the FP32 file in BF16, where this CPU has that; elsewhere it would be FP32 again, or slower."""
        name = f"FP32 file on {runtime}"
        with self._noted(name):
            if not computes_bf16():
                raise ModelError("this CPU does not compute in BF16.")
            self.files[name] = self.path
            self._measure(name, None, runtime)

    def _faster(self, steps: list[Step]) -> Step:
        """The first step, or one that is clearly faster when the two take turns."""
        best, *others = steps
        for step in others:
            with self._noted(f"{step.name} beside {best.name}"):
                pair = self._speed((self.files[best.name], best.runtime), (self.files[step.name], step.runtime))
                best = step if pair is not None and pair.speedup > CLEARLY_FASTER else best
        return best

    @contextmanager
    def _noted(self, name: str) -> Iterator[None]:
        """What one rung cannot be made or measured for goes into `skipped`: the others may do."""
        try:
            yield
        except (ModelError, MissingExtraError) as error:
            self.skipped.append(f"{name}: {error}")

    def _try(self, name: str, rung: Rung) -> Step | None:
        """Write and measure a rung; None where that cannot be done."""
        with self._noted(name):
            path = self.folder / f"{len(self.files)}.onnx"
            path.write_bytes(self.builder.build(rung).SerializeToString())
            self.files[name] = path
            return self._measure(name, rung, self.runtime)
        return None

    def _measure(self, name: str, rung: Rung | None, runtime: str) -> Step:
        assert self.exact is not None
        path = self.files[name]
        miou, drop, drops = compare_scores(self.exact, self.scores(path, runtime))
        speed = self._speed((self.path, self.runtime), (path, runtime))
        reasons = (*accuracy_reasons(drop, drops, self.gates), *speed_reasons(speed, self.gates))
        step = Step(name, rung, runtime, miou, drop, drops, speed, reasons)
        self.steps.append(step)
        self.tell(step)
        return step

    def _speed(self, first: tuple[Path, str], second: tuple[Path, str]) -> Speed | None:
        return None if self.rounds is None else compare_speed(first, second, rounds=self.rounds)

    def scores(self, path: Path, runtime: str) -> Scores:
        """How a file labels the pictures of the gate."""
        with open_segmenter(path, runtime) as segment:
            return evaluate(segment, self.gate, outlines=False)

    def _loss(self, step: Step) -> tuple[float, float, float]:
        """What puts steps in order; the loss itself too, since all exceed a gate of nothing infinitely."""
        return excess(step.drop, step.drops, self.gates), step.drop, step.drops[step.worst_class]

    def _is_accurate(self, step: Step) -> bool:
        return not accuracy_reasons(step.drop, step.drops, self.gates)
