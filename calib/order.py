"""Which layers INT8 hurts most, told without labels: the pixels that change when one layer alone is quantized."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx

from edge_seg.calib.builder import Builder
from edge_seg.calib.placement import name_nodes
from edge_seg.calib.rung import Rung
from edge_seg.calib.sensitivity_layers import layers_of
from edge_seg.export.target import find_target
from edge_seg.runners import open_runner
from edge_seg.types import UInt8Array


def order_by_agreement(builder: Builder, rung: Rung, images: Sequence[UInt8Array]) -> list[tuple[str, ...]]:
    """The nodes of each layer, worst first: the fewer pixels of `images` [H, W, 3] keep FP32's label, the worse."""
    plain = Rung(rung.target, rung.method, equalised=rung.equalised, methods=rung.methods)
    graph = onnx.ModelProto()
    graph.CopyFrom(builder.graph(plain))
    name_nodes(graph)
    layers = [layer.nodes for layer in layers_of(graph, find_target(rung.target), builder.ranges(plain).tensors)]
    batch = np.stack(images)
    with TemporaryDirectory() as folder:
        path = Path(folder, "graph.onnx")
        path.write_bytes(builder.graph(plain).SerializeToString())
        exact = _labels(path, batch)
        agreement = {}
        for nodes in layers:
            others = tuple(node for layer in layers if layer is not nodes for node in layer)
            path.write_bytes(builder.build(dataclasses.replace(plain, floats=others)).SerializeToString())
            agreement[nodes] = float((_labels(path, batch) == exact).mean())
    return sorted(layers, key=lambda nodes: agreement[nodes])


def _labels(path: Path, images: UInt8Array) -> UInt8Array:
    with open_runner(path, "onnxruntime") as runner:
        return np.concatenate([runner.infer(image[None]) for image in images])
