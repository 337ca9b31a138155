"""The bundled INT8 files are what the writer makes of the bundled FP32 files, ranges and rungs."""

from pathlib import Path

import pytest

from edge_seg.calib.quantize import float_graph, open_fp32, write_int8
from edge_seg.calib.ranges import read_ranges
from edge_seg.calib.rung import read_rung
from edge_seg.runners.contract import add_score, read_onnx_spec
from edge_seg.weights import FOLDER, find_model


@pytest.mark.parametrize("name", ["edge-seg-n", "edge-seg-s"])
def test_a_bundled_file_is_written_again_byte_for_byte(name: str, tmp_path: Path) -> None:
    source, bundled = find_model(f"{name}-fp32"), find_model(name)
    rung = read_rung(FOLDER / f"{name}.rung.toml")
    ranges = read_ranges(FOLDER / f"{name}.ranges.json", float_graph(open_fp32(source), rung))

    written = tmp_path / bundled.name
    write_int8(source, written, ranges, rung)
    for score, value in read_onnx_spec(bundled).scores.items():  # measured afterwards
        add_score(written, score, value)

    assert written.read_bytes() == bundled.read_bytes()


@pytest.mark.parametrize("name", ["edge-seg-n", "edge-seg-s"])
@pytest.mark.parametrize("method", ["percentile", "entropy", "mse", "moving-average"])
def test_no_range_goes_beyond_what_was_seen(name: str, method: str) -> None:
    tensors = read_ranges(FOLDER / f"{name}.ranges.json").tensors

    for tensor, found in tensors.items():
        (least, most), (low, high) = found["min-max"], found[method]
        assert least <= low <= high <= most, tensor
