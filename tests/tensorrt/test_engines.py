"""Engines from `build` to `run`, on a fake GPU: what is built, kept, refused and told; nothing of speed or accuracy."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from typer.testing import CliRunner

from edge_seg.apps.cli import app
from edge_seg.data.drive import Drive
from edge_seg.errors import EdgeSegError, ModelError
from edge_seg.export.build_engine import build_engine
from edge_seg.export.to_engine import BuildOptions
from edge_seg.runners import best_runtime, open_runner, read_spec
from edge_seg.runners.engine_file import read_sidecar, sidecar_of

Gpu = Callable[..., tuple[Any, Any]]

IMAGES = np.stack([frame.image for frame in Drive(1, 96, 72, 3)])
BEFORE_10 = ("strong typing", "progress", "node names in errors", "memory of 64 bits")
FROM_11 = ("calibrators", "precision flags", "fast INT8", "explicit batch", "memory of 32 bits")


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


def test_an_engine_says_what_it_is(gpu: Gpu, tiny_int8_model: Path, tmp_path: Path) -> None:
    gpu("8.6.1", BEFORE_10, sm=(8, 7))
    out = tmp_path / "tiny.engine"
    build(tiny_int8_model, out)
    built = read_sidecar(out).fingerprint

    assert best_runtime(out) == "tensorrt"
    assert read_spec(out).precision == built.precision == "INT8"
    assert (built.tensorrt, built.gpu, built.sm, built.driver) == ("8.6.1", "Fake GPU", "8.7", "12.6")
    assert built.batch == (1, 2, 3)
    assert (tmp_path / "tiny.engine.log").is_file()


def test_it_is_built_once_and_again_where_something_changed(gpu: Gpu, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny.engine"
    gpu()
    assert build(tiny_model, out) == [f"Building {out}: there is none yet."]
    assert build(tiny_model, out) == [f"{out} is up to date."]
    assert build(tiny_model, out, batch=(1, 1, 1)) == [f"Building {out}: batch: (1, 2, 3), not (1, 1, 1)."]
    gpu("10.16.0.72", sm=(11, 0))
    assert build(tiny_model, out, batch=(1, 1, 1)) == [
        f"Building {out}: tensorrt: 10.3.0, not 10.16.0.72; sm: 9.0, not 11.0."
    ]
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
    ("version", "lacks", "kind", "network", "flags"),
    [
        ("8.6.1", BEFORE_10, "tiny_model", 1, ["FP16"]),
        ("8.6.1", BEFORE_10, "tiny_int8_model", 1, ["INT8", "FP16"]),
        ("10.3.0", (), "tiny_int8_model", 2, []),
        ("11.4.0", FROM_11, "tiny_int8_model", 1 << 1, []),
    ],
)
def test_flags_are_those_of_the_generation(
    version: str,
    lacks: tuple[str, ...],
    kind: str,
    network: int,
    flags: list[str],
    gpu: Gpu,
    fake: ModuleType,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    gpu(version, lacks)
    build(request.getfixturevalue(kind), tmp_path / "tiny.engine", workspace_mb=64)
    made, config = fake.Builder._last

    assert (made.flags, config._flags) == (network, flags)
    assert config._pools == {"WORKSPACE": 64 << 20, "TACTIC_DRAM": 64 << 20}
    assert config._profile.shapes == {"image": ((1, 72, 96, 3), (2, 72, 96, 3), (3, 72, 96, 3))}
    assert config.profiling_verbosity == "DETAILED"


def test_timings_are_kept(gpu: Gpu, tiny_model: Path, tmp_path: Path) -> None:
    gpu()
    timings = tmp_path / "timings"
    for batch in (1, 2):
        build(tiny_model, tmp_path / f"{batch}.engine", timing_cache=timings, batch=(batch,) * 3)
    assert timings.read_bytes() == b"++"
    timings.write_bytes(b"other GPU's")
    build(tiny_model, tmp_path / "3.engine", timing_cache=timings)

    assert timings.read_bytes() == b"+"


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

    with pytest.raises(ModelError, match=r"out of memory\nMemory ran out. Bound the workspace of 8 MiB lower"):
        build(tiny_model, tmp_path / "tiny.engine", workspace_mb=8)

    assert [path.name for path in tmp_path.iterdir() if "lock" not in path.name] == ["tiny.engine.log"]
    assert "ERROR Requested" in (tmp_path / "tiny.engine.log").read_text()
    trt.Builder._fail_with = ""
    assert build(tiny_model, tmp_path / "tiny.engine")  # the lock is free


def test_the_parsers_errors_are_told_with_their_nodes(gpu: Gpu, tiny_model: Path, tmp_path: Path) -> None:
    for lacks, node in ((BEFORE_10, "3"), ((), "Conv /head/Conv")):
        trt, _ = gpu("8.6.1", lacks)
        trt.OnnxParser._refuse = True
        with pytest.raises(ModelError, match=rf"refuses the file:\n  {node}: No importer registered for op"):
            build(tiny_model, tmp_path / "tiny.engine")


def test_an_interrupted_build_leaves_nothing(gpu: Gpu, tiny_model: Path, tmp_path: Path) -> None:
    gpu()
    out = tmp_path / "tiny.engine"
    with pytest.raises(KeyboardInterrupt):
        build_engine(tiny_model, out, BuildOptions(), on_phase=lambda phase, step, steps: step == 0)

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
    with pytest.raises(ModelError, match="The GPU has no 1 MB left"):
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
    ],
)
def test_wrong_usage_is_told(options: list[str], message: str, tiny_model: Path) -> None:
    done = CliRunner().invoke(app, ["build", str(tiny_model), *options])

    assert done.exit_code == 2
    assert message in " ".join(done.output.replace("│", " ").split())


def test_implicit_int8_takes_the_cache(gpu: Gpu, fake: ModuleType, tiny_model: Path, tmp_path: Path) -> None:
    gpu()
    cache, out = tmp_path / "tiny.cache", tmp_path / "tiny.engine"
    cache.write_text("TRT-100300-EntropyCalibration2\nimage: 3c010204\n")
    options = ["--calib", "implicit", "--cache", str(cache), "--out", str(out)]
    done = CliRunner().invoke(app, ["build", str(tiny_model), *options])
    made, config = fake.Builder._last

    assert done.exit_code == 0, done.output
    assert (made.flags, config._flags) == (1, ["INT8", "FP16"])  # weakly typed: implicit INT8 is for nothing else
    assert config.int8_calibrator.read_calibration_cache() == cache.read_bytes()
    assert config.int8_calibrator.get_batch(["image"]) is None
    assert read_spec(out).precision == "INT8"
    gpu("11.4.0", FROM_11)
    done = CliRunner().invoke(app, ["build", str(tiny_model), *options])
    assert isinstance(done.exception, EdgeSegError) and "has no calibrators any more" in str(done.exception)


def test_implicit_int8_by_pictures_keeps_its_cache(
    gpu: Gpu, fake: ModuleType, tiny_model: Path, tmp_path: Path
) -> None:
    _, cuda = gpu()
    manifest, out = tmp_path / "calib.json", tmp_path / "tiny.engine"
    images = ["calib", "images", "--data", "drive:seed=3,frames=40,size=96x72", "--images", "9"]
    assert CliRunner().invoke(app, [*images, "--out", str(manifest)]).exit_code == 0
    options = ["--calib", "implicit", "--manifest", str(manifest), "--out", str(out), "--batch", "4"]

    def calibrator(*more: str) -> Any:  # noqa: ANN401
        out.unlink(missing_ok=True)
        done = CliRunner().invoke(app, ["build", str(tiny_model), *options, *more], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stderr, fake.Builder._last[1].int8_calibrator

    _, first = calibrator()
    with_shown = []
    cuda.push()
    while (address := first.get_batch(["image"])) is not None:
        with_shown.append(cuda.memory[address[0]].reshape(4, 72, 96, 3).mean())
    cuda.pop()
    assert (first.get_batch_size(), first.read_calibration_cache(), len(with_shown)) == (4, None, 2)
    assert with_shown[0] != with_shown[1]
    first.write_calibration_cache(memoryview(b"TRT-100300-EntropyCalibration2"))

    told, again = calibrator()
    assert again.read_calibration_cache() == b"TRT-100300-EntropyCalibration2"
    assert "calibrating anew" not in told
    told, other = calibrator("--calibrator", "min-max")
    assert other.read_calibration_cache() is None
    assert "tiny.engine.cache is of another model, other pictures or another TensorRT" in told


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
