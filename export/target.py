"""What an INT8 file is written for: the types, the placement and the tail that a run-time computes in integers.

One set of ranges serves all targets; docs/quantization.md says why no single file is fast everywhere.
"""

import platform
from dataclasses import dataclass

from edge_seg.errors import ModelError
from edge_seg.export.tensorrt_support import MOST_OPSET
from edge_seg.runners.cpu import lacks_vnni

COMMON = "10.3"
"""The TensorRT whose opset is the limit, that of JetPack 6.1 and 6.2; of older ones `edge-seg lint` tells."""


@dataclass(frozen=True, slots=True)
class Target:
    """A dialect of Q/DQ, and the run-time that it is for.

    `activations` is uint8 (each tensor its own zero point) or int8 (symmetric, zero point 0). `weight_bits` of 7 keep
    the sum of two products below 2^15, where x86 without VNNI saturates. `minimal` placement quantizes the inputs of
    weighted operators and the identity side of a residual Add; else all inputs of all operators are. `integer_tail`
    replaces up-sampling and argmax by whole numbers (calib.integer_tail). `most_opset` is the newest opset of a model
    that a file is written of.
    """

    name: str
    runtime: str
    activations: str = "uint8"
    weight_bits: int = 8
    minimal: bool = False
    integer_tail: bool = True
    most_opset: int = 21


TARGETS = {
    target.name: target
    for target in (
        Target("tensorrt", "tensorrt", "int8", minimal=True, integer_tail=False, most_opset=MOST_OPSET[COMMON]),
        Target("onnxruntime-x86", "onnxruntime"),
        Target("x86-novnni", "onnxruntime", weight_bits=7),
        Target("onnxruntime-arm", "onnxruntime", "int8"),
    )
}
"""The dialects by name."""


def find_target(name: str) -> Target:
    """The target of a name; ModelError where there is none.

    >>> find_target("tensorrt").activations
    'int8'
    >>> find_target("tensorflow")
    Traceback (most recent call last):
    ...
    edge_seg.errors.ModelError: No target 'tensorflow'. Choose tensorrt, onnxruntime-x86, x86-novnni or onnxruntime-arm.
    """
    if name not in TARGETS:
        *first, last = TARGETS
        raise ModelError(f"No target {name!r}. Choose {', '.join(first)} or {last}.")
    return TARGETS[name]


def targets_of(name: str) -> tuple[tuple[Target, ...], str]:
    """The dialects among which a name leaves the choice, and the run-time on which they are timed.

    `openvino` reads two of them fast, and one where the CPU has no VNNI; `auto` is that on x86-64 and ONNX Runtime's
    on Arm.

    >>> targets_of("x86-novnni")[1]
    'onnxruntime'
    """
    if name == "auto":
        name = target_here().name if _is_arm() else "openvino"
    if name == "openvino":
        several = (TARGETS["onnxruntime-x86"], TARGETS["tensorrt"])
        return (TARGETS["x86-novnni"],) if lacks_vnni() else several, "openvino"
    if name not in TARGETS:
        raise ModelError(f"No target {name!r}. Choose auto, openvino, {', '.join(TARGETS)}.")
    return (TARGETS[name],), TARGETS[name].runtime


def is_timed_here(name: str) -> bool:
    """Whether files for a target are as fast here as on the target's own machines, as far as the CPU tells.

    An engine is timed where it was built, and without VNNI 8-bit weights are multiplied exactly, but slowly.

    >>> is_timed_here("tensorrt"), is_timed_here("x86-novnni")
    (False, True)
    """
    targets, runtime = targets_of(name)
    slow = lacks_vnni() and any(target.weight_bits == 8 for target in targets)
    return runtime != "tensorrt" and not slow


def target_here() -> Target:
    """The target of this machine's own run-times: ONNX Runtime wants int8 on both sides on Arm.

    On x86 the CPU's flags tell whether weights may have 8 bits.
    """
    on_x86 = "x86-novnni" if lacks_vnni() else "onnxruntime-x86"
    return TARGETS["onnxruntime-arm" if _is_arm() else on_x86]


def _is_arm() -> bool:
    return platform.machine().lower() in ("aarch64", "arm64")
