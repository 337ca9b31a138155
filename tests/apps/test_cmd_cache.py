"""`edge-seg calib cache`, both ways, as a user types it."""

import json
import shlex
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner, Result

from edge_seg.apps.cli import app
from edge_seg.calib.ranges import read_ranges
from edge_seg.calib.tensorrt_cache import read_cache
from edge_seg.data.drive import Drive
from edge_seg.errors import DataError, EdgeSegError, ModelError, SinkError
from edge_seg.runners import open_runner
from edge_seg.runners.contract import read_onnx_spec

SET = "drive:seed=3,frames=8,size=96x72"


def invoke(*arguments: object) -> Result:
    """Run a command that succeeds."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def ranges(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ranges") / "r.json"
    invoke("calib", "observe", tiny_model, "--data", SET, "--images", 8, "--out", path)
    return path


def test_cache_and_graph_are_written_with_trtexecs_line(tiny_model: Path, ranges: Path, tmp_path: Path) -> None:
    out, graph = tmp_path / "tiny.cache", tmp_path / "with blank.onnx"
    common = ["--model", tiny_model, "--ranges", ranges, "--tensorrt", "8.5.3", "--out", out, "--onnx", graph]

    done = invoke("calib", "cache", *common, "--batch", 4, "--fp16", "--json")
    report = json.loads(done.stdout)

    assert report["header"] == "TRT-8503-EntropyCalibration2"
    assert report["tensors"] == len(read_cache(out).scales) > 5
    assert (report["cache"], report["onnx"], report["method"]) == (str(out), str(graph), "min-max")
    assert shlex.split(report["trtexec"]) == [
        "trtexec",
        f"--onnx={graph}",
        "--int8",
        "--fp16",
        f"--calib={out}",
        "--minShapes=image:1x72x96x3",
        "--optShapes=image:4x72x96x3",
        "--maxShapes=image:4x72x96x3",
        f"--saveEngine={graph.with_suffix('.engine')}",
    ]
    assert "Another version of TensorRT may refuse it" in " ".join(done.stderr.split())
    assert read_onnx_spec(graph) == read_onnx_spec(tiny_model)


def test_the_line_to_type_stays_one_line(
    tiny_model: Path, ranges: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    common = ["--model", tiny_model, "--ranges", ranges, "--tensorrt", "10.3", "--out", "a.cache", "--onnx", "a.onnx"]

    lines = invoke("calib", "cache", *common).stdout.splitlines()

    assert "TRT-100300-EntropyCalibration2" in lines[0]
    assert "a.onnx: its graph." in lines[-2]
    assert lines[-1] == (
        "trtexec --onnx=a.onnx --int8 --calib=a.cache --minShapes=image:1x72x96x3 --optShapes=image:1x72x96x3 "
        "--maxShapes=image:1x72x96x3 --saveEngine=a.engine"
    )


def test_without_graph_or_with_another_calibrator_there_is_no_line(
    tiny_model: Path, ranges: Path, tmp_path: Path
) -> None:
    common = ["--model", tiny_model, "--ranges", ranges, "--tensorrt", "8.6.1", "--out", tmp_path / "a.cache"]

    alone = invoke("calib", "cache", *common, "--json")
    other = invoke("calib", "cache", *common, "--algorithm", "min-max", "--onnx", tmp_path / "a.onnx", "--json")

    assert (json.loads(alone.stdout)["trtexec"], json.loads(alone.stdout)["onnx"]) == (None, None)
    assert "Write that too: --onnx FILE.onnx" in " ".join(alone.stderr.split())
    assert json.loads(other.stdout)["trtexec"] is None
    assert json.loads(other.stdout)["header"] == "TRT-8601-MinMaxCalibration"
    assert "trtexec reads EntropyCalibration2 alone" in " ".join(other.stderr.split())


def test_a_cache_read_back_quantizes_without_data(tiny_model: Path, ranges: Path, tmp_path: Path) -> None:
    out, back = tmp_path / "a.cache", tmp_path / "back.json"
    invoke("calib", "cache", "--model", tiny_model, "--ranges", ranges, "--tensorrt", "8.5.3", "--out", out)

    report = json.loads(invoke("calib", "cache", "--model", tiny_model, "--read", out, "--out", back, "--json").stdout)
    for target in ("tensorrt", "onnxruntime-x86"):
        options = ["--target", target, "--out", tmp_path / f"{target}.onnx"]
        invoke("quantize", tiny_model, "--ranges", back, *options)
    images = np.stack([frame.image for frame in Drive(7, 96, 72, 4)])

    assert report["methods"] == ["entropy", "min-max"]
    assert (report["header"], report["without_range"]) == ("TRT-8503-EntropyCalibration2", [])
    assert report["tensors"] == len(read_ranges(back, onnx.load(tiny_model)).tensors)
    for target in ("tensorrt", "onnxruntime-x86"):
        with open_runner(tiny_model, "onnxruntime") as fp32, open_runner(tmp_path / f"{target}.onnx") as int8:
            assert (fp32.infer(images) == int8.infer(images)).mean() > 0.9


def test_tensors_without_range_are_warned_of(tiny_model: Path, ranges: Path, tmp_path: Path) -> None:
    out, back = tmp_path / "a.cache", tmp_path / "back.json"
    invoke("calib", "cache", "--model", tiny_model, "--ranges", ranges, "--tensorrt", "8.5.3", "--out", out)
    header, *lines = out.read_text().splitlines()
    logits = lines[-1].rpartition(":")[0]
    out.write_text("\n".join([header, *lines[:-1], f"{logits}: 7f800000"]))

    done = invoke("calib", "cache", "--model", tiny_model, "--read", out, "--out", back, "--json")

    assert f"Warning: the cache has no scale, and float stays float, for {logits}." in done.stderr
    assert json.loads(done.stdout)["without_range"] == [logits]
    invoke("quantize", tiny_model, "--ranges", back, "--target", "tensorrt", "--out", tmp_path / "q.onnx")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Give either --ranges, to write a cache, or --read, to read one."),
        (["--ranges", "R", "--read", "R"], "Give either --ranges"),
        (["--ranges", "R"], "--tensorrt is missing. The cache's header names the version"),
        (["--ranges", "R", "--tensorrt", "8.5.3", "--method", "best"], "--method best: expected min-max, percentile"),
        (
            ["--ranges", "R", "--tensorrt", "8.5.3", "--onnx", "a.json"],
            "--onnx a.json: expected a name ending in .onnx",
        ),
        (["--ranges", "R", "--tensorrt", "8.5.3", "--out", "a.onnx"], "give it a name such as a.cache"),
        (["--ranges", "R", "--tensorrt", "8.5.3", "--onnx", "M"], "is read. Choose another name to write."),
        (
            ["--read", "R", "--out", "b.json", "--fp16"],
            "--fp16 is for writing a cache. Leave it out, or give --ranges.",
        ),
        (["--read", "R", "--out", "b.json", "--tensorrt", "10.3"], "--tensorrt is for writing a cache."),
        (["--read", "R", "--out", "a.cache"], "--out a.cache: expected a name ending in .json"),
        (["--read", "R", "--out", "R"], "is read. Choose another name to write."),
    ],
)
def test_wrong_usage_is_told(
    arguments: list[str], said: str, tiny_model: Path, ranges: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.chdir(tmp_path)
    typed = [{"R": str(ranges), "M": str(tiny_model)}.get(a, a) for a in arguments]
    before = ranges.read_bytes(), tiny_model.read_bytes()
    out = [] if "--out" in arguments else ["--out", "a.cache"]

    result = CliRunner().invoke(app, ["calib", "cache", "--model", str(tiny_model), *typed, *out])

    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert (ranges.read_bytes(), tiny_model.read_bytes()) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--ranges", "nowhere.json", "--tensorrt", "8.5.3"], DataError, r"nowhere\.json cannot be read"),
        (["--ranges", "R", "--tensorrt", "11.4"], ModelError, r"TensorRT 11\.4 has no calibrators any more"),
        (["--ranges", "R", "--tensorrt", "8.5.3", "--algorithm", "kl"], ModelError, r"No algorithm 'kl'"),
        (
            ["--ranges", "R", "--tensorrt", "8.5.3", "--out", "no/a.cache"],
            SinkError,
            r"no is no folder\. Type: mkdir -p no",
        ),
        (["--ranges", "R", "--tensorrt", "8.5.3", "--out", "DIR", "--onnx", "a.onnx"], SinkError, "it is a folder"),
        (["--ranges", "OTHER", "--tensorrt", "8.5.3"], DataError, r"was observed on another model"),
        (["--read", "R", "--out", "b.json"], DataError, r"r\.json, line 1: .* heads no calibration cache"),
        (["--read", "/dev/zero", "--out", "b.json"], DataError, r"/dev/zero is no ordinary file"),
        (["--read", "nowhere.cache", "--out", "b.json"], DataError, r"nowhere\.cache cannot be read"),
        (["--read", "STRANGE", "--out", "b.json"], DataError, r"of another graph: the model has no tensor conv1\."),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(
    arguments: list[str],
    error: type[EdgeSegError],
    message: str,
    tiny_model: Path,
    ranges: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    other, strange = tmp_path / "other.json", tmp_path / "strange.cache"
    text = ranges.read_text()
    other.write_text(text.replace(read_ranges(ranges).model, "f" * 64))
    strange.write_text("TRT-8503-EntropyCalibration2\nconv1: 3c010204\n")
    typed = [
        {"R": str(ranges), "OTHER": str(other), "STRANGE": str(strange), "DIR": str(tiny_model.parent)}.get(a, a)
        for a in arguments
    ]
    out = [] if "--out" in arguments else ["--out", "a.cache", "--onnx", "a.onnx"]

    with pytest.raises(error, match=message):
        CliRunner().invoke(app, ["calib", "cache", "--model", str(tiny_model), *typed, *out], catch_exceptions=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.json", "strange.cache"]
