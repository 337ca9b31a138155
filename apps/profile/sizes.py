"""A checkpoint at several input sizes: exported, and quantized where there are pictures to calibrate with.

Each file is made by a process of its own: one that fails or runs out of memory costs the rows of its file alone.
"""

import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge_seg.apps.profile.child import last_words, run_child
from edge_seg.apps.profile.measure import Plan
from edge_seg.apps.profile.rows import Profile, Row
from edge_seg.apps.profile.run_profile import machine_of_today, settings_of
from edge_seg.apps.profile.store import kept_profile, write_profile
from edge_seg.apps.progress import progress
from edge_seg.data import open_dataset
from edge_seg.errors import EdgeSegError, ModelError


@dataclass(frozen=True, slots=True)
class Sized:
    """A file to be made at `path` from `source`: from a checkpoint at a size, or from an FP32 file and `calib`."""

    name: str
    path: Path
    source: Path
    size: tuple[int, int]
    calib: str | None = None


def plan_sizes(
    checkpoint: Path, sizes: Sequence[tuple[int, int]], folder: Path, *, calib: str | None, name: str
) -> list[Sized]:
    """The FP32 file of each (width, height), and its INT8 file where there is a set to calibrate with.

    They lie in `folder`, under names with a hash of the checkpoint and of the calibration set's name. The names for
    tables begin with `name`. DataError where the set cannot be opened.
    """
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:12]
    dataset = None if calib is None else open_dataset(calib)
    found: list[Sized] = []
    for width, height in sizes:
        size = f"{width}x{height}"
        fp32 = folder / f"{checkpoint.stem}-{digest}-{size}.onnx"
        found.append(Sized(f"{name} {size}", fp32, checkpoint, (width, height)))
        if dataset is not None:
            calibrated = hashlib.sha256(f"{dataset.name}, {len(dataset)}".encode()).hexdigest()[:8]
            int8 = fp32.with_suffix(f".{calibrated}.int8.onnx")
            found.append(Sized(f"{name} {size} INT8", int8, fp32, (width, height), calib))
    return found


def make_rows(planned: Sequence[Sized], rows: Sequence[Row], plan: Plan, folder: Path, command: str) -> list[Row]:
    """Make the files of `rows`, and return those of them that have theirs; the others are errors in `folder`'s profile.

    DataError before any work where `folder` holds a profile with other settings, ModelError where no file can be made.
    """
    machine = machine_of_today()
    settings = settings_of(plan, machine)
    kept = kept_profile(folder, settings) or Profile(command, machine, (), settings=settings)
    with progress("export", len(planned)) as step:
        errors = make_all(planned, on_made=step)
    failed = [replace(row, error=errors[Path(row.path)]) for row in rows if Path(row.path) in errors]
    if len(failed) == len(rows):
        raise ModelError(f"Nothing can be measured: {failed[0].error}")
    if failed:
        # The rows of a folder's profile that are not asked for stay in it, whatever is measured then.
        known = {_place(row) for row in failed}
        others = [row for row in kept.rows if _place(row) not in known]
        write_profile(replace(kept, rows=(*others, *failed)), folder)
    return [row for row in rows if Path(row.path) not in errors]


def _place(row: Row) -> tuple[str, str, int, int]:
    return row.path, row.runtime, row.batch, row.threads


def make_all(planned: Sequence[Sized], *, on_made: Callable[[], None] = lambda: None) -> dict[Path, str]:
    """Make the files that are not there yet, in their order, and return why some could not be made, by path.

    What is made of a file that failed fails with it.
    """
    errors: dict[Path, str] = {}
    for sized in planned:
        error = errors.get(sized.source) or _made(sized)
        if error is not None:
            errors[sized.path] = error
        on_made()
    return errors


def _made(sized: Sized) -> str | None:
    """Why a file cannot be made; None where it is there."""
    if sized.path.is_file():
        return None
    sized.path.parent.mkdir(exist_ok=True)
    words = [*map(str, (sized.source, sized.path, *sized.size)), *([] if sized.calib is None else [sized.calib])]
    done = run_child("edge_seg.apps.profile.sizes", *words)
    step = "exported" if sized.calib is None else "quantized"
    return f"Not {step}: {last_words(done)}" if done.returncode else None


def make(source: Path, path: Path, size: tuple[int, int], calib: str | None) -> None:
    """Make a file in this process; errors as `to_onnx` and `quantize`."""
    if calib is None:
        from edge_seg.export.to_onnx import to_onnx

        to_onnx(source, path, size=size)
    else:
        from edge_seg.calib.quantize import quantize

        quantize(source, path, open_dataset(calib))


def _main(arguments: Sequence[str]) -> None:
    source, path, width, height, *calib = arguments
    try:
        make(Path(source), Path(path), (int(width), int(height)), calib[0] if calib else None)
    except EdgeSegError as error:
        sys.exit(f"edge-seg: {' '.join(str(error).split())}")


if __name__ == "__main__":
    _main(sys.argv[1:])
