"""A sheet of the worst images of an evaluation: what a mean does not show."""

import heapq
import os
from pathlib import Path
from tempfile import TemporaryFile

import cv2
import numpy as np

from edge_seg.apps.overlay import Overlay
from edge_seg.apps.panel import Panel, lay
from edge_seg.apps.sinks import encode_png
from edge_seg.errors import SinkError
from edge_seg.files import check_path, errors_of, write_whole
from edge_seg.metrics import ConfusionMatrix
from edge_seg.spec import ModelSpec
from edge_seg.types import VOID, Frame, UInt8Array

ROWS = 8
WIDTH_PX = 400
LINE_PX, CAPITAL_PX = 22, 9
RED = (60, 60, 255)


class WorstImages:
    """Keeps the images of least mIoU, as a row each: the image, its truth, the labels found, and what is wrong."""

    def __init__(self, spec: ModelSpec, rows: int = ROWS) -> None:
        self._spec, self._rows = spec, rows
        self._overlay = Overlay(spec, alpha=0.6, borders=False)
        self._kept: list[tuple[float, int, UInt8Array]] = []  # a heap of (-mIoU, index, row)

    def look(self, frame: Frame, labels: UInt8Array) -> None:
        """Take one image [H, W, 3] with truth, and its labels [H, W]."""
        assert frame.truth is not None
        matrix = ConfusionMatrix(len(self._spec.classes))
        matrix.update(labels, frame.truth)
        miou = matrix.miou()
        if np.isnan(miou) or (len(self._kept) == self._rows and -miou <= self._kept[0][0]):
            return
        entry = (-miou, frame.index, self._row(frame, labels, miou))
        heapq.heappush(self._kept, entry)
        if len(self._kept) > self._rows:
            heapq.heappop(self._kept)

    def write(self, path: Path) -> None:
        """Write the rows, worst first; SinkError where no image had truth, or the file cannot be written."""
        if not self._kept:
            raise SinkError(f"{path} is not written: no image has a pixel with truth.")
        rows = [row for _, _, row in sorted(self._kept, key=lambda entry: (-entry[0], entry[1]))]
        write_whole(path, encode_png(np.vstack(rows)))

    def _row(self, frame: Frame, labels: UInt8Array, miou: float) -> UInt8Array:
        assert frame.truth is not None
        truth, overlay = frame.truth, self._overlay
        wrong = _show_wrong(frame.image, labels, truth)
        named = {
            f"{frame.name}  mIoU {miou:.3f}": frame.image,
            "truth": overlay.draw(frame.image, truth),
            "labels": overlay.draw(frame.image, labels),
            f"wrong: {(labels != truth)[truth != VOID].mean():.1%}": wrong,
        }
        return np.hstack([_tile(image, text) for text, image in named.items()])


def _show_wrong(image: UInt8Array, labels: UInt8Array, truth: UInt8Array) -> UInt8Array:
    """The picture in dim grey with the pixels of wrong labels in red; uint8 [H, W, 3] in BGR."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) // 2, cv2.COLOR_GRAY2BGR)
    grey[(labels != truth) & (truth != VOID)] = RED
    return np.asarray(grey, np.uint8)


def _tile(image: UInt8Array, text: str) -> UInt8Array:
    """The picture at the sheet's width with a line of text over it."""
    height = max(1, round(image.shape[0] * WIDTH_PX / image.shape[1]))
    small = np.asarray(cv2.resize(image, (WIDTH_PX, height), interpolation=cv2.INTER_AREA), np.uint8)
    panel = Panel(WIDTH_PX, LINE_PX)
    panel.text(6, LINE_PX - 6, text, CAPITAL_PX)
    return lay(small, [panel.layer(0, 0)])


def check_sheet(path: Path) -> None:
    """SinkError, before any work, for a name that is no PNG's or a place where no file can be written."""
    if check_path(path, SinkError).suffix.lower() != ".png":
        raise SinkError(f"{path} is no name of a sheet: expected one ending in .png.")
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise SinkError(f"{path} cannot be written: it is no ordinary file. Choose another name.")
    with errors_of(path, "Choose a folder that exists and is yours."), TemporaryFile(dir=target.parent):
        pass
