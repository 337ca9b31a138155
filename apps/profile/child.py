"""A module run as a program that ends when the process ends that started it, however that ends.

python -m edge_seg.apps.profile.child PARENT MODULE ARGUMENTS...
"""

import ctypes
import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from edge_seg.errors import ModelError

PR_SET_PDEATHSIG = 1
"""Of Linux's prctl: the signal that a process gets when its parent ends."""


def run_child(module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a module with its output kept.

    A signal that comes while a process is being started leaves `subprocess.run` no hold of it: the child itself looks
    to it that it does not outlive this process.
    """
    words = [sys.executable, "-m", "edge_seg.apps.profile.child", str(os.getpid()), module, *arguments]
    return subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )


def ask_child(module: str, *arguments: str) -> Any:  # noqa: ANN401
    """The JSON that a module prints last; above it may stand what a run-time prints. ModelError where it fails."""
    done = run_child(module, *arguments)
    if done.returncode:
        raise ModelError(last_words(done))
    return json.loads(done.stdout.splitlines()[-1])


def last_words(done: "subprocess.CompletedProcess[str]") -> str:
    """What a process that failed said last, or how it ended.

    >>> last_words(subprocess.CompletedProcess([], 1, "", "Traceback ...\\nedge-seg: No model 'x'.\\n"))
    "No model 'x'."
    >>> last_words(subprocess.CompletedProcess([], -9, "", ""))
    'Its process was killed, as it is where memory runs out.'
    """
    if done.returncode == -9:
        return "Its process was killed, as it is where memory runs out."
    lines = done.stderr.strip().splitlines()
    return lines[-1].removeprefix("edge-seg: ") if lines else f"Its process ended with {done.returncode}."


def _main(arguments: Sequence[str]) -> None:
    parent, module = int(arguments[0]), arguments[1]
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:  # which is Linux's alone
        prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:  # ended before that
        sys.exit(1)
    sys.argv[1:] = arguments[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main(sys.argv[1:])
