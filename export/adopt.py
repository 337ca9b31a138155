"""Any segmentation net in ONNX gets the deploy contract, with a spec inside: bytes of a picture in, labels out."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, compose
from onnx.shape_inference import infer_shapes

from edge_seg.data.class_table import ClassTable
from edge_seg.data.drive import Drive
from edge_seg.errors import ModelError
from edge_seg.export.adopt_check import FREE_BATCH, compare, run_by_hand
from edge_seg.export.adopt_graph import fix_input, forget_notes, free_batch
from edge_seg.export.adopt_input import Normalisation, attach_image
from edge_seg.export.adopt_output import Head, Size, attach_labels, check_labels, find_head, labels_by_hand
from edge_seg.export.adopt_read import PictureInput, find_picture, read_foreign, use_common_opset
from edge_seg.export.graph import Graph, opset_of
from edge_seg.export.tidy import drop_aliases, drop_unused, use_constant_scales
from edge_seg.files import errors_of, written_whole
from edge_seg.resize import resize_image
from edge_seg.runners import open_runner
from edge_seg.runners.contract import check_contract, write_spec
from edge_seg.spec import ModelSpec

FRAMES = (0, 250)
"""Of the drive, ten seconds apart: a net that mixed the pictures of a batch would not get away with it."""

PREFIX = "net/"
"""What the foreign net's tensors and nodes begin with, so that none has a name of ours."""


@dataclass(frozen=True, slots=True)
class AdoptOptions:
    """What a foreign file does not say of itself.

    `layout` is that of its input, "nchw" or "nhwc"; `size` (width, height) is needed where the file leaves it open;
    `output` names one of several, else it is the first; `threshold` is the probability above which a pixel is of the
    second class, for nets of one sigmoid alone, and 0.5 where it is None. `fold`: see `export.adopt_input`.
    """

    table: ClassTable
    normalisation: Normalisation
    layout: str = "nchw"
    size: Size | None = None
    output: str | None = None
    threshold: float | None = None
    fold: bool = False
    name: str | None = None
    dataset: str = "unknown"
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Adopted:
    """What was written: the spec, what was found out of the file, and how far the labels agree with the original's.

    `normalised` says where mean and std went, `agreement` is the share of equal pixels on two drive frames, and
    `classes_seen` how many classes the original gives on them: with one only, the comparison says little.
    """

    spec: ModelSpec
    output: str
    head: str
    normalised: str
    opset: int
    agreement: float
    classes_seen: int


def adopt(model_path: Path, out: Path, options: AdoptOptions) -> Adopted:
    """Write the deployable graph of a foreign ONNX file to `out`, and say what was found.

    The file takes one float picture [N, 3, H, W] (or [N, H, W, 3]) and gives logits of each class at any stride, one
    logit or probability, or labels. The labels of two drive frames are compared with those of the file as it is, run by
    hand in NumPy and ONNX Runtime, before the new one gets its name.

    ModelError for a file of another kind, options that do not fit it, a net that takes one picture at a time only, and
    where more than 0.1 % of the pixels differ.
    """
    options.normalisation.check()
    if options.threshold is not None and not 0 < options.threshold < 1:
        raise ModelError(f"The threshold {options.threshold} is no probability between 0 and 1. Type --threshold 0.5.")
    original = read_foreign(model_path)
    picture = find_picture(original, model_path, layout=options.layout, size=options.size)
    size = picture.width, picture.height
    drive = Drive(1)
    images = np.stack([resize_image(drive[index].image, *size) for index in FRAMES])
    output = _choose_output(original, options.output, model_path)
    found = run_by_hand(original, output, picture, options.normalisation, images=images)
    head = find_head(original, output, found, options.table, size=size, threshold=options.threshold)
    check_labels(found, head, options.table)
    expected = np.stack([labels_by_hand(one[None], head, size) for one in found])
    spec = _spec(original, options, name=options.name or model_path.stem, size=size)
    model, normalised = _build(use_common_opset(original, model_path), picture, head, options)
    write_spec(model, spec)
    check_contract(model, out.name)
    with written_whole(out) as temporary:
        with errors_of(out):
            temporary.write_bytes(model.SerializeToString())
        with open_runner(temporary, "onnxruntime") as runner:
            agreement = compare(runner, images, expected, fold=options.fold)
    return Adopted(spec, output, head.kind, normalised, opset_of(model), agreement, len(np.unique(expected)))


def _choose_output(model: onnx.ModelProto, wanted: str | None, path: Path) -> str:
    """The output by its name, or the first."""
    names = [value.name for value in model.graph.output]
    if wanted is not None and wanted not in names:
        raise ModelError(f"{path} has no output {wanted!r}. Choose one of: {', '.join(names)}.")
    return wanted or names[0]


def _build(
    model: onnx.ModelProto, picture: PictureInput, head: Head, options: AdoptOptions
) -> tuple[onnx.ModelProto, str]:
    """The graph in the contract, and where mean and std went. The model given is used up."""
    fix_input(model.graph, picture.name, picture.shape)
    known = Graph(model)
    use_constant_scales(known)
    free_batch(known, picture.batch)
    drop_aliases(model.graph)
    model = compose.add_prefix(model, PREFIX)
    graph = model.graph
    entry = replace(picture, name=PREFIX + picture.name)
    normalised = attach_image(model, entry, options.normalisation, fold=options.fold)
    attach_labels(model, replace(head, tensor=PREFIX + head.tensor), (picture.width, picture.height))
    drop_aliases(graph)  # that of the output too, which is none now
    drop_unused(graph)
    forget_notes(graph)
    model = infer_shapes(model, data_prop=True)
    if model.graph.output[0].type.tensor_type.shape.dim[0].dim_value:
        raise ModelError(f"The batch of the net is fixed to {picture.batch}. {FREE_BATCH}")
    return model, normalised


def _spec(model: onnx.ModelProto, options: AdoptOptions, *, name: str, size: Size) -> ModelSpec:
    """The spec, with the precision that the file itself has."""
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    precision = "FP16" if TensorProto.FLOAT16 in kinds else "FP32"
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        precision = "INT8"
    return ModelSpec(name, options.table.classes, *size, options.dataset, precision, options.licence)
