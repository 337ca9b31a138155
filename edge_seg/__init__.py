"""Semantic segmentation at the edge: one model, any run-time, real time.

>>> import numpy as np
>>> import edge_seg
>>> image = np.zeros((540, 960, 3), np.uint8)  # BGR, as OpenCV reads it
>>> with edge_seg.open_segmenter("edge-seg-s") as segment:
...     labels = segment(image).labels
>>> labels.shape, labels.dtype
((540, 960), dtype('uint8'))
"""

import importlib
from typing import TYPE_CHECKING

from edge_seg.errors import EdgeSegError

if TYPE_CHECKING:
    from edge_seg.segmenter import Segmenter, open_segmenter
    from edge_seg.spec import ModelSpec
    from edge_seg.types import Frame, Result, SegClass

__all__ = ["EdgeSegError", "Frame", "ModelSpec", "Result", "SegClass", "Segmenter", "open_segmenter"]
__version__ = "0.1.0"

_HOMES = {
    "Frame": "types",
    "ModelSpec": "spec",
    "Result": "types",
    "SegClass": "types",
    "Segmenter": "segmenter",
    "open_segmenter": "segmenter",
}


def __getattr__(name: str) -> object:
    # NumPy, OpenCV and the run-times load with the first use, so that `edge-seg --help` stays quick.
    if name in _HOMES:
        return getattr(importlib.import_module(f"edge_seg.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'edge_seg' has no attribute {name!r}")
