"""From an FP32 file and its ranges to a fine-tuned one: what a training is handed, and what is written of it."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import onnx
import torch
from torch import Tensor

from edge_seg.calib.qat import GraphNet, QuantizedNet, untied
from edge_seg.calib.quantize import check_int8, int8_graph, method_for, open_fp32, to_int8
from edge_seg.calib.ranges import Ranges, hash_of
from edge_seg.calib.rung import Rung
from edge_seg.calib.torch_graph import TorchGraph
from edge_seg.data.drive import Drive
from edge_seg.errors import ModelError
from edge_seg.export.target import Target
from edge_seg.files import write_together
from edge_seg.runners import open_runner
from edge_seg.runners.contract import check_contract, write_spec
from edge_seg.spec import ModelSpec
from edge_seg.training.distillation import LogitsDistiller, open_teacher
from edge_seg.training.options import TrainOptions
from edge_seg.training.tuning import Tuning
from edge_seg.types import UInt8Array

LEAST_AGREEMENT = 0.999
"""Of the labels of PyTorch and ONNX Runtime on one picture, below which an operator does something else here."""


class Files(NamedTuple):
    """What a fine-tuning writes: the FP32 file, its ranges, and the INT8 file for the target."""

    fp32: Path
    ranges: Path
    int8: Path


def files_of(out: Path) -> Files:
    """The three names that go with an FP32 file's.

    >>> [path.name for path in files_of(Path("runs/net.onnx"))]
    ['net.onnx', 'net.ranges.json', 'net.int8.onnx']
    """
    return Files(out, out.with_suffix(".ranges.json"), out.with_suffix(".int8.onnx"))


def make_tuning(source: Path, ranges: Ranges, target: Target, method: str, *, options: TrainOptions) -> Tuning:
    """What trains the FP32 file `source` as `target` computes it, with `ranges` by `method`, and writes `files_of`.

    It learns from `options.teacher`, or else from `source` itself. ModelError for a graph that cannot be run here, and
    where PyTorch's labels are not those of ONNX Runtime.
    """
    model = untied(open_fp32(source))
    spec = check_contract(model, str(source))
    check_runs_alike(source, model)
    chosen = ranges.chosen(method_for(target, method))
    check_int8(to_int8(model, chosen, target), target)  # else the training would end without a file
    net = QuantizedNet(model, chosen, target)

    def write(spec: ModelSpec) -> None:
        write_files(net, model, ranges, method, spec=spec, files=files_of(options.out))

    return Tuning(
        net,
        LogitsDistiller(_teacher(model, options.teacher, spec), options.recipe.distillation),
        write,
        files_of(options.out).int8,
        owed=[(name, spec.licence) for name in spec.dataset.split(" and ")],
        fixed={"qat": target.name, "method": method, "graph": hash_of(model), "ranges": _hash(ranges)},
    )


def write_files(
    net: QuantizedNet, model: onnx.ModelProto, ranges: Ranges, method: str, *, spec: ModelSpec, files: Files
) -> None:
    """Write `model` with the weights of `net` and `spec` inside, the ranges that it trained with, and the INT8 file.

    Of the ranges only those by `method` are kept: the others were never trained with. All three are written or none.
    """
    tuned = net.write_weights(model)
    write_spec(tuned, spec)
    kept = {name: {way: found[way] for way in _ways(method)} for name, found in ranges.tensors.items()}
    tuned_ranges = replace(ranges, model=hash_of(tuned), tensors=kept)
    quantized = int8_graph(tuned, tuned_ranges, Rung(net.target.name, method))
    write_together(
        {
            files.fp32: tuned.SerializeToString(),
            files.ranges: tuned_ranges.to_json().encode(),
            files.int8: quantized.SerializeToString(),
        }
    )


def _ways(method: str) -> tuple[str, ...]:
    """The method, and the one that stands in for it on other targets."""
    return ("mse", "mse-symmetric") if method == "mse" else (method,)


def _hash(ranges: Ranges) -> str:
    return hashlib.sha256(ranges.to_json().encode()).hexdigest()


def _teacher(model: onnx.ModelProto, path: Path | None, spec: ModelSpec) -> Callable[[Tensor], Tensor]:
    """The logits of a teacher in a file, or of the FP32 graph; a function, since Lightning copies what a task holds."""
    if path is not None:
        teach, _ = open_teacher(path, spec.class_names)
        return lambda images: teach(images)[0]
    net = GraphNet(model).requires_grad_(False)

    def logits(images: Tensor) -> Tensor:
        found: Tensor = net.to(images.device)(images)
        return found

    return logits


def check_runs_alike(path: Path, model: onnx.ModelProto) -> None:
    """ModelError unless the graph in PyTorch gives the labels that ONNX Runtime gives, on a drive frame."""
    spec = check_contract(model, str(path))
    image = Drive(1, spec.width, spec.height, 1)[0].image[None]
    with open_runner(path, "onnxruntime") as runner:
        agreement = float((runner.infer(image) == _labels(model, image)).mean())
    if agreement < LEAST_AGREEMENT:
        raise ModelError(
            f"{path}: PyTorch agrees with ONNX Runtime on {agreement:.2%} of the pixels, so what would be trained is "
            "another net. Train it where it came from."
        )


@torch.no_grad()
def _labels(model: onnx.ModelProto, image: UInt8Array) -> UInt8Array:
    (labels,) = TorchGraph(model, [model.graph.output[0].name])({"image": torch.from_numpy(image)})
    found: UInt8Array = labels.numpy()
    return found
