"""Engines from `build` to `run`, on a fake GPU: what is built, kept, refused and told; nothing of speed or accuracy."""

import json
import signal
import threading
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from typer.testing import CliRunner

from edge_seg.apps.cli import app
from edge_seg.calib.manifest import manifest_images
from edge_seg.data.drive import Drive
from edge_seg.errors import DataError, EdgeSegError, ModelError
from edge_seg.export.build_engine import build_engine
from edge_seg.export.to_engine import BuildOptions
from edge_seg.runners import best_runtime, open_runner, read_spec
from edge_seg.runners.contract import add_score
from edge_seg.runners.engine_file import read_sidecar, sidecar_of

Gpu = Callable[..., tuple[Any, Any]]

IMAGES = np.stack([frame.image for frame in Drive(1, 96, 72, 3)])
BEFORE_10 = ("strong typing", "progress", "node names in errors")
FROM_11 = ("calibrators", "precision flags", "fast INT8", "explicit batch")


@pytest.fixture(scope="session")
def qdq_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny net in INT8 for TensorRT."""
    path = tmp_path_factory.mktemp("models") / "tiny.trt.onnx"
    words = ["quantize", str(tiny_model), "--data", "drive:seed=3,frames=8,size=96x72", "--target", "tensorrt"]
    assert CliRunner().invoke(app, [*words, "--images", "8", "--out", str(path)], catch_exceptions=False).exit_code == 0
    return path


def build(source: Path, out: Path, **options: Any) -> list[str]:  # noqa: ANN401
    """What `build_engine` tells."""
    told: list[str] = []
    build_engine(source, out, BuildOptions(**({"batch": (1, 2, 3)} | options)), tell=told.append)
    return told


@pytest.mark.parametrize("integrated", [False, True])
def test_an_engine_gives_the_labels_of_its_file(integrated: bool, gpu: Gpu, tiny_model: Path, tmp_path: Path) -> None:
    _, cuda = gpu(integrated=integrated)
    out = tmp_path / "tiny.engine"
    build(tiny_model, out)
    with open_runner(tiny_model, "onnxruntime") as runner:
        expected = runner.infer(IMAGES)

    with open_runner(out) as runner:
        first = runner.infer(IMAGES[:1])
        found = runner.infer(IMAGES)

        assert (runner.runtime, runner.spec.name) == ("tensorrt", "tiny")
    assert np.array_equal(found, expected)
    assert np.array_equal(first, expected[:1])  # memory of its own, which the second call did not change
    assert cuda.depth == 0


def test_a_runner_works_on_another_thread(gpu: Gpu, tiny_model: Path, tmp_path: Path) -> None:
    gpu()
    build(tiny_model, tmp_path / "tiny.engine")
    found: list[Any] = []
    with open_runner(tmp_path / "tiny.engine") as runner:
        thread = threading.Thread(target=lambda: found.append(runner.infer(IMAGES)))
        thread.start()
        thread.join(30)

    assert found[0].shape == (3, 72, 96)


def test_an_engine_says_what_it_is(gpu: Gpu, tiny_model: Path, tmp_path: Path) -> None:
    gpu("8.6.1", BEFORE_10, sm=(8, 7))
    out = tmp_path / "tiny.engine"
    build(tiny_model, out)
    built = read_sidecar(out).fingerprint

    assert best_runtime(out) == "tensorrt"
    assert built.asked == "best"
    assert (built.tensorrt, built.gpu, built.sm, built.driver) == ("8.6.1", "Fake GPU", "8.7", "12.6")
    assert built.batch == (1, 2, 3)
    assert (tmp_path / "tiny.engine.log").is_file()


def test_it_is_built_once_and_again_where_something_changed(gpu: Gpu, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny.engine"
    gpu()
    assert build(tiny_model, out) == [f"Building {out}: there is none yet."]
    assert build(tiny_model, out) == [f"{out} is up to date."]
    assert build(tiny_model, out, batch=(1, 1, 1)) == [f"Building {out}: batch was (1, 2, 3) and is (1, 1, 1)."]
    assert "flags was () and is ('workspace 8',)" in build(tiny_model, out, batch=(1, 1, 1), workspace_mb=8)[0]
    gpu("10.16.0.72", sm=(11, 0))
    assert "tensorrt was 10.3.0 and is 10.16.0.72; sm was 9.0 and is 11.0; batch was" in build(tiny_model, out)[0]
    other = tmp_path / "tiny.onnx"
    other.write_bytes(tiny_model.read_bytes())
    add_score(other, "any", 0.5)
    assert build(other, out) == [f"Building {out}: onnx has changed."]
    out.write_bytes(b"cut")
    assert "is not the engine that tiny.engine.json describes" in build(tiny_model, out, batch=(1, 1, 1))[0]


def test_of_two_processes_one_builds_and_the_other_waits(gpu: Gpu, tiny_model: Path, tmp_path: Path) -> None:
    gpu()
    out = tmp_path / "tiny.engine"
    lock = FileLock(tmp_path / ".tiny.engine.lock")
    lock.acquire()
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        if "waiting" in line:
            lock.release()

    build_engine(tiny_model, out, BuildOptions(), tell=tell)

    assert told == [
        f"Another process is building {out}: waiting for it.",
        f"Building {out}: there is none yet.",
    ]


@pytest.mark.parametrize(
    ("version", "lacks", "kind", "asked", "network", "flags", "precision"),
    [
        ("8.6.1", BEFORE_10, "tiny_model", "best", 1, ["FP16"], "FP16"),
        ("8.6.1", BEFORE_10, "tiny_model", "fp32", 1, [], "FP32"),
        ("8.6.1", BEFORE_10, "qdq_model", "best", 1, ["INT8", "FP16"], "INT8+FP16"),
        ("8.6.1", BEFORE_10, "qdq_model", "int8", 1, ["INT8"], "INT8"),
        ("10.3.0", (), "qdq_model", "best", 2, [], "INT8"),
        ("11.4.0", FROM_11, "qdq_model", "best", 2, [], "INT8"),
    ],
)
def test_flags_are_those_of_the_generation(
    version: str,
    lacks: tuple[str, ...],
    kind: str,
    asked: str,
    network: int,
    flags: list[str],
    precision: str,
    gpu: Gpu,
    fake: ModuleType,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    gpu(version, lacks)
    out = tmp_path / "tiny.engine"
    build(request.getfixturevalue(kind), out, precision=asked, workspace_mb=64, tactic_memory_mb=99)
    made, config = fake.Builder._last

    assert (made.flags, config._flags) == (network, flags)
    assert read_spec(out).precision == read_sidecar(out).fingerprint.precision == precision
    assert config._pools == {"WORKSPACE": 64 << 20, "TACTIC_DRAM": 99 << 20}
    assert config._profile.shapes == {"image": ((1, 72, 96, 3), (2, 72, 96, 3), (3, 72, 96, 3))}
    assert config.profiling_verbosity == "DETAILED"


def test_timings_are_kept(gpu: Gpu, tiny_model: Path, tmp_path: Path) -> None:
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


def test_a_file_for_a_cpu_is_refused_with_what_to_type(gpu: Gpu, tiny_int8_model: Path, tmp_path: Path) -> None:
    gpu()
    with pytest.raises(ModelError, match=r"TensorRT 10.3.0 would refuse .*\n(.*\n)*.*quantize MODEL --target tensorrt"):
        build(tiny_int8_model, tmp_path / "tiny.engine")


def test_a_dla_is_asked_for(gpu: Gpu, fake: ModuleType, tiny_model: Path, tmp_path: Path) -> None:
    trt, _ = gpu("8.6.1", BEFORE_10)
    trt.Builder.num_DLA_cores = 2
    build(tiny_model, tmp_path / "tiny.engine", dla=1)
    config = fake.Builder._last[1]

    assert (config.default_device_type, config.DLA_core, config._flags) == ("DLA", 1, ["GPU_FALLBACK", "FP16"])
    trt, _ = gpu()
    trt.Builder.num_DLA_cores = 2
    with pytest.raises(ModelError, match="takes INT8 from a calibrator"):
        build(tiny_model, tmp_path / "tiny.engine", dla=1)


def test_tactic_sources_are_chosen_by_name(gpu: Gpu, fake: ModuleType, tiny_model: Path, tmp_path: Path) -> None:
    gpu()
    build(tiny_model, tmp_path / "tiny.engine", tactic_sources=("JIT_CONVOLUTIONS",))
    assert fake.Builder._last[1]._sources == 2
    with pytest.raises(ModelError, match=r"no tactic source CUBLAS. Choose EDGE_MASK_CONVOLUTIONS, JIT_CONVOLUTIONS"):
        build(tiny_model, tmp_path / "tiny.engine", tactic_sources=("CUBLAS",))


def test_a_gpu_without_int8_is_told(gpu: Gpu, qdq_model: Path, tmp_path: Path) -> None:
    trt, _ = gpu("8.6.1", BEFORE_10)
    trt.Builder.platform_has_fast_int8 = False
    with pytest.raises(ModelError, match=r"does not compute in INT8 .* Build the FP32 file with --precision fp16"):
        build(qdq_model, tmp_path / "tiny.engine")


@pytest.mark.parametrize(
    ("setting", "options", "message"),
    [
        ({"version": "10.3.0"}, {"precision": "fp16"}, "computes in the types that the file has"),
        ({"version": "8.6.1", "lacks": BEFORE_10}, {"precision": "int8"}, "no Q/DQ nodes"),
        ({"version": "8.6.1", "lacks": BEFORE_10}, {"precision": "fp8"}, "Choose fp32, fp16, int8, best"),
        ({}, {"dla": 0}, "has 0 DLA cores"),
        ({"lacks": ("version compatible",), "version": "8.5.3"}, {"version_compatible": True}, "8.6 is the first"),
        ({"devices": 0}, {}, "No CUDA device can be used: cuInit failed"),
    ],
)
def test_what_this_machine_cannot_is_told(
    setting: dict[str, Any], options: dict[str, Any], message: str, gpu: Gpu, tiny_model: Path, tmp_path: Path
) -> None:
    gpu(**setting)

    with pytest.raises(ModelError, match=message):
        build(tiny_model, tmp_path / "tiny.engine", **options)
    assert not list(tmp_path.glob("*.engine"))


def test_nothing_is_written_where_the_build_fails(gpu: Gpu, tiny_model: Path, tmp_path: Path) -> None:
    trt, _ = gpu()
    trt.Builder._fail_with = "Requested amount of GPU memory (9 bytes) could not be allocated: out of memory"

    with pytest.raises(ModelError, match=r"out of memory\nMemory ran out. Lower --workspace-mb"):
        build(tiny_model, tmp_path / "tiny.engine", workspace_mb=8)

    assert [path.name for path in tmp_path.iterdir() if "lock" not in path.name] == ["tiny.engine.log"]
    assert "ERROR Requested" in (tmp_path / "tiny.engine.log").read_text()
    trt.Builder._fail_with = "Could not find any implementation: insufficient workspace"
    with pytest.raises(ModelError, match="Raise --workspace-mb, or leave it out"):
        build(tiny_model, tmp_path / "tiny.engine", workspace_mb=8)
    trt.Builder._fail_with = ""
    assert build(tiny_model, tmp_path / "tiny.engine")  # the lock is free


def test_the_parsers_errors_are_told_with_their_nodes(gpu: Gpu, tiny_model: Path, tmp_path: Path) -> None:
    for lacks, node in ((BEFORE_10, "3"), ((), "Conv /head/Conv")):
        trt, _ = gpu("8.6.1", lacks)
        trt.OnnxParser._refuse = True
        with pytest.raises(ModelError, match=rf"refuses the file:\n  {node}: No importer registered for op"):
            build(tiny_model, tmp_path / "tiny.engine")


@pytest.mark.parametrize("lacks", [(), ("progress",)])
def test_ctrl_c_in_a_build_leaves_nothing(
    lacks: tuple[str, ...], gpu: Gpu, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT takes an exception in our Python for an answer; before 10 it builds on, and nothing is written then."""
    trt, _ = gpu(lacks=lacks)
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda out: out.write_bytes(out.read_bytes()[:-9]), "is not the engine that tiny.engine.json describes"),
        (lambda out: sidecar_of(out).unlink(), "nothing says what tiny.engine is"),
        (lambda out: sidecar_of(out).write_text("{}"), "is no sidecar of an engine"),
        (lambda out: sidecar_of(out).write_text("[" * 100_000), "is no sidecar of an engine"),
    ],
)
def test_a_damaged_engine_is_refused(
    change: Callable[[Path], object], message: str, gpu: Gpu, tiny_model: Path, tmp_path: Path
) -> None:
    gpu()
    out = tmp_path / "tiny.engine"
    build(tiny_model, out)
    change(out)

    with pytest.raises(ModelError, match=message):
        open_runner(out)


def test_an_engine_from_elsewhere_is_refused(gpu: Gpu, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny.engine"
    gpu()
    build(tiny_model, out)
    gpu(sm=(8, 7))
    with pytest.raises(ModelError, match=r"built for TensorRT 10.3.0 on Fake GPU \(sm 9.0\); here is .* on sm 8.7"):
        open_runner(out)
    gpu("10.16.0.72")
    with pytest.raises(ModelError, match=r"here is TensorRT 10.16.0.72 on sm 9.0. Build it here: edge-seg build"):
        open_runner(out)

    gpu()
    build(tiny_model, out, version_compatible=True)
    gpu("10.16.0.72")
    with open_runner(out) as runner:
        assert runner.infer(IMAGES).shape == (3, 72, 96)


def test_a_batch_out_of_the_profile_is_told(gpu: Gpu, tiny_model: Path, tmp_path: Path) -> None:
    gpu()
    build(tiny_model, tmp_path / "tiny.engine", batch=(2, 2, 2))
    with open_runner(tmp_path / "tiny.engine") as runner:
        for count in (1, 3):
            with pytest.raises(ModelError, match=f"takes 2 to 2 pictures at a time, not {count}"):
                runner.infer(IMAGES[:count])


def test_memory_that_is_out_is_told(gpu: Gpu, tiny_model: Path, tmp_path: Path) -> None:
    gpu()
    build(tiny_model, tmp_path / "tiny.engine", batch=(1, 8, 64))
    gpu(mb=1)
    with pytest.raises(ModelError, match=r"No memory is left for 1.3 MB on the GPU"):
        open_runner(tmp_path / "tiny.engine")


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


def calibrated(model: Path, out: Path, *options: str) -> Any:  # noqa: ANN401
    """The result of a build with --calib implicit."""
    return CliRunner().invoke(app, ["build", str(model), "--calib", "implicit", "--out", str(out), *options])


def test_implicit_int8_takes_the_cache(gpu: Gpu, fake: ModuleType, tiny_model: Path, tmp_path: Path) -> None:
    gpu()
    cache, out = tmp_path / "tiny.cache", tmp_path / "tiny.engine"
    cache.write_text("TRT-100300-EntropyCalibration2\nimage: 3c010204\n")
    done = calibrated(tiny_model, out, "--cache", str(cache))
    made, config = fake.Builder._last

    assert done.exit_code == 0, done.output
    assert (made.flags, config._flags) == (1, ["INT8", "FP16"])  # weakly typed: implicit INT8 is for nothing else
    assert config.int8_calibrator.read_calibration_cache() == cache.read_bytes()
    assert config.int8_calibrator.get_batch(["image"]) is None
    assert read_spec(out).precision == "INT8+FP16"


@pytest.mark.parametrize(
    ("version", "lacks", "text", "message"),
    [
        ("11.4.0", FROM_11, "TRT-110400-EntropyCalibration2\nimage: 3c010204", "no calibrators any more"),
        (
            "10.16.0",
            (),
            "TRT-100300-EntropyCalibration2\nimage: 3c010204",
            "is for TensorRT 100300, and here is 101600",
        ),
        ("10.3.0", (), "TRT-100300-EntropyCalibration2\nother: 3c010204", "is of another graph"),
        ("10.3.0", (), "TRT-100300-LegacyCalibration\nimage: 3c010204", "Write one of entropy2 or min-max"),
    ],
)
def test_a_cache_that_does_not_fit_is_told(
    version: str, lacks: tuple[str, ...], text: str, message: str, gpu: Gpu, tiny_model: Path, tmp_path: Path
) -> None:
    gpu(version, lacks)
    (tmp_path / "tiny.cache").write_text(f"{text}\n")
    done = calibrated(tiny_model, tmp_path / "tiny.engine", "--cache", str(tmp_path / "tiny.cache"))

    assert isinstance(done.exception, EdgeSegError) and message in str(done.exception)
    assert not (tmp_path / "tiny.engine").exists()


def test_a_quantized_file_is_not_calibrated(gpu: Gpu, qdq_model: Path, tmp_path: Path) -> None:
    gpu()
    (tmp_path / "tiny.cache").write_text("TRT-100300-EntropyCalibration2\nimage: 3c010204\n")
    done = calibrated(qdq_model, tmp_path / "tiny.engine", "--cache", str(tmp_path / "tiny.cache"))

    assert "has Q/DQ nodes already" in str(done.exception)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Nine pictures."""
    path = tmp_path / "calib.json"
    words = ["calib", "images", "--data", "drive:seed=3,frames=40,size=96x72", "--images", "9", "--out", str(path)]
    assert CliRunner().invoke(app, words).exit_code == 0
    return path


def test_implicit_int8_by_pictures_keeps_its_cache(
    gpu: Gpu, fake: ModuleType, tiny_model: Path, manifest: Path, tmp_path: Path
) -> None:
    gpu()
    out, options = tmp_path / "tiny.engine", ["--manifest", str(manifest), "--calib-batch", "4"]
    done = calibrated(tiny_model, out, *options)
    config, shown = fake.Builder._last[1], fake.Builder._shown

    assert done.exit_code == 0, done.output
    assert "1 of 9 pictures are left out" in done.stderr
    assert [len(batch) for batch in shown] == [4 * 72 * 96 * 3] * 2 and not np.array_equal(*shown)
    assert config._calibration.shapes == {"image": ((4, 72, 96, 3),) * 3}
    assert config._profile.shapes == {"image": ((1, 72, 96, 3),) * 3}

    for change, stale in ((), False), (("--calibrator", "min-max"), True):
        out.unlink()
        told = calibrated(tiny_model, out, *options, *change).stderr
        known = fake.Builder._last[1].int8_calibrator.read_calibration_cache()
        assert ("calibrating anew" in told) is stale
        assert known == (None if stale else b"TRT-100300-EntropyCalibration2")
    (tmp_path / "tiny.engine.cache").write_bytes(b"exchanged")
    out.unlink()
    assert "calibrating anew" in calibrated(tiny_model, out, *options, "--calibrator", "min-max").stderr


def test_a_picture_that_cannot_be_read_ends_the_build(
    gpu: Gpu, tiny_model: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT would take the error for the end of the pictures, and calibrate on those before."""
    gpu()

    def broken(*arguments: Any) -> Any:  # noqa: ANN401
        yield from islice(manifest_images(*arguments), 5)
        raise DataError("other pixels than when it was picked")

    monkeypatch.setattr("edge_seg.calib.manifest.manifest_images", broken)
    done = calibrated(tiny_model, tmp_path / "tiny.engine", "--manifest", str(manifest), "--calib-batch", "2")

    assert isinstance(done.exception, EdgeSegError) and "other pixels" in str(done.exception)
    assert not (tmp_path / "tiny.engine").exists() and not (tmp_path / "tiny.engine.cache").exists()


def test_too_few_pictures_are_told(gpu: Gpu, tiny_model: Path, manifest: Path, tmp_path: Path) -> None:
    gpu()
    done = calibrated(tiny_model, tmp_path / "tiny.engine", "--manifest", str(manifest), "--calib-batch", "10")

    assert "has 9 pictures, fewer than the 10 shown at a time" in str(done.exception)


def test_run_and_eval_build_what_they_need(
    gpu: Gpu, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    data = "drive:frames=3,size=96x72"
    runs = [
        ["eval", str(tiny_model), "--data", data, "--runtime", "tensorrt", "--json"],
        ["run", "--model", str(tiny_model), "--source", data, "--headless", "--runtime", "tensorrt", "--json"],
        ["eval", str(tiny_model), "--data", data, "--runtime", "onnxruntime", "--json"],
    ]
    done = [CliRunner().invoke(app, words, catch_exceptions=False) for words in runs]
    reports = [json.loads(result.stdout) for result in done]

    assert "there is none yet" in done[0].stderr and "is up to date" in done[1].stderr
    assert [report["runtime"] for report in reports] == ["tensorrt", "tensorrt", "onnxruntime"]
    assert reports[0]["class_iou"] == reports[2]["class_iou"]
    assert len(list((tmp_path / "edge-seg" / "engines").glob("*.engine"))) == 1
