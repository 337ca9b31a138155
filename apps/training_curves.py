"""The curves of a training run, read back from its own TensorBoard logs."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

LOSS, RATE, VAL = "loss", "lr", "val_miou"
EPOCH = "epoch"

Curves = dict[str, dict[int, float]]
"""By name what was logged: the value of each epoch, the first of which is 1."""


def read_curves(run_dir: Path) -> Curves:
    """What the run in `run_dir` logged, its earlier parts too where it was resumed; empty where it logged nothing."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logs = [EventAccumulator(str(path), {"scalars": 0}) for path in (run_dir / "tensorboard").glob("*tfevents*")]
    for log in logs:
        log.Reload()
    told = [log for log in logs if {LOSS, EPOCH} <= set(log.Tags()["scalars"])]
    return join_parts([_read_part(log) for log in sorted(told, key=EventAccumulator.FirstEventTimestamp)])


def join_parts(parts: list[Curves]) -> Curves:
    """The curves of a run from those of its parts, in order: a part stands for all epochs from its first one on.

    >>> join_parts([{"loss": {1: 0.9, 2: 0.8, 3: 0.7}}, {"loss": {3: 0.6, 4: 0.5}}])
    {'loss': {1: 0.9, 2: 0.8, 3: 0.6, 4: 0.5}}
    """
    joined: Curves = {}
    for part in parts:
        if not any(part.values()):
            continue
        first = min(epoch for values in part.values() for epoch in values)
        for name in {**joined, **part}:
            kept = {epoch: value for epoch, value in joined.get(name, {}).items() if epoch < first}
            joined[name] = kept | part.get(name, {})
    return joined


def _read_part(log: "EventAccumulator") -> Curves:
    """The curves of one file of events, which have steps: Lightning logs to each step its epoch."""
    epochs = {event.step: int(event.value) + 1 for event in log.Scalars(EPOCH)}
    return {
        name: {epochs[event.step]: event.value for event in log.Scalars(name) if event.step in epochs}
        for name in log.Tags()["scalars"]
        if name != EPOCH
    }
