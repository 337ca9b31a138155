"""A deployable ONNX graph to a TensorRT engine, on TensorRT 8.5 to 11.

Which calls a TensorRT has is asked of the package itself (runners.tensorrt_api), never of its version. What this
function needs of the outside is handed to it: the package, the calibrator, the log.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import onnx

from edge_seg.errors import ModelError
from edge_seg.export.build_log import OnPhase, Watch, make_monitor
from edge_seg.export.engine_checks import check_dla, check_precision
from edge_seg.export.typed_onnx import is_fp16
from edge_seg.runners.contract import check_contract
from edge_seg.runners.tensorrt_api import CONSEQUENCES, INSUFFICIENT, Log, has, make_logger, start
from edge_seg.runners.trt_runner import VERSION_COMPATIBLE
from edge_seg.spec import ModelSpec

MB = 1 << 20


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What an engine is built with besides its ONNX file.

    `precision` is one of PRECISIONS: what weakly typed networks (before TensorRT 10, and with a calibrator) may compute
    in; for others a file of such types is written first (export.typed_onnx). None is best for the former, and the
    file's own types for the latter. `dla` is the number of a deep learning
    accelerator, the GPU taking what that cannot. `workspace_mb` bounds the memory that a layer may use while it runs,
    `tactic_memory_mb` that of the whole build on a Jetson, both in MiB. `batch` is the least, the best and the largest
    N. Of `tactic_sources` only those named are used; empty: TensorRT's own choice.
    """

    precision: str | None = None
    dla: int | None = None
    workspace_mb: int | None = None
    tactic_memory_mb: int | None = None
    timing_cache: Path | None = None
    batch: tuple[int, int, int] = (1, 1, 1)
    version_compatible: bool = False
    tactic_sources: tuple[str, ...] = ()

    def flags(self) -> tuple[str, ...]:
        """What beside precision and batch makes another engine of the same file.

        >>> BuildOptions(dla=0, workspace_mb=64, version_compatible=True, tactic_sources=("CUDNN",)).flags()
        ('dla 0', 'workspace 64', 'version-compatible', 'only CUDNN')
        """
        numbers = {"dla": self.dla, "workspace": self.workspace_mb, "tactic memory": self.tactic_memory_mb}
        flags = [f"{name} {number}" for name, number in numbers.items() if number is not None]
        flags += [VERSION_COMPATIBLE] if self.version_compatible else []
        return (*flags, *(f"only {source}" for source in sorted(self.tactic_sources)))


class Plan(NamedTuple):
    """An engine's bytes, what its layers may compute in, such as INT8+FP16, and the timings of its tactics."""

    content: bytes
    precision: str
    timings: bytes


class Implicit(NamedTuple):
    """A calibrator of TensorRT, how many pictures it is to show at a time, and whether as floats of 0 to 255."""

    calibrator: Any
    batch: int
    floats: bool = False


class NotBuiltError(ModelError):
    """TensorRT's builder gave no engine, and not for want of memory."""


def to_engine(
    trt: Any,  # noqa: ANN401
    model: onnx.ModelProto,
    options: BuildOptions,
    *,
    log: Log,
    watch: Watch,
    implicit: Implicit | None = None,
    on_phase: OnPhase = lambda phase, step, steps: None,
) -> Plan:
    """The engine of a model as `tensorrt_ready` makes it, built on this machine's GPU by the package `trt`.

    With `implicit.floats` that of its float-input twin. ModelError where the parser or the builder refuses it, this
    TensorRT or GPU lacks what is asked for, or memory runs out: with TensorRT's own words, and what to change. Whatever
    else ended the build is in `watch`.
    """
    log.errors.clear()  # those of a build before: a calibrated engine may take three
    spec = check_contract(model, "the model")
    logger = make_logger(trt, log)
    builder = start(trt.Builder, logger, log)
    typed = is_typed(trt, calibrated=implicit is not None)
    quantized = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    short = quantized or implicit is not None
    check_precision(trt, builder, options.precision, short=short)
    _check_options(trt, builder, options, by_file=typed or quantized)
    network = builder.create_network(_network_flags(trt, typed=typed))
    parser = trt.OnnxParser(network, logger)
    shown = float_twin(model) if implicit is not None and implicit.floats else model
    if not parser.parse(shown.SerializeToString()):
        found = _parser_errors(trt, parser, shown.graph.node)
        raise ModelError("\n".join(["TensorRT's ONNX parser refuses the file:", *found]))
    config = _config(trt, builder, options)
    shape = spec.height, spec.width, 3
    _add_profile(builder, config, [(n, *shape) for n in options.batch])
    precision = _types(model, spec) if typed else _set_precision(trt, config, options.precision, short=short)
    if implicit is not None:
        _calibrate(builder, config, implicit, shape)
    monitor = make_monitor(trt, watch, on_phase)
    if monitor is not None:
        config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if plan is None and not watch.ended:
        raise _not_built(log, options)
    return Plan(b"" if plan is None else bytes(plan), precision, _timings(config, options))


def is_typed(trt: Any, *, calibrated: bool) -> bool:  # noqa: ANN401
    """Whether networks compute in the types of their file; implicit INT8 is for weakly typed ones."""
    return not calibrated and has(trt, "strong typing")


def _check_options(trt: Any, builder: Any, options: BuildOptions, *, by_file: bool) -> None:  # noqa: ANN401
    """ModelError where the machine or this TensorRT lacks what `options` ask for besides a precision."""
    if options.dla is not None:
        check_dla(builder, options.dla, by_file=by_file)
    if options.version_compatible and not has(trt, "version compatible"):
        raise ModelError(f"TensorRT {trt.__version__} builds no version compatible engines; 8.6 is the first to.")
    if options.tactic_memory_mb is not None and not has(trt, "tactic memory"):
        raise ModelError(f"TensorRT {trt.__version__} takes no --tactic-memory-mb; 8.6 is the first to. Leave it out.")


def float_twin(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph of FP32 pictures in 0 to 255; all tensors keep their names, so that a cache fits both.

    The Cast behind the input does nothing then, and stays for its name.
    """
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    twin.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return twin


def _types(model: onnx.ModelProto, spec: ModelSpec) -> str:
    """What a file's layers compute in: INT8 may have floats in FP16 beside it."""
    return "INT8+FP16" if spec.precision == "INT8" and is_fp16(model) else spec.precision


def _network_flags(trt: Any, *, typed: bool) -> int:  # noqa: ANN401
    """Strong typing, where the precision is the file's; else, where there is such a flag, the explicit batch."""
    if typed:
        return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    return 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH) if has(trt, "explicit batch") else 0


def _parser_errors(trt: Any, parser: Any, nodes: Sequence[onnx.NodeProto]) -> list[str]:  # noqa: ANN401
    """The parser's errors, each with the node that it is about; before TensorRT 10 it tells no more than a number."""
    named = has(trt, "node names in errors")
    found = []
    for index in range(parser.num_errors):
        parser_error = parser.get_error(index)
        node = f"{parser_error.node_operator()} {parser_error.node_name()}" if named else _node(parser_error, nodes)
        found.append(f"  {node}: {parser_error.desc()}")
    return found


def _node(parser_error: Any, nodes: Sequence[onnx.NodeProto]) -> str:  # noqa: ANN401
    """The node of an error in words; its number alone where the graph has none of that number."""
    number = int(parser_error.node())
    if not 0 <= number < len(nodes):
        return f"node {number}"
    return f"{nodes[number].op_type} {nodes[number].name} (node {number})"


def _config(trt: Any, builder: Any, options: BuildOptions) -> Any:  # noqa: ANN401
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # names and precisions of layers for the inspector
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.dla is not None:
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = options.dla
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    if options.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb * MB)
    if options.tactic_memory_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.TACTIC_DRAM, options.tactic_memory_mb * MB)
    if options.tactic_sources:
        config.set_tactic_sources(_tactic_sources(trt, options.tactic_sources))
    if options.timing_cache is not None:
        _use_timings(config, options.timing_cache)
    return config


def _tactic_sources(trt: Any, names: tuple[str, ...]) -> int:  # noqa: ANN401
    """The bits of named sources; ModelError for one that this TensorRT has not."""
    known = trt.TacticSource.__members__
    for name in names:
        if name not in known:
            raise ModelError(f"TensorRT {trt.__version__} has no tactic source {name}. Choose {', '.join(known)}.")
    return sum(1 << int(known[name]) for name in set(names))


def _use_timings(config: Any, path: Path) -> None:  # noqa: ANN401
    """The timings of earlier builds; ModelError for those of another GPU or version, which are not to be lost."""
    try:
        known = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}. Choose another --timing-cache.") from None
    timings = config.create_timing_cache(known)
    if timings is None or not config.set_timing_cache(timings, False):
        raise ModelError(f"{path} holds no timings of this GPU and TensorRT. Choose another --timing-cache.")


def _timings(config: Any, options: BuildOptions) -> bytes:  # noqa: ANN401
    if options.timing_cache is None:
        return b""
    timings = config.get_timing_cache()
    return bytes(timings.serialize())


def _add_profile(builder: Any, config: Any, shapes: list[tuple[int, ...]]) -> None:  # noqa: ANN401
    """The least, the best and the largest picture input that the engine takes."""
    profile = builder.create_optimization_profile()
    profile.set_shape("image", *shapes)
    if config.add_optimization_profile(profile) < 0:
        raise ModelError(f"TensorRT does not take the sizes {shapes[0]} to {shapes[-1]}.")


def _set_precision(trt: Any, config: Any, precision: str | None, *, short: bool) -> str:  # noqa: ANN401
    """Set the flags of a weakly typed network, where Q/DQ nodes need that of INT8 too; gives them in words."""
    asked = [*(["INT8"] if short else []), *(["FP16"] if precision in ("fp16", "best", None) else [])]
    for name in asked:
        config.set_flag(trt.BuilderFlag.INT8 if name == "INT8" else trt.BuilderFlag.FP16)
    return "+".join(asked) or "FP32"


def _calibrate(builder: Any, config: Any, implicit: Implicit, shape: tuple[int, int, int]) -> None:  # noqa: ANN401
    """A profile of its own: TensorRT sets the least and the largest of that for calibration to the best."""
    profile = builder.create_optimization_profile()
    size = (implicit.batch, *shape)
    profile.set_shape("image", size, size, size)
    if not config.set_calibration_profile(profile):
        raise ModelError(f"TensorRT does not calibrate with {implicit.batch} pictures at a time.")
    config.int8_calibrator = implicit.calibrator


def _not_built(log: Log, options: BuildOptions) -> ModelError:
    said = f"TensorRT could not build the engine:{log.told()}"
    mb, tactic_mb = options.workspace_mb, options.tactic_memory_mb
    if log.memory_ran_out:
        return ModelError(
            f"{said}\nMemory ran out; {_pool('workspace', mb)} and {_pool('tactic memory', tactic_mb)}. Lower "
            "--workspace-mb, on a Jetson --tactic-memory-mb too, or the largest --batch."
        )
    if any(INSUFFICIENT in error.lower() for error in log.errors):
        return NotBuiltError(
            f"{said}\nThe workspace is too small for any tactic; {_pool('workspace', mb)}. Raise "
            "--workspace-mb, or leave it out."
        )
    if tactic_mb is not None and any(CONSEQUENCES[0] in error.lower() for error in log.errors):
        return NotBuiltError(
            f"{said}\nWhere the log says that tactics were skipped for want of memory, raise --tactic-memory-mb; "
            f"{_pool('tactic memory', tactic_mb)}."
        )
    return NotBuiltError(said)


def _pool(name: str, limit_mb: int | None) -> str:
    """A pool of memory in words.

    >>> _pool("workspace", 64), _pool("workspace", None)
    ('the pool workspace had 64 MiB', 'the pool workspace had no limit')
    """
    return f"the pool {name} had {'no limit' if limit_mb is None else f'{limit_mb} MiB'}"
