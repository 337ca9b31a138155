"""Which combinations there are, and what their artefacts say before anything is measured."""

import hashlib
import importlib.metadata
import sys
from pathlib import Path
from types import ModuleType

import onnx
import pytest

from edge_seg.apps.profile.combinations import combine, count_gmacs, describe, version_of
from edge_seg.apps.profile.rows import Row
from edge_seg.errors import ModelError
from edge_seg.export.graph import multiplications, read_graph

ONNX = [("one", Path("one.onnx"))]


def names(rows: list[Row]) -> list[str]:
    return [row.label for row in rows]


def test_every_artefact_meets_every_run_time_that_takes_it() -> None:
    both = [*ONNX, ("two", Path("two.pt"))]

    assert names(combine(both, ["all"], batches=[1], threads=[0])) == [
        "one, onnxruntime",
        "one, openvino",
        "one, openvino-bf16",
        "two, torch",
    ]
    assert names(combine(both, ["torch", "openvino"], batches=[1], threads=[0])) == ["one, openvino", "two, torch"]


def test_batches_and_threads_multiply_and_nothing_comes_twice() -> None:
    rows = combine(ONNX, ["onnxruntime", "all", "onnxruntime"], batches=[1, 4], threads=[1, 2])

    assert len(rows) == len({row.label for row in rows}) == 3 * 2 * 2
    assert names(rows)[:2] == ["one, onnxruntime, 1 thread", "one, onnxruntime, 2 threads"]


@pytest.mark.parametrize(
    ("runtime", "message"),
    [
        ("fastest", "Unknown run-time 'fastest'. Choose auto, all, torch, onnxruntime"),
        ("torch", r"The run-time torch takes \.pt files, and no model given is one"),
    ],
)
def test_a_run_time_that_fits_nothing_is_told(runtime: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        combine(ONNX, ["onnxruntime", runtime], batches=[1], threads=[0])


def test_auto_is_what_run_takes(tiny_model: Path) -> None:
    (row,) = combine([("tiny", tiny_model)], ["auto"], batches=[1], threads=[0])

    assert row.runtime in ("openvino", "onnxruntime")


def test_auto_names_a_run_time_that_may_be_missing() -> None:
    (row,) = combine([("net", Path("net.pt"))], ["auto"], batches=[1], threads=[0])

    assert row.runtime == "torch"  # whether it is there, the row says


def test_a_row_says_what_its_file_is(tiny_model: Path, tiny_int8_model: Path) -> None:
    fp32, int8 = (describe(Row("tiny", str(path), "onnxruntime")) for path in (tiny_model, tiny_int8_model))

    assert (fp32.name, fp32.width, fp32.height, fp32.error) == ("tiny", 96, 72, None)
    assert (fp32.precision, int8.precision) == ("FP32", "INT8")
    assert fp32.size_mb == tiny_model.stat().st_size / 1e6
    assert fp32.gmacs == int8.gmacs == count_gmacs(tiny_model) > 0
    assert fp32.sha256 != int8.sha256
    graph = read_graph(onnx.load(tiny_model))
    assert fp32.gmacs == sum(multiplications(graph, node) for node in graph.of("Conv")) / 1e9


def test_a_file_without_a_spec_is_an_error_of_its_row_alone(tiny_model: Path, tmp_path: Path) -> None:
    model = onnx.load(tiny_model)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")

    row = describe(Row("bare", str(tmp_path / "bare.onnx"), "onnxruntime"))

    assert row.error is not None
    assert "bare.onnx" in row.error


@pytest.fixture
def split_model(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model with its weights in a file beside it."""
    path = tmp_path / "split.onnx"
    model = onnx.load(tiny_model)
    onnx.save_model(model, path, save_as_external_data=True, location="split.data", size_threshold=0)
    return path


def test_weights_beside_a_file_belong_to_it(tiny_model: Path, split_model: Path) -> None:
    row, data = describe(Row("split", str(split_model), "onnxruntime")), split_model.with_suffix(".data")
    content = data.read_bytes()

    assert row.error is None
    assert row.size_mb == (split_model.stat().st_size + len(content)) / 1e6
    assert row.gmacs == count_gmacs(tiny_model)
    data.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert describe(Row("split", str(split_model), "onnxruntime")).sha256 != row.sha256


def test_a_file_that_holds_all_of_itself_has_its_own_hash(tiny_model: Path) -> None:
    row = describe(Row("tiny", str(tiny_model), "onnxruntime"))

    assert row.sha256 == hashlib.sha256(tiny_model.read_bytes()).hexdigest()


def test_weights_that_are_missing_are_an_error_of_their_row_alone(split_model: Path) -> None:
    split_model.with_suffix(".data").unlink()

    row = describe(Row("split", str(split_model), "onnxruntime"))

    assert row.error is not None
    assert "split.onnx has weights in split.data, which is no file beside it" in row.error


def test_weights_that_are_cut_short_are_an_error_of_their_row_alone(split_model: Path) -> None:
    data = split_model.with_suffix(".data")
    data.write_bytes(data.read_bytes()[:100])

    error = describe(Row("split", str(split_model), "onnxruntime")).error
    assert error is not None and "split.onnx cannot be read" in error


@pytest.mark.parametrize("location", ["../outside.data", "/etc/hostname"])
def test_weights_outside_of_the_folder_are_not_read(location: str, split_model: Path) -> None:
    (split_model.parents[1] / "outside.data").write_bytes(b"x")
    model = onnx.load(split_model, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    split_model.write_bytes(model.SerializeToString())

    row = describe(Row("split", str(split_model), "onnxruntime"))

    assert row.error is not None and location in row.error


def no_distribution(name: str) -> str:
    raise importlib.metadata.PackageNotFoundError(name)


def test_a_run_time_of_another_distribution_has_that_ones_version(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"onnxruntime-gpu": "1.23.0"}
    monkeypatch.setattr(importlib.metadata, "version", lambda name: versions.get(name) or no_distribution(name))
    monkeypatch.setattr(
        importlib.metadata, "packages_distributions", lambda: {"onnxruntime": ["gone", "onnxruntime-gpu"]}
    )

    assert version_of("onnxruntime") == "1.23.0"


def test_a_run_time_of_no_distribution_has_its_modules_version_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", no_distribution)
    monkeypatch.setattr(importlib.metadata, "packages_distributions", dict)
    module = ModuleType("made_of_source")
    monkeypatch.setitem(sys.modules, "made_of_source", module)

    assert version_of("made_of_source") == ""
    monkeypatch.setattr(module, "__version__", "2.0", raising=False)
    assert version_of("made_of_source") == "2.0"
    assert version_of("no_such_module") == ""


def test_a_known_distribution_is_not_loaded_for_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "rich", raising=False)

    assert version_of("rich") == importlib.metadata.version("rich")
    assert "rich" not in sys.modules
