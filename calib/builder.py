"""INT8 graphs of one FP32 graph, each made as a rung says."""

import dataclasses
from collections.abc import Callable, Sequence

import onnx

from edge_seg.calib.adaround import STEPS, adaptive_rounding
from edge_seg.calib.bias_correction import correct_biases
from edge_seg.calib.histogram import Histogram
from edge_seg.calib.qdq import Rounded
from edge_seg.calib.quantize import check_int8, float_graph, method_for, ranges_of, to_int8
from edge_seg.calib.ranges import Ranges, observe
from edge_seg.calib.rung import Rung
from edge_seg.calib.thresholds import Range, least_error
from edge_seg.export.target import find_target
from edge_seg.types import UInt8Array

BIAS_IMAGES = 40
"""Most pictures by which biases are corrected: it runs the net once for each layer, and means settle soon."""

BY_ERROR = ("mse", "min-max", "percentile", "entropy")
"""The methods among which `Builder.methods` chooses; of equal ones the first."""


class Builder:
    """Makes graphs out of `model` and calibration pictures uint8 [1, H, W, 3].

    Ranges are observed once for each FP32 graph, whose histograms are kept, and weights rounded by AdaRound once for
    all that differ in floats or biases alone. `pictures` names the set, for the file of ranges; `steps` are AdaRound's
    for a layer; `on_image` is called for each picture that is observed.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        images: Sequence[UInt8Array],
        pictures: str,
        *,
        steps: int = STEPS,
        on_image: Callable[[], None] = lambda: None,
    ) -> None:
        self._images, self._pictures, self._steps, self._on_image = list(images), pictures, steps, on_image
        self._rounded: dict[Rung, Rounded] = {}
        self._graphs = {False: model}
        self._ranges: dict[bool, Ranges] = {}
        self._histograms: dict[bool, dict[str, Histogram]] = {False: {}, True: {}}

    def graph(self, rung: Rung) -> onnx.ModelProto:
        """The FP32 graph that a rung quantizes: the model's own, or the equalised one."""
        if rung.equalised and True not in self._graphs:
            self._graphs[True] = float_graph(self._graphs[False], rung)
        return self._graphs[rung.equalised]

    def ranges(self, rung: Rung) -> Ranges:
        """The ranges of that graph over the pictures."""
        if rung.equalised not in self._ranges:
            self._ranges[rung.equalised] = observe(
                self.graph(rung),
                iter(self._images),
                pictures=self._pictures,
                on_image=self._on_image,
                histograms=self._histograms[rung.equalised],
            )
        return self._ranges[rung.equalised]

    def methods(self, rung: Rung) -> dict[str, str]:
        """For each tensor of that graph the method, of BY_ERROR, whose range rounds and clips it with least error."""
        target, ranges = find_target(rung.target), self.ranges(rung)
        histograms = self._histograms[rung.equalised]
        found = {}
        for tensor, of in ranges.tensors.items():
            spans = {method: of[method_for(target, method)] for method in BY_ERROR}
            found[tensor] = least_error(histograms[tensor], spans, symmetric=target.minimal)
        return found

    def build(self, rung: Rung) -> onnx.ModelProto:
        """The INT8 graph of a rung; ModelError where nothing in it would be in 8 bits."""
        target, spans, floats = find_target(rung.target), ranges_of(self.ranges(rung), rung), frozenset(rung.floats)

        graph, rounded = self.graph(rung), self._round(rung, spans) if rung.adaptive else None

        def write(graph: onnx.ModelProto) -> onnx.ModelProto:
            return to_int8(graph, spans, target, floats=floats, rounded=rounded)

        result = write(correct_biases(graph, write, self._images[:BIAS_IMAGES]) if rung.corrected else graph)
        check_int8(result, target)
        return result

    def _round(self, rung: Rung, spans: dict[str, Range]) -> Rounded:
        key = dataclasses.replace(rung, floats=(), corrected=False)
        if key not in self._rounded:
            target = find_target(rung.target)
            self._rounded[key] = adaptive_rounding(self.graph(rung), spans, target, self._images, steps=self._steps)
        return self._rounded[key]
