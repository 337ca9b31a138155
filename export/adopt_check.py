"""The foreign file as it is against the adopted graph, on the same pictures."""

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from edge_seg.errors import ModelError
from edge_seg.export.adopt_input import Normalisation
from edge_seg.export.adopt_read import PictureInput
from edge_seg.runners import Runner
from edge_seg.runners.ort_runner import untimed_options
from edge_seg.types import UInt8Array

LEAST_AGREEMENT = 0.999
"""Of the pixels: `edge-seg export` asks for as much."""

FREE_BATCH = "Nothing written. Export it with a free batch: torch.onnx.export(..., dynamic_axes={'INPUT': {0: 'N'}})."


def run_by_hand(
    model: onnx.ModelProto, output: str, picture: PictureInput, normalisation: Normalisation, *, images: UInt8Array
) -> NDArray[Any]:
    """What the file gives for images uint8 [N, H, W, 3] BGR, each normalised in NumPy and run alone; [N, ...].

    ModelError where ONNX Runtime cannot run it.
    """
    found = []
    try:
        session = ort.InferenceSession(model.SerializeToString(), untimed_options(), providers=["CPUExecutionProvider"])
        for image in images:
            values = normalisation.apply(image)
            one = values if picture.channels_last else values.transpose(2, 0, 1)
            batch = np.repeat(one[None], picture.batch, axis=0).astype(picture.dtype)
            found.append(session.run([output], {picture.name: batch})[0][:1])
    except Exception as error:  # ONNX Runtime's have no common base
        raise ModelError(
            f"ONNX Runtime {ort.__version__} cannot run the file as it is ({error}). Export it again, or try another "
            "--size."
        ) from None
    return np.concatenate(found)


def compare(runner: Runner, images: UInt8Array, expected: UInt8Array, *, fold: bool) -> float:
    """Share of pixels equal to `expected` [N, H, W], and a look at whether a batch gives what its pictures give alone.

    ModelError where either differs in more than 0.1 % of the pixels, or where a batch does not run.
    """
    try:
        alone = np.concatenate([runner.infer(image[None]) for image in images])
        together = runner.infer(images)
    except Exception as error:  # as above
        raise ModelError(f"The net takes one picture at a time only ({error}). {FREE_BATCH}") from None
    agreement = float((alone == expected).mean())
    if agreement < LEAST_AGREEMENT:
        advice = (
            "Leave --fold out." if fold else "That is a bug of edge-seg adopt, or of a converter of opsets: tell it."
        )
        raise ModelError(
            f"The adopted graph agrees with the original on {agreement:.2%} of the pixels; nothing written. {advice}"
        )
    if (together == alone).mean() < LEAST_AGREEMENT:
        raise ModelError(f"The net mixes the pictures of a batch. {FREE_BATCH}")
    return agreement
