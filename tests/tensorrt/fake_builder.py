"""TensorRT's builder without a GPU: it keeps what it is asked for, and builds a plan that is the ONNX file."""

import json
import math
from typing import Any

import numpy as np
import onnx
from fake_engine import Runtime


class ILogger:
    """TensorRT's, to derive from."""

    def log(self, severity: Any, msg: str) -> None:  # noqa: ANN401
        raise NotImplementedError


class IProgressMonitor:
    """TensorRT's, to derive from."""


class Calibrator:
    """Both of TensorRT's calibrators, to derive from."""


class INetworkDefinition:
    """What a parser fills."""

    def __init__(self, flags: int) -> None:
        self.flags, self.content = flags, b""


class ParserError:
    """One error of the parser."""

    def node(self) -> int:
        return 3

    def node_name(self) -> str:
        return "/head/Conv"

    def node_operator(self) -> str:
        return "Conv"

    def desc(self) -> str:
        return "No importer registered for op"


class OnnxParser:
    """Takes every file of which `_refuse` is not set."""

    _refuse = False

    def __init__(self, network: INetworkDefinition, logger: Any) -> None:  # noqa: ANN401
        self.network, self.num_errors = network, 0

    def parse(self, content: bytes) -> bool:
        refuse = self._refuse or has_bytes_inside(onnx.load_model_from_string(content))
        self.network.content, self.num_errors = content, int(refuse)
        return not refuse

    def get_error(self, index: int) -> ParserError:
        return ParserError()


def has_bytes_inside(model: onnx.ModelProto) -> bool:
    """UINT8 anywhere but between an input or output and a Cast: no TensorRT takes that."""
    kinds = {
        value.name: value.type.tensor_type.elem_type
        for value in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    ends = [node for node in model.graph.node if "image" in node.input]
    return onnx.TensorProto.UINT8 in kinds.values() or any(node.op_type != "Cast" for node in ends)


class ITimingCache:
    """Timings as bytes."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content + b"+"


class IBuilderConfig:
    """Settings; others than these cannot be set."""

    __slots__ = (
        "DLA_core",
        "_calibration",
        "_flags",
        "_pools",
        "_profile",
        "_sources",
        "_timings",
        "default_device_type",
        "int8_calibrator",
        "profiling_verbosity",
        "progress_monitor",
    )

    def __init__(self) -> None:
        self._flags: list[str] = []
        self._pools: dict[str, int] = {}
        for name in {"progress_monitor", "int8_calibrator"} & set(type(self).__slots__):
            setattr(self, name, None)

    def set_flag(self, flag: str) -> None:
        self._flags.append(flag)

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self._pools[pool] = size

    def set_tactic_sources(self, sources: int) -> None:
        self._sources = sources

    def create_timing_cache(self, content: bytes) -> ITimingCache | None:
        return None if content.startswith(b"damaged") else ITimingCache(content)

    def set_timing_cache(self, timings: ITimingCache, ignore_mismatch: bool) -> bool:
        self._timings = timings
        return not timings.content.startswith(b"other")

    def get_timing_cache(self) -> ITimingCache:
        return self._timings

    def add_optimization_profile(self, profile: Any) -> int:  # noqa: ANN401
        self._profile = profile
        return 0

    def set_calibration_profile(self, profile: Any) -> bool:  # noqa: ANN401
        assert profile is not self._profile, "its least and largest sizes are overwritten"
        self._calibration = profile
        return True


class IOptimizationProfile:
    """Shapes by input."""

    def set_shape(self, name: str, least: Any, best: Any, most: Any) -> None:  # noqa: ANN401
        self.shapes = {name: (least, best, most)}


class Builder:
    """Builds: the plan is the ONNX file."""

    platform_has_fast_int8 = True
    num_DLA_cores = 0
    _fail_with = ""
    _without_bytes: str | None = None
    """How calibration of a uint8 input goes wrong: with these words, or without any."""
    _last: Any = None
    _shown: list[Any]

    def __init__(self, logger: Any) -> None:  # noqa: ANN401
        Runtime._cuda.inside()  # type: ignore[attr-defined]
        self.logger = logger

    def create_network(self, flags: int) -> INetworkDefinition:
        return INetworkDefinition(flags)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes | None:
        Builder._last = (network, config)
        monitor = getattr(config, "progress_monitor", None)
        if monitor is not None:
            monitor.phase_start("Building", None, 2)
            if not monitor.step_complete("Building", 0):
                return None
            monitor.phase_finish("Building")
        if self._fail_with:
            self.logger.log("ILogger.Severity.ERROR", self._fail_with)
            return None
        if getattr(config, "int8_calibrator", None) is not None and not self._calibrate(config, network):
            for line in (self._without_bytes or "").splitlines():
                self.logger.log("ILogger.Severity.ERROR", line)
            return None
        sizes = json.dumps(config._profile.shapes["image"]).encode()
        return sizes + b"\n" + network.content

    def _calibrate(self, config: IBuilderConfig, network: INetworkDefinition) -> bool:
        calibrator = config.int8_calibrator
        if calibrator.read_calibration_cache() is not None:
            return True
        model = onnx.load_model_from_string(network.content)
        is_bytes = model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
        if is_bytes and self._without_bytes is not None:
            return not self._without_bytes
        Builder._shown, count = [], math.prod(config._calibration.shapes["image"][0])
        while (addresses := calibrator.get_batch(["image"])) is not None:
            found = Runtime._cuda.memory[addresses[0]].view(np.float32).copy()  # type: ignore[attr-defined]
            assert len(found) == count, "an FP32 binding would be read beyond its end"
            Builder._shown.append(found.view(np.uint8)[:count] if is_bytes else found)
        calibrator.write_calibration_cache(memoryview(b"TRT-100300-EntropyCalibration2"))
        return True
