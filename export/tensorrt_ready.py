"""An ONNX file of the contract as TensorRT's parser takes it."""

from pathlib import Path

import onnx

from edge_seg.errors import ModelError
from edge_seg.export.lint import lint
from edge_seg.export.lint_fix import fix
from edge_seg.export.lint_rules import Goal
from edge_seg.export.target import find_target
from edge_seg.export.tensorrt_support import known_version


def ready_for(model: onnx.ModelProto, version: str, *, name: str, folder: Path) -> onnx.ModelProto:
    """The model for an installed TensorRT, with what `lint --fix` mends of what that would refuse: the ends in bytes.

    `name` and `folder` are those of its file. ModelError with lint's findings where something is left that it refuses,
    such as a file that was quantized for a CPU.
    """
    ready = onnx.ModelProto()
    ready.CopyFrom(model)
    goal = Goal(find_target("tensorrt"), known_version(version))
    fix(ready, goal, _refused(ready, goal), folder=folder)
    left = [finding for finding in lint(ready, goal) if finding.severity == "refused"]
    if left:
        lines = [f"  {finding.rule}, {finding.where[0]}: {finding.found}. {finding.fix}" for finding in left]
        raise ModelError("\n".join([f"TensorRT {version} would refuse {name}:", *lines]))
    return ready


def _refused(model: onnx.ModelProto, goal: Goal) -> list[str]:
    return [finding.rule for finding in lint(model, goal) if finding.severity == "refused"]
