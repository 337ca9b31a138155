"""An ONNX file of the contract as TensorRT's parser takes it."""

from pathlib import Path

import onnx

from edge_seg.errors import ModelError
from edge_seg.export.lint import Finding, lint
from edge_seg.export.lint_fix import fix
from edge_seg.export.lint_rules import Goal
from edge_seg.export.target import find_target
from edge_seg.export.tensorrt_support import MOST_OPSET, OLDEST, known_version


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
        lines = [f"  {one.rule}, {one.where[0]}: {one.found}; expected {one.expected}. {_advice(one)}" for one in left]
        raise ModelError("\n".join([f"TensorRT {version} would refuse {name}:", *lines]))
    return ready


def _advice(finding: Finding) -> str:
    """What to do; lint's own words on opsets are for versions that can be chosen."""
    if finding.rule != "opset":
        return finding.fix
    return (
        f"Export it again in opset {MOST_OPSET[OLDEST]}, which all versions take: edge-seg export CHECKPOINT.pt; or "
        f"torch.onnx.export with opset_version={MOST_OPSET[OLDEST]}, then edge-seg adopt FILE.onnx"
    )


def _refused(model: onnx.ModelProto, goal: Goal) -> list[str]:
    return [finding.rule for finding in lint(model, goal) if finding.severity == "refused"]
