"""Checkpoint to ONNX: the deploy contract, with the spec inside."""

import io
import warnings
from dataclasses import replace
from pathlib import Path

import onnx
import torch

from edge_seg.checkpoint import read_checkpoint
from edge_seg.data.drive import Drive
from edge_seg.errors import ModelError
from edge_seg.export.tidy import tidy
from edge_seg.files import errors_of, written_whole
from edge_seg.models.deploy import Deploy
from edge_seg.runners import open_runner
from edge_seg.runners.contract import check_contract, write_spec
from edge_seg.spec import ModelSpec

OPSET = 17
"""The newest that TensorRT 8.5's parser reads."""
IR_VERSION = 8
"""The one that goes with opset 17: older run-times refuse newer ones."""


def to_onnx(checkpoint: Path, out: Path, *, size: tuple[int, int] | None = None) -> ModelSpec:
    """Write the checkpoint's deployable graph to `out` and return its spec.

    `size` is a width and a height in pixels other than those of the training, at which nothing was measured yet. The
    labels are compared with PyTorch's on a drive frame before the file gets its name; ModelError where more than 0.1 %
    of the pixels differ.
    """
    _, spec, net = read_checkpoint(checkpoint)
    if size is not None and size != (spec.width, spec.height):
        spec = replace(spec, width=size[0], height=size[1], scores={})
    deploy = Deploy(net, width=spec.width, height=spec.height).eval()
    # A street shows most classes; on noise a net gives one class nearly everywhere, and hardly anything is compared.
    image = torch.from_numpy(Drive(1, spec.width, spec.height, 1)[0].image[None])
    model = _export(deploy, image)
    write_spec(model, spec)
    check_contract(model, out.name)
    with torch.inference_mode():
        expected = deploy(image).numpy()
    with written_whole(out) as temporary:
        with errors_of(out):
            temporary.write_bytes(model.SerializeToString())
        with open_runner(temporary, "onnxruntime") as runner:
            agreement = float((runner.infer(image.numpy()) == expected).mean())
        if agreement < 0.999:
            raise ModelError(
                f"The exported graph agrees with PyTorch on {agreement:.2%} of the pixels; nothing written."
            )
    return spec


def _export(deploy: Deploy, image: torch.Tensor) -> onnx.ModelProto:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The dynamo exporter emits opset 18 and converts down; this one writes 17 itself, with BatchNorm folded.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            deploy,
            (image,),
            buffer,  # type: ignore[arg-type]  # the annotation leaves out the file objects that this exporter takes
            dynamo=False,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["labels"],
            dynamic_axes={"image": {0: "N"}, "labels": {0: "N"}},
        )
    model = tidy(onnx.load_model_from_string(buffer.getvalue()))
    model.ir_version = IR_VERSION
    return model
