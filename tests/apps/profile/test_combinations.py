"""Which combinations there are, and what their artefacts say before anything is measured."""

from pathlib import Path

import onnx
import pytest

from edge_seg.apps.profile.combinations import combine, count_gmacs, describe
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
