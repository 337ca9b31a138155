"""Names that a user gave, and files that are written whole or not at all."""

import difflib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from edge_seg.errors import EdgeSegError, SinkError


def check_path(path: str | Path, error: type[EdgeSegError]) -> Path:
    """`path`, whether something is there or not; `error` where the system can look up no such name.

    That is a name too long or with a NUL in it, one below a file, in a folder that is closed, or in a ring of links.

    >>> check_path("nowhere.mp4", SinkError).name
    'nowhere.mp4'
    >>> check_path("x" * 300, SinkError)
    Traceback (most recent call last):
    ...
    edge_seg.errors.SinkError: 'xxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxxx' cannot be reached: File name too long...
    """
    name = str(path)
    try:
        os.stat(name)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as problem:  # os.stat's ValueError: a NUL, or what is no text of the file system
        reason = "it holds a NUL" if "\0" in name else getattr(problem, "strerror", None) or str(problem)
        shown = name if len(name) <= 200 else f"{name[:20]}...{name[-20:]}"
        raise error(
            f"{shown!r} cannot be reached: {reason}. Check the name, and your rights on the folders above it."
        ) from None
    return Path(path)


def check_writable(path: Path) -> None:
    """SinkError, before any work, where no file can be written at `path`, or where a link of that name leads."""
    target = _behind_link(check_path(path, SinkError))
    folder = target.parent
    if not folder.is_dir():
        raise SinkError(f"{path} cannot be written: {folder} is no folder. Type: mkdir -p {folder}")
    if target.is_dir():
        raise SinkError(f"{path} cannot be written: it is a folder. Choose another name.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SinkError(f"{path} cannot be written: {folder} is closed to you. Choose another folder.")


def _behind_link(path: Path) -> Path:
    """Where a link leads; any other path as it is."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def near_names(path: Path) -> str:
    """A sentence with names beside `path` that are like its own, after a space; nothing where there is none."""
    try:
        found = difflib.get_close_matches(path.name, os.listdir(path.parent), n=3)
    except OSError:
        found = []
    return f" Near it: {', '.join(found)}." if found else ""


def list_folder(folder: Path, error: type[EdgeSegError]) -> list[Path]:
    """What lies in a folder, in order of the names; `error` where it cannot be listed."""
    try:
        return sorted(folder.iterdir())
    except OSError as problem:
        raise error(
            f"{folder} cannot be listed: {problem.strerror}. Give a folder that exists and that you may read."
        ) from None


def read_text(path: Path, error: type[EdgeSegError]) -> str:
    """The content of a text file; `error` where it cannot be read or is not UTF-8."""
    try:
        return check_path(path, error).read_text(encoding="utf-8-sig")  # some editors start a file with a mark
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror}.") from None
    except UnicodeDecodeError as problem:
        raise error(f"{path} is not UTF-8 text, at byte {problem.start}. Save it as UTF-8.") from None


def same_file(one: str | Path, other: str | Path) -> bool:
    """True where both exist and are one file, under whatever names."""
    return os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary name, renamed to `path` when the block ends well and removed when it does not.

    A link stays a link, and the file that it points at is replaced. A file that is replaced keeps its mode. SinkError
    where the folder is missing or cannot be written; what the block raises is its own: see `errors_of`.
    """
    target = _behind_link(check_path(path, SinkError))
    if target.exists() and not target.is_file():  # a device such as /dev/null would be replaced by a file
        raise SinkError(f"{path} cannot be written: it is no ordinary file. Choose another name.")
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~_umask()
    with errors_of(path, "Choose a folder that exists and is yours."):
        # Of `path` the suffix, which says the format; of its name not all, since the temporary one is longer.
        handle, name = tempfile.mkstemp(prefix=f".{path.stem[:20]}.", suffix=path.suffix, dir=target.parent)
        os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with errors_of(path):
            os.chmod(temporary, mode)
            os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; SinkError where it cannot be written."""
    with written_whole(path) as temporary, errors_of(path):
        temporary.write_bytes(content)


def write_together(files: dict[Path, bytes]) -> None:
    """Write each to a temporary name, and rename them when all are written, the first of `files` last.

    Where one cannot be renamed, such as another user's in a shared folder, those that were are put back, which is why
    those that are replaced have to be readable.
    """
    before = {path: _content(path) for path in files}
    renamed: list[Path] = []
    try:
        with ExitStack() as stack:
            for path, content in files.items():  # a stack ends with what it began with
                stack.enter_context(_noted(path, renamed))
                temporary = stack.enter_context(written_whole(path))
                with errors_of(path):
                    temporary.write_bytes(content)
    except BaseException:
        for path in renamed:
            _put_back(path, before[path])
        raise


@contextmanager
def _noted(path: Path, done: list[Path]) -> Iterator[None]:
    """Add `path` to `done` when the block ends well."""
    yield
    done.append(path)


def _put_back(path: Path, content: bytes | None) -> None:
    if content is None:
        _behind_link(path).unlink(missing_ok=True)
    else:
        write_whole(path, content)


def _content(path: Path) -> bytes | None:
    """What a file holds; None where none is there, or something that `written_whole` refuses."""
    try:
        return path.read_bytes() if path.is_file() else None
    except OSError as error:
        reason = error.strerror or error
        raise SinkError(f"{path} cannot be replaced: {reason}. Delete it, or choose another name.") from error


@contextmanager
def errors_of(
    path: Path, advice: str = "Nothing is kept.", *, kinds: tuple[type[Exception], ...] = (OSError,)
) -> Iterator[None]:
    """Turn the errors of a block that does nothing but write `path`, those of `kinds`, into SinkError."""
    try:
        yield
    except kinds as error:
        reason = getattr(error, "strerror", None) or error
        raise SinkError(f"{path} cannot be written: {reason}. {advice}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
