"""A deployable ONNX file to a TensorRT engine, on TensorRT 8.5 to 11.

Which calls a TensorRT has is asked of the package itself (runners.tensorrt_api), never of its version. What this
function needs of the outside is handed to it: the package, the calibrator, the log.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from edge_seg.errors import ModelError
from edge_seg.export.build_log import BuildLog, OnPhase, make_logger, make_monitor
from edge_seg.files import write_whole
from edge_seg.runners.contract import check_contract
from edge_seg.runners.tensorrt_api import has

PRECISIONS = ("fp32", "fp16", "int8", "best")
MB = 1 << 20


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What an engine is built with besides its ONNX file.

    `precision` is what weakly typed TensorRTs (before 10) may compute in; from 10 on the file's own types hold, and it
    has to be "best", which asks for nothing. `dla` is the number of a deep learning accelerator, the GPU taking what
    that cannot. `workspace_mb` bounds the memory of tactics while building, in MiB. `batch` is the least, the best and
    the largest N. `tactic_sources` leaves out those not named, such as CUBLAS; empty: TensorRT's own choice.
    """

    precision: str = "best"
    dla: int | None = None
    workspace_mb: int | None = None
    timing_cache: Path | None = None
    batch: tuple[int, int, int] = (1, 1, 1)
    version_compatible: bool = False
    tactic_sources: tuple[str, ...] = ()

    def flags(self) -> tuple[str, ...]:
        """What beside precision and batch makes another engine of the same file.

        >>> BuildOptions(dla=0, version_compatible=True).flags()
        ('dla 0', 'version-compatible')
        """
        dla = () if self.dla is None else (f"dla {self.dla}",)
        return (*dla, *(("version-compatible",) if self.version_compatible else ()))


def to_engine(
    trt: Any,  # noqa: ANN401
    content: bytes,
    options: BuildOptions,
    *,
    log: BuildLog,
    calibrator: Any = None,  # noqa: ANN401
    on_phase: OnPhase = lambda phase, step, steps: True,
) -> bytes:
    """The plan of an ONNX file's bytes, built on this machine's GPU by the package `trt`.

    `calibrator` is one of TensorRT's, for implicit INT8. Where `on_phase` gives False, the build ends with
    KeyboardInterrupt. ModelError where the file is not of the contract, the parser or the builder refuses it, this
    TensorRT or GPU lacks what is asked for, or memory runs out: with TensorRT's own words, and what to change.
    """
    model = onnx.load_model_from_string(content)
    spec = check_contract(model, "the model")
    logger = make_logger(trt, log)
    builder = trt.Builder(logger)
    _check_hardware(trt, builder, options)
    typed = calibrator is None and has(trt, "strong typing")  # implicit INT8 is for weakly typed networks
    network = builder.create_network(_network_flags(trt, typed=typed))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(content):
        raise ModelError("\n".join(["TensorRT's ONNX parser refuses the file:", *_parser_errors(trt, parser)]))
    config = _config(trt, builder, options)
    if not typed and has(trt, "precision flags"):
        quantized = calibrator is not None or any(node.op_type == "QuantizeLinear" for node in model.graph.node)
        _set_precision(trt, config, options.precision, quantized=quantized)
    profile = builder.create_optimization_profile()
    profile.set_shape("image", *((n, spec.height, spec.width, 3) for n in options.batch))
    config.add_optimization_profile(profile)
    if calibrator is not None:
        _calibrate_with(trt, config, profile, calibrator)
    ended = _watch(trt, config, on_phase)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise KeyboardInterrupt if ended else ModelError(_why_not_built(log, options))
    if options.timing_cache is not None:
        _keep_timings(config, options.timing_cache)
    return bytes(plan)


def _check_hardware(trt: Any, builder: Any, options: BuildOptions) -> None:  # noqa: ANN401
    """ModelError where the GPU or this TensorRT lacks what `options` ask for."""
    if options.precision not in PRECISIONS:
        raise ModelError(f"No precision {options.precision!r}. Choose {', '.join(PRECISIONS)}.")
    if options.precision != "best" and has(trt, "strong typing"):
        raise ModelError(
            f"TensorRT {trt.__version__} computes in the types that the file has; a precision is for versions before "
            "10. Write the file that you want: edge-seg quantize MODEL --target tensorrt [--float fp16]"
        )
    if options.precision == "int8" and has(trt, "fast INT8") and not builder.platform_has_fast_int8:
        raise ModelError(
            "This GPU does not compute in INT8 (Nano's sm_53 and TX2's sm_62 do not). Take --precision fp16."
        )
    if options.dla is not None and options.dla >= builder.num_DLA_cores:
        cores = builder.num_DLA_cores
        raise ModelError(f"--dla {options.dla}: this machine has {cores} DLA cores. Leave --dla out to take the GPU.")
    if options.version_compatible and not has(trt, "version compatible"):
        raise ModelError(
            f"TensorRT {trt.__version__} builds no version compatible engines; 8.6 is the first that does."
        )


def _network_flags(trt: Any, *, typed: bool) -> int:  # noqa: ANN401
    """Strong typing, where the precision is the file's; else, where there is such a flag, the explicit batch."""
    if typed:
        return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    return 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH) if has(trt, "explicit batch") else 0


def _parser_errors(trt: Any, parser: Any) -> list[str]:  # noqa: ANN401
    """The parser's errors, each with the node that it is about."""
    named = has(trt, "node names in errors")
    found = []
    for index in range(parser.num_errors):
        parser_error = parser.get_error(index)
        node = f"{parser_error.node_operator()} {parser_error.node_name()}" if named else parser_error.node()
        found.append(f"  {node}: {parser_error.desc()}")
    return found


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
        if has(trt, "tactic memory"):  # on a Jetson the pool that trying tactics fills up is this one
            config.set_memory_pool_limit(trt.MemoryPoolType.TACTIC_DRAM, options.workspace_mb * MB)
    if options.tactic_sources:
        sources = [getattr(trt.TacticSource, name) for name in options.tactic_sources]
        config.set_tactic_sources(sum(1 << int(source) for source in sources))
    if options.timing_cache is not None:
        _use_timing_cache(config, options.timing_cache)
    return config


def _set_precision(trt: Any, config: Any, precision: str, *, quantized: bool) -> None:  # noqa: ANN401
    """The flags of a weakly typed network: one with Q/DQ needs INT8 there too, and FP16 for the rest of it."""
    if precision == "int8" and not quantized:
        raise ModelError(
            "The file has no Q/DQ nodes, and no calibration cache was given: nothing says how to round. Quantize it "
            "first: edge-seg quantize MODEL --target tensorrt"
        )
    if quantized:
        config.set_flag(trt.BuilderFlag.INT8)
    if precision in ("fp16", "best"):
        config.set_flag(trt.BuilderFlag.FP16)


def _use_timing_cache(config: Any, path: Path) -> None:  # noqa: ANN401
    """The timings of an earlier build; one of another GPU or version is left unused by TensorRT, with a warning."""
    known = path.read_bytes() if path.is_file() else b""
    if not config.set_timing_cache(config.create_timing_cache(known), False):
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _keep_timings(config: Any, path: Path) -> None:  # noqa: ANN401
    timings = config.get_timing_cache()
    write_whole(path, bytes(timings.serialize()))


def _calibrate_with(trt: Any, config: Any, profile: Any, calibrator: Any) -> None:  # noqa: ANN401
    if not has(trt, "calibrators"):
        raise ModelError(
            f"TensorRT {trt.__version__} has no calibrators any more. Write Q/DQ nodes instead: "
            "edge-seg quantize MODEL --target tensorrt"
        )
    config.set_calibration_profile(profile)
    config.int8_calibrator = calibrator


def _watch(trt: Any, config: Any, on_phase: OnPhase) -> list[bool]:  # noqa: ANN401
    """Let `on_phase` follow the build; the list is filled where it has ended it."""
    ended: list[bool] = []

    def told(phase: str, step: int, steps: int) -> bool:
        go_on = on_phase(phase, step, steps)
        if not go_on:
            ended.append(True)
        return go_on

    monitor = make_monitor(trt, told)
    if monitor is not None:
        config.progress_monitor = monitor
    return ended


def _why_not_built(log: BuildLog, options: BuildOptions) -> str:
    said = "\n".join(["TensorRT could not build the engine:", *(f"  {line}" for line in log.errors)])
    if not log.ran_out_of_memory:
        return said
    pools = "the workspace" if options.workspace_mb is None else f"the workspace of {options.workspace_mb} MiB"
    return f"{said}\nMemory ran out. Bound {pools} lower (--workspace-mb), or build for fewer pictures (--batch)."
