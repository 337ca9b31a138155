"""Measurements of layers in a process of their own: run-times' threads slow each other in one, and one may crash.

The process prints its answer as JSON, or what the user has to know under "error".
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edge_seg.apps.profile.child import run_child
from edge_seg.apps.profile.kernels import Timed
from edge_seg.errors import EdgeSegError, ModelError
from edge_seg.export.graph import Array
from edge_seg.runners import open_runner


def _on_onnxruntime(path: Path, image: Array, threads: int) -> list[Timed]:
    from edge_seg.apps.profile.ort_layers import time_layers

    return time_layers(path, image, threads)


def _on_openvino(path: Path, image: Array, threads: int, *, floats: str) -> list[Timed]:
    from edge_seg.apps.profile.openvino_layers import time_layers

    return time_layers(path, image, threads, floats)


def _on_tensorrt(path: Path, image: Array, threads: int) -> list[Timed]:
    from edge_seg.apps.profile.tensorrt_layers import time_layers

    return time_layers(path, image, threads)


TIMERS: dict[str, Callable[[Path, Array, int], list[Timed]]] = {
    "onnxruntime": _on_onnxruntime,
    "openvino": partial(_on_openvino, floats="f32"),
    "openvino-bf16": partial(_on_openvino, floats="bf16"),
    "tensorrt": _on_tensorrt,
}
"""What times the layers of an artefact on an input, by run-time."""


def check_runtime(runtime: str) -> None:
    """ModelError for a run-time that does not tell its layers."""
    if runtime not in TIMERS:
        *first, last = TIMERS
        raise ModelError(
            f"Layers are timed on {', '.join(first)} and {last}, not on {runtime}. Take one of these; a checkpoint "
            "becomes an ONNX file by: edge-seg export CHECKPOINT.pt"
        )


def ask(task: str, *words: str) -> Any:  # noqa: ANN401
    """What a process answers to `layers PATH RUNTIME THREADS` or `roof RUNTIME THREADS`; its errors as ModelError."""
    done = run_child("edge_seg.apps.profile.layers_worker", task, *words)
    said, complained = done.stdout.splitlines(), done.stderr.splitlines()
    try:
        answer = json.loads(said[-1])  # run-times may print before it
    except (IndexError, ValueError):
        reason = " ".join([f"its process ended with code {done.returncode}.", *complained[-1:]])
        raise ModelError(f"{' '.join([task, *words])} cannot be measured: {reason}") from None
    if "error" in answer:
        raise ModelError(answer["error"])
    return answer["found"]


def serve(task: str, *words: str) -> Any:  # noqa: ANN401
    """What `ask` returns, measured in this process."""
    *first, runtime, threads = words
    if task == "roof":
        from edge_seg.apps.profile.roof import roof_here

        return asdict(roof_here(runtime, int(threads)))
    path = Path(first[0])
    with open_runner(path, runtime, threads=int(threads)) as runner:  # what it refuses is not timed
        shape = 1, runner.spec.height, runner.spec.width, 3
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return [asdict(timed.layer) for timed in TIMERS[runtime](path, image, int(threads))]


if __name__ == "__main__":
    try:
        print(json.dumps({"found": serve(*sys.argv[1:])}))
    except EdgeSegError as error:
        print(json.dumps({"error": " ".join(str(error).split())}))
    except KeyboardInterrupt:  # told by the process that asked
        raise SystemExit(130) from None
