"""The two gates: what an INT8 file may lose against its FP32 file, and how much faster it has to be."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from edge_seg.calib.rung import Rung
from edge_seg.calib.speed import Speed
from edge_seg.errors import DataError
from edge_seg.evaluate import Scores


@dataclass(frozen=True, slots=True)
class Gates:
    """Most mIoU lost, most IoU lost by one class, least speed-up; None asks for nothing."""

    max_drop: float | None = None
    max_class_drop: float | None = None
    min_speedup: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """An artefact on the ladder: how it was made, what it lost against FP32 on the same run-time, and how fast it is.

    `rung` is None for the FP32 file that a run-time computes in shorter floats. `miou`, `drop` and `drops`, IoU lost by
    class, are of the classes that the truth has. `speed` is None where the target's own run-time is not this one.
    `reasons` say which gates it does not pass, none where it passes all.
    """

    name: str
    rung: Rung | None
    runtime: str
    miou: float
    drop: float
    drops: dict[str, float]
    speed: Speed | None
    reasons: tuple[str, ...]

    @property
    def worst_class(self) -> str:
        """The class that lost most."""
        return max(self.drops, key=lambda name: self.drops[name])

    def to_dict(self) -> dict[str, Any]:
        """The keys of a rung in `quantize --json`."""
        speed = None if self.speed is None else dataclasses.asdict(self.speed)
        rung = None if self.rung is None else dataclasses.asdict(self.rung)
        keys = {key: getattr(self, key) for key in ("name", "runtime", "miou", "drop", "drops", "worst_class")}
        return {**keys, "speed": speed, "rung": rung, "reasons": list(self.reasons)}


def compare_scores(exact: Scores, found: Scores) -> tuple[float, float, dict[str, float]]:
    """mIoU of `found`, what it lost against `exact` on the same pictures, and the IoU that each class lost.

    All of the classes that the truth has, so that no stray label adds one; DataError where it has none.
    """
    known = [name for name, recall in exact.class_recall.items() if recall is not None]
    if not known:
        raise DataError("No pixel of these pictures has a class. Give a labelled set.")
    before, after = ([scores.class_iou[name] or 0.0 for name in known] for scores in (exact, found))
    drops = {name: one - other for name, one, other in zip(known, before, after, strict=True)}
    return sum(after) / len(known), sum(drops.values()) / len(known), drops


def accuracy_reasons(drop: float, drops: dict[str, float], gates: Gates) -> list[str]:
    """Which accuracy gates are not passed, in words.

    >>> accuracy_reasons(0.004, {"Road": 0.001, "Pole": 0.03}, Gates(max_drop=0.003, max_class_drop=0.05))
    ['loses 0.0040 mIoU, more than 0.003']
    """
    reasons = []
    if gates.max_drop is not None and drop > gates.max_drop:
        reasons.append(f"loses {drop:.4f} mIoU, more than {gates.max_drop:g}")
    worst = max(drops, key=lambda name: drops[name])
    if gates.max_class_drop is not None and drops[worst] > gates.max_class_drop:
        reasons.append(f"{worst} loses {drops[worst]:.4f} IoU, more than {gates.max_class_drop:g}")
    return reasons


def excess(drop: float, drops: dict[str, float], gates: Gates) -> float:
    """How far accuracy is from passing: the largest loss as a multiple of what its gate allows; 1 and less passes.

    >>> excess(0.004, {"Road": 0.001, "Pole": 0.03}, Gates(max_drop=0.002, max_class_drop=0.05))
    2.0
    """
    losses = ((drop, gates.max_drop), (max(drops.values()), gates.max_class_drop))
    return max((_multiple(loss, most) for loss, most in losses if most is not None), default=0.0)


def _multiple(loss: float, most: float) -> float:
    if most > 0:
        return loss / most
    return math.inf if loss > 0 else 0.0


def speed_reasons(speed: Speed | None, gates: Gates) -> list[str]:
    """Whether the speed gate is not passed, in words.

    >>> speed_reasons(Speed(10.0, 9.9, 1.01, 1.0, 1.02), Gates(min_speedup=1.05))
    ['1.01 times as fast, less than 1.05']
    """
    if speed is None or gates.min_speedup is None or speed.speedup >= gates.min_speedup:
        return []
    return [f"{speed.speedup:.2f} times as fast, less than {gates.min_speedup:g}"]
