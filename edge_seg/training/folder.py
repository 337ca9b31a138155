"""The folder of a run: that it can be written, and that one training alone is at work in it."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from lightning.pytorch.utilities import rank_zero_only

from edge_seg.errors import SinkError
from edge_seg.training.options import TrainOptions

LOCK = ".lock"


def _check_output(options: TrainOptions) -> None:
    """Make the folders to write to; SinkError now, not after hours of training, where one cannot be written."""
    for folder in {options.out.parent, options.run_dir}:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise SinkError(f"{folder} cannot be written: {error.strerror}. Choose another --out.") from None


def is_first_process() -> bool:
    """True in the one of several processes that writes for all."""
    return is_first_of_machine() and os.environ.get("NODE_RANK", "0") == "0"


def is_first_of_machine() -> bool:
    """True in the process that starts the others of its machine; of those of another launcher, in the first of all.

    Asked before a Trainer gives each process its rank among those of all machines.
    """
    return bool(getattr(rank_zero_only, "rank", 0) == 0)


@contextmanager
def owned_folder(options: TrainOptions) -> Iterator[None]:
    """Make the run's folder and keep other trainings out of it while the block runs.

    Of several processes the first owns it for all. A folder made for the run goes again where an error leaves it
    empty. SinkError where another training is at work there, and for a folder that cannot be written.
    """
    new = not options.run_dir.is_dir()
    if (options.resume and new) or not is_first_process():
        yield
        return
    _check_output(options)
    lock = FileLock(options.run_dir / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise SinkError(
            f"Another training is at work in {options.run_dir}. Wait for its end, or choose another --out."
        ) from None
    try:
        yield
    finally:
        if new:
            _remove_if_empty(options.run_dir)
        lock.release()


def _remove_if_empty(folder: Path) -> None:
    """Remove a folder that holds nothing but the file of the lock, which is held: no other run can have begun there."""
    with suppress(OSError):  # it is tidying up, and must not hide the error that the run ends with
        if [path.name for path in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            folder.rmdir()
