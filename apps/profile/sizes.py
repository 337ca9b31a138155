"""A checkpoint at several input sizes: exported, and quantized where there are pictures to calibrate with."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from edge_seg.calib.quantize import quantize
from edge_seg.export.to_onnx import to_onnx
from edge_seg.types import Dataset


def export_sizes(
    checkpoint: Path,
    sizes: Sequence[tuple[int, int]],
    folder: Path,
    *,
    calibration: Dataset | None,
    name: str,
    on_made: Callable[[], None] = lambda: None,
) -> list[tuple[str, Path]]:
    """Name and path of the FP32 file of each (width, height), and of its INT8 file where there is `calibration`.

    They lie in `folder`, under names with a hash of the checkpoint and of the calibration set's name: what is there
    already is not made again. Their names begin with `name`.
    """
    folder.mkdir(exist_ok=True)
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:12]
    found: list[tuple[str, Path]] = []
    for width, height in sizes:
        size = f"{width}x{height}"
        fp32 = folder / f"{checkpoint.stem}-{digest}-{size}.onnx"
        if not fp32.is_file():
            to_onnx(checkpoint, fp32, size=(width, height))
        found.append((f"{name} {size}", fp32))
        on_made()
        if calibration is not None:
            calibrated = hashlib.sha256(f"{calibration.name}, {len(calibration)}".encode()).hexdigest()[:8]
            int8 = fp32.with_suffix(f".{calibrated}.int8.onnx")
            if not int8.is_file():
                quantize(fp32, int8, calibration)
            found.append((f"{name} {size} INT8", int8))
            on_made()
    return found
