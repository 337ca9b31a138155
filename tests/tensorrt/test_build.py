"""Building engines on a fake GPU: what is asked of TensorRT, what is kept, refused and told."""

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import pytest
from filelock import FileLock
from typer.testing import CliRunner

from edge_seg.apps.cli import app
from edge_seg.errors import ModelError, SinkError
from edge_seg.export.tensorrt_ready import ready_for
from edge_seg.runners import best_runtime, read_spec
from edge_seg.runners.engine_file import read_sidecar, sidecar_of

Gpu = Callable[..., tuple[Any, Any]]
Build = Callable[..., list[str]]


def test_an_engine_says_what_it_is(gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path) -> None:
    gpu("8.6.1", sm=(8, 7))
    out = tmp_path / "tiny.engine"
    build(tiny_model, out)
    built = read_sidecar(out).fingerprint

    assert best_runtime(out) == "tensorrt"
    assert built.asked == "best"
    assert (built.tensorrt, built.gpu, built.sm, built.driver) == ("8.6.1", "Fake GPU", "8.7", "12.6")
    assert built.batch == (1, 2, 3)
    assert (tmp_path / "tiny.engine.log").is_file()


@pytest.mark.parametrize(
    ("version", "kind", "asked", "network", "flags", "precision"),
    [
        ("8.6.1", "tiny_model", "best", 1, ["FP16"], "FP16"),
        ("8.6.1", "tiny_model", "fp32", 1, [], "FP32"),
        ("8.6.1", "tiny_model", None, 1, ["FP16"], "FP16"),
        ("8.6.1", "qdq_model", "best", 1, ["INT8", "FP16"], "INT8+FP16"),
        ("8.6.1", "qdq_model", "int8", 1, ["INT8"], "INT8"),
        ("10.3.0", "tiny_model", None, 2, [], "FP32"),
        ("10.3.0", "qdq_model", None, 2, [], "INT8"),
        ("11.4.0", "qdq_model", "best", 2, [], "INT8+FP16"),
    ],
)
def test_flags_are_those_of_the_generation(
    version: str,
    kind: str,
    asked: str | None,
    network: int,
    flags: list[str],
    precision: str,
    gpu: Gpu,
    build: Build,
    fake: ModuleType,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    gpu(version)
    out = tmp_path / "tiny.engine"
    build(request.getfixturevalue(kind), out, precision=asked, workspace_mb=64, tactic_memory_mb=99)
    made, config = fake.Builder._last

    assert (made.flags, config._flags) == (network, flags)
    assert read_spec(out).precision == read_sidecar(out).fingerprint.precision == precision
    assert config._pools == {"WORKSPACE": 64 << 20, "TACTIC_DRAM": 99 << 20}
    assert config._profile.shapes == {"image": ((1, 72, 96, 3), (2, 72, 96, 3), (3, 72, 96, 3))}
    assert config.profiling_verbosity == "DETAILED"


def test_timings_are_kept(gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path) -> None:
    gpu()
    timings = tmp_path / "timings"
    for batch in (1, 2):
        build(tiny_model, tmp_path / f"{batch}.engine", timing_cache=timings, batch=(batch,) * 3)
    assert timings.read_bytes() == b"++"
    for content in (b"other GPU's", b"damaged"):
        timings.write_bytes(content)
        with pytest.raises(ModelError, match="holds no timings of this GPU and TensorRT"):
            build(tiny_model, tmp_path / "3.engine", timing_cache=timings)

        assert timings.read_bytes() == content


def test_timings_that_lie_nowhere_are_told_before_the_build(
    gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path
) -> None:
    gpu()
    with pytest.raises(SinkError, match=r"nowhere/timings cannot be written: .*/nowhere is no folder"):
        build(tiny_model, tmp_path / "tiny.engine", timing_cache=tmp_path / "nowhere" / "timings")
    assert not list(tmp_path.iterdir())


def test_a_file_for_a_cpu_is_refused_with_what_to_type(
    gpu: Gpu, build: Build, tiny_int8_model: Path, tmp_path: Path
) -> None:
    gpu()
    with pytest.raises(ModelError, match=r"TensorRT 10.3.0 would refuse .*\n(.*\n)*.*quantize MODEL --target tensorrt"):
        build(tiny_int8_model, tmp_path / "tiny.engine")


def test_an_opset_that_is_too_new_is_told(gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path) -> None:
    gpu("8.6.1")
    model = onnx.load(tiny_model)
    model.opset_import[0].version, source = 19, tmp_path / "new.onnx"
    onnx.save(model, source)

    with pytest.raises(ModelError, match=r"opset 19; expected opset 13 to 17, which TensorRT 8.6 reads. .*version=17"):
        build(source, tmp_path / "tiny.engine")
    gpu("10.3.0")
    assert build(source, tmp_path / "tiny.engine")


def test_tactic_sources_are_chosen_by_name(
    gpu: Gpu, build: Build, fake: ModuleType, tiny_model: Path, tmp_path: Path
) -> None:
    gpu()
    build(tiny_model, tmp_path / "tiny.engine", tactic_sources=("JIT_CONVOLUTIONS",))
    assert fake.Builder._last[1]._sources == 2
    with pytest.raises(ModelError, match=r"no tactic source CUBLAS. Choose EDGE_MASK_CONVOLUTIONS, JIT_CONVOLUTIONS"):
        build(tiny_model, tmp_path / "tiny.engine", tactic_sources=("CUBLAS",))


def test_a_gpu_without_int8_is_told(gpu: Gpu, build: Build, qdq_model: Path, tmp_path: Path) -> None:
    trt, _ = gpu("8.6.1")
    trt.Builder.platform_has_fast_int8 = False
    with pytest.raises(ModelError, match=r"does not compute in INT8 .* Build the FP32 file with --precision fp16"):
        build(qdq_model, tmp_path / "tiny.engine")


@pytest.mark.parametrize(
    ("setting", "options", "message"),
    [
        ({"version": "8.6.1"}, {"precision": "int8"}, "no Q/DQ nodes"),
        ({"version": "10.3.0"}, {"precision": "int8"}, "Quantize it first: edge-seg quantize MODEL --target tensorrt"),
        ({"version": "8.6.1"}, {"precision": "fp8"}, "Choose fp32, fp16, int8, best"),
        ({}, {"dla": 0}, "has 0 DLA cores"),
        ({"version": "8.5.3"}, {"version_compatible": True}, "8.6 is the first"),
        ({"version": "8.5.3"}, {"tactic_memory_mb": 9}, "takes no --tactic-memory-mb; 8.6 is the first"),
        ({"devices": 0}, {}, "No CUDA device can be used: cuInit failed"),
    ],
)
def test_what_this_machine_cannot_is_told(
    setting: dict[str, Any],
    options: dict[str, Any],
    message: str,
    gpu: Gpu,
    build: Build,
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    gpu(**setting)

    with pytest.raises(ModelError, match=message):
        build(tiny_model, tmp_path / "tiny.engine", **options)
    assert not list(tmp_path.glob("*.engine"))


def test_nothing_is_written_where_the_build_fails(gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path) -> None:
    trt, _ = gpu()
    trt.Builder._fail_with = "Requested amount of GPU memory (9 bytes) could not be allocated: out of memory"

    with pytest.raises(
        ModelError, match=r"out of memory\nMemory ran out; the pool workspace had 8 MiB and .*Lower --w"
    ):
        build(tiny_model, tmp_path / "tiny.engine", workspace_mb=8)

    assert [path.name for path in tmp_path.iterdir() if "lock" not in path.name] == ["tiny.engine.log"]
    assert "ERROR Requested" in (tmp_path / "tiny.engine.log").read_text()
    trt.Builder._fail_with = "Could not find any implementation: insufficient workspace"
    with pytest.raises(ModelError, match="Raise --workspace-mb, or leave it out"):
        build(tiny_model, tmp_path / "tiny.engine", workspace_mb=8)
    trt.Builder._fail_with = "Could not find any implementation for node Conv."
    with pytest.raises(ModelError, match="raise --tactic-memory-mb; the pool tactic memory had 9 MiB"):
        build(tiny_model, tmp_path / "tiny.engine", tactic_memory_mb=9)
    trt.Builder._fail_with = ""
    assert build(tiny_model, tmp_path / "tiny.engine")  # the lock is free


def test_the_parsers_errors_are_told_with_their_nodes(gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path) -> None:
    node = ready_for(onnx.load(tiny_model), "8.6.1", name="tiny", folder=tiny_model.parent).graph.node[3]
    for version, named in (("8.6.1", f"{node.op_type} {node.name} (node 3)"), ("10.3.0", "Conv /head/Conv")):
        trt, _ = gpu(version)
        trt.OnnxParser._refuse = True
        told = re.escape(f"refuses the file:\n  {named}: No importer registered for op")
        with pytest.raises(ModelError, match=told):
            build(tiny_model, tmp_path / "tiny.engine")
    assert node.name


def test_a_parsers_error_about_no_node_has_its_number(
    gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt, _ = gpu("8.6.1")
    trt.OnnxParser._refuse = True
    monkeypatch.setattr(trt.ParserError, "node", lambda self: -1)
    monkeypatch.setattr(trt.OnnxParser, "get_error", lambda self, index: trt.ParserError())
    with pytest.raises(ModelError, match=r"refuses the file:\n  node -1: No importer"):
        build(tiny_model, tmp_path / "tiny.engine")


@pytest.mark.parametrize("version", ["8.6.1", "10.3.0"])
def test_ctrl_c_in_a_build_leaves_nothing(
    version: str, gpu: Gpu, build: Build, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT takes an exception in our Python for an answer; before 10 it builds on, and nothing is written then."""
    trt, _ = gpu(version)
    out = tmp_path / "tiny.engine"
    as_it_is = trt.Builder.build_serialized_network

    def interrupted(self: Any, *arguments: Any) -> Any:  # noqa: ANN401
        signal.raise_signal(signal.SIGINT)
        return as_it_is(self, *arguments)

    monkeypatch.setattr(trt.Builder, "build_serialized_network", interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        build(tiny_model, out)

    assert signal.getsignal(signal.SIGINT) is before
    assert not out.exists() and not sidecar_of(out).exists()
    assert FileLock(tmp_path / ".tiny.engine.lock").acquire(timeout=0)


def test_the_command_builds_and_tells(gpu: Gpu, tiny_model: Path, tmp_path: Path) -> None:
    gpu()
    out = tmp_path / "tiny.engine"
    done = CliRunner().invoke(app, ["build", str(tiny_model), "--out", str(out), "--batch", "1,2,3", "--json"])

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["batch"] == [1, 2, 3]
    assert "there is none yet" in done.stderr and "  Building" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch", "3,2,1"], "three numbers that rise"),
        (["--batch", "0"], "three numbers that rise"),
        (["--calib", "entropy"], "expected qdq or implicit"),
        (["--calib", "implicit"], "takes either --cache FILE"),
        (["--cache", "x.cache"], "these are for it alone"),
        (["--calib", "implicit", "--cache", "x", "--manifest", "y"], "takes either --cache FILE"),
        (["--calib", "implicit", "--cache", "x", "--calib-batch", "4"], "are for the pictures of --manifest alone"),
    ],
)
def test_wrong_usage_is_told(options: list[str], message: str, tiny_model: Path) -> None:
    done = CliRunner().invoke(app, ["build", str(tiny_model), *options])

    assert done.exit_code == 2
    assert message in " ".join(done.output.replace("│", " ").split())
