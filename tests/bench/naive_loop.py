"""The loop most people write: one thread, OpenCV, NumPy and ONNX Runtime in FP32. It is what `run` is compared with.

    python tests/bench/naive_loop.py CLIP MODEL.onnx OUT.mp4

MODEL takes float [1, 3, H, W] and ends in ArgMax; `run_speed.py` makes it. Prints one line of JSON.
"""

import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort

from edge_seg.apps.sinks import open_mp4
from edge_seg.spec import CAMVID_CLASSES, INPUT_MIDDLE, INPUT_SCALE
from edge_seg.types import Frame


def main(clip: str, model: str, out: str) -> None:
    """Segment a film with every core that ONNX Runtime takes, and write it with the encoder that `run` has."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    name, (_, _, height, width) = session.get_inputs()[0].name, session.get_inputs()[0].shape
    palette = np.array([c.rgb[::-1] for c in CAMVID_CLASSES], np.uint8)
    capture = cv2.VideoCapture(clip)
    finished_s: list[float] = []
    with open_mp4(Path(out), capture.get(cv2.CAP_PROP_FPS)) as sink:
        while True:
            ok, image = capture.read()
            if not ok:
                break
            resized = cv2.resize(image, (width, height))
            normal = (resized.astype(np.float32) - INPUT_MIDDLE) / INPUT_SCALE
            (labels,) = session.run(None, {name: np.ascontiguousarray(normal.transpose(2, 0, 1)[None])})
            full = cv2.resize(labels[0].astype(np.uint8), image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            drawn = cv2.addWeighted(image, 0.55, palette[full], 0.45, 0)
            sink.write(np.asarray(drawn), Frame(np.asarray(image), len(finished_s), 0.0))
            finished_s.append(time.perf_counter())
    print(json.dumps({"fps": (len(finished_s) - 1) / (finished_s[-1] - finished_s[0]), "frames": len(finished_s)}))


if __name__ == "__main__":
    main(*sys.argv[1:4])
