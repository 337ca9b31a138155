"""A checkpoint at several sizes: files of those sizes, made once."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from edge_seg.apps.profile.sizes import export_sizes
from edge_seg.data.drive import Drive
from edge_seg.runners import read_spec


def test_each_size_is_exported_and_quantized_once(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder, sides = tmp_path / "models", [(96, 72), (64, 48)]
    made: list[None] = []
    found = export_sizes(
        tiny_checkpoint, sides, folder, calibration=Drive(1, 96, 72, 12), name="net", on_made=lambda: made.append(None)
    )

    assert [name for name, _ in found] == ["net 96x72", "net 96x72 INT8", "net 64x48", "net 64x48 INT8"]
    specs = [read_spec(path) for _, path in found]
    assert [(spec.width, spec.height, spec.precision) for spec in specs] == [
        (96, 72, "FP32"),
        (96, 72, "INT8"),
        (64, 48, "FP32"),
        (64, 48, "INT8"),
    ]
    assert len(made) == 4

    times = [path.stat().st_mtime_ns for _, path in found]
    again = export_sizes(tiny_checkpoint, sides, folder, calibration=None, name="net")
    assert again == found[::2]
    assert [path.stat().st_mtime_ns for _, path in found] == times
