"""Segmenter: pictures of any size in, labels of the same size out."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np

from edge_seg.errors import DataError
from edge_seg.resize import resize_image, resize_labels
from edge_seg.runners import Runner, choose_runtime, open_runner
from edge_seg.spec import ModelSpec
from edge_seg.types import Result, UInt8Array

MOST_SEGMENTERS = 4


class Segmenter:
    """A Runner with resizing before and after; calling it segments one picture. One thread at a time may call it."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.spec: ModelSpec = runner.spec
        self.runtime: str = runner.runtime

    def __call__(self, image: UInt8Array) -> Result:
        """Labels uint8 [H, W] of an image uint8 [H, W, 3] in BGR, and the stage times in milliseconds."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise DataError(f"Expected an image uint8 [H, W, 3] in BGR, found {image.dtype} {list(image.shape)}.")
        start = time.perf_counter()
        resized = resize_image(image, self.spec.width, self.spec.height)
        before = time.perf_counter()
        labels = self._runner.infer(resized[None])[0]
        after = time.perf_counter()
        height, width = image.shape[:2]
        full = resize_labels(labels, width, height)
        end = time.perf_counter()
        return Result(full, (before - start) * 1e3, (after - before) * 1e3, (end - after) * 1e3)

    def __enter__(self) -> "Segmenter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.__exit__(kind, error, trace)


def open_segmenter(model: str | Path = "edge-seg-s", runtime: str = "auto", *, threads: int = 0) -> Segmenter:
    """Open a bundled name or an artefact's path; errors as `runners.open_runner`."""
    return Segmenter(open_runner(model, runtime, threads=threads))


@contextmanager
def open_segmenters(
    model: str | Path = "edge-seg-s", runtime: str = "auto", *, most: int = MOST_SEGMENTERS, threads: int = 0
) -> Iterator[list[Segmenter]]:
    """Up to `most` Segmenters of one model, each for a thread of its own; `most` 1 gives the one that answers soonest.

    Where a CPU run-time splits one picture over all cores, its threads wait for each other. So several Segmenters, each
    with its share of the cores, do more in a second. On a GPU two overlap copies and layers, where the run-time can.
    `threads` other than 0 are all that those of a CPU have together.
    """
    path, chosen = choose_runtime(model, runtime)
    cores = threads or len(os.sched_getaffinity(0))
    count = max(1, min(most, chosen.several, *(() if chosen.on_gpu else (cores,))))
    # 0 leaves it to the run-time; several share the cores evenly, the first ones taking what is left over.
    shares = [threads] if count == 1 else [cores // count + (i < cores % count) for i in range(count)]
    with ExitStack() as stack:
        yield [stack.enter_context(open_segmenter(path, runtime, threads=share)) for share in shares]
