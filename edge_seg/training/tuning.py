"""A net that is handed to a training, in place of one that is built by its architecture's name."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from edge_seg.models.net import TrainableNet
from edge_seg.spec import ModelSpec


@dataclass(frozen=True, slots=True, eq=False)
class Tuning:
    """A net to go on with, and what is written of it in place of a checkpoint.

    `distiller` is called as `training.distillation.Distiller` is. `write` is given the spec of the trained net; of its
    files, `judged` is evaluated on the run-time `runtime`. `owed` are data sets and licences of what the net was
    before, and `fixed` what a resumed run must have in common beside data and `TrainOptions.fixed`.
    """

    net: TrainableNet
    distiller: nn.Module
    write: Callable[[ModelSpec], None]
    judged: Path
    runtime: str = "onnxruntime"
    owed: list[tuple[str, str]] = field(default_factory=list)
    fixed: dict[str, object] = field(default_factory=dict)
