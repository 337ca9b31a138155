"""Run-times and the threads of a process, each in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

FREED_ON_A_THREAD = """
import os, signal, sys, threading
import numpy as np
from edge_seg.segmenter import open_segmenter
segmenters = [open_segmenter(sys.argv[1], sys.argv[2])]
segmenters[0](np.zeros((72, 96, 3), np.uint8))
thread = threading.Thread(target=segmenters.clear)
thread.start()
thread.join()
signal.signal(signal.SIGTERM, lambda *_: print("alive"))
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_signal_is_survived_after_a_model_was_freed_on_another_thread(runtime: str, tiny_model: Path) -> None:
    command = [sys.executable, "-c", FREED_ON_A_THREAD, str(tiny_model), runtime]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


FIRST_ON_FOUR_THREADS = """
import sys, threading
import numpy as np
from edge_seg.segmenter import open_segmenter
segmenters = [open_segmenter(sys.argv[1], sys.argv[2], threads=1) for _ in range(4)]
start = threading.Barrier(4)
def first(segment):
    start.wait()
    segment(np.zeros((72, 96, 3), np.uint8))
threads = [threading.Thread(target=first, args=(segment,)) for segment in segmenters]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("alive")
"""


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_first_pictures_of_a_process_may_come_on_several_threads(runtime: str, tiny_model: Path) -> None:
    """One process in ten or twenty waited for ever, where the run-time was set up by whichever thread came first."""
    command = [sys.executable, "-c", FIRST_ON_FOUR_THREADS, str(tiny_model), runtime]
    for _ in range(30):
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
