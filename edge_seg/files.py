"""Writing files whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_seg.errors import SinkError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`, renamed to `path` when the block ends well and removed when it does not.

    SinkError where the folder is missing or cannot be written, or the disk is full.
    """
    if path.exists() and not path.is_file():  # a device such as /dev/null would be replaced by a file
        raise SinkError(f"{path} cannot be written: it is no ordinary file. Choose another name.")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise SinkError(
            f"{path} cannot be written: {error.strerror}. Choose a folder that exists and is yours."
        ) from None
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
