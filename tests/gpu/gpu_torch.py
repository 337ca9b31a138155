"""The GPU bench's comparison with PyTorch, which runs under another Python."""

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from gpu_timing import machine_state

from edge_seg.runners.timed import TimedProcess

ROUNDS, ROUND_S, WARM_UP_S = 9, 0.5, 1.0
TORCH_WAYS = ("eager-fp32", "compile-fp16", "graph-fp16")
OURS_ALONE = ("libnvinfer*", "libcudart*", "libcudnn*", "libcublas*")
"""Libraries that PyTorch brings along, or does not need."""

VERSIONS = """
import torch
torch.zeros(1).cuda()
print(f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}")
"""


def torch_versions(python: str) -> str:
    """PyTorch of a Python in words; ends the program where it has none that works on the GPU."""
    done = subprocess.run(
        [python, "-c", VERSIONS], env=torch_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"--torch {python} has no PyTorch that works on the GPU:\n{done.stderr}")
    return done.stdout.splitlines()[-1]


def torch_environment() -> dict[str, str]:
    """The environment of PyTorch's process: with our code, and without the libraries that TensorRT needs."""
    found = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
    entries = [entry for entry in found.pop("LD_LIBRARY_PATH", "").split(os.pathsep) if entry]
    kept = [entry for entry in entries if _is_for_torch(Path(entry))]
    if kept:
        found["LD_LIBRARY_PATH"] = os.pathsep.join(kept)
    return found | {"PYTHONPATH": str(Path(__file__).parents[2])}


def _is_for_torch(folder: Path) -> bool:
    """Whether a folder of libraries is the driver's, which containers may name there alone, or none of ours."""
    if any(folder.glob("libcuda.so.1*")):
        return True
    return not folder.is_relative_to(sys.prefix) and not any(any(folder.glob(name)) for name in OURS_ALONE)


def compare(engine: Path, net: str, way: str, python: str, batch: int) -> dict[str, Any]:
    """PyTorch's milliseconds, and how many times as fast the engine is, in turns, both with copies.

    Each runs in a process of its own, PyTorch's under another Python, which gets none of TensorRT's libraries.
    """
    own = [sys.executable, "-m", "edge_seg.runners.timed", str(engine), "tensorrt", "0", str(batch)]
    theirs = [python, str(Path(__file__).with_name("torch_timed.py")), net, way, str(batch)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
    before = machine_state()
    with subprocess.Popen(own, **pipes) as ours, subprocess.Popen(theirs, env=torch_environment(), **pipes) as other:
        try:
            rounds = _rounds([TimedProcess(ours, engine.name), TimedProcess(other, way)])
        finally:
            ours.kill()
            other.kill()
    ratios = [torch_ms / own_ms for own_ms, torch_ms in rounds]
    medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
    found = {"ms": medians[0], "torch_ms": medians[1], "ratio": statistics.median(ratios), "least": min(ratios)}
    return found | {"before": before, "after": machine_state()}


def _rounds(processes: list[TimedProcess]) -> list[list[float]]:
    """Each round's median ms of each process, in turns, behind one that counts for none: of clocks that have cooled."""
    for one in processes:
        one.round(WARM_UP_S)
    return [[statistics.median(one.round(ROUND_S).times_ms) for one in processes] for _ in range(ROUNDS)]
