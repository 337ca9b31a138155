"""The small files in which Linux tells of a machine."""

from pathlib import Path

NOT_TOLD = "not told by this machine"


def read_word(path: Path) -> str | None:
    """The text of a file without what surrounds it; None where it is missing, empty or cannot be read.

    A sensor that is switched off has a file too, and reading that fails.
    """
    try:
        return path.read_text(errors="replace").strip("\0 \t\n") or None  # device trees end their words with a NUL
    except OSError:
        return None


def read_number(path: Path, base: int = 10) -> int | None:
    """The whole number in a file; None where there is none."""
    try:
        return int(read_word(path) or "", base)
    except ValueError:
        return None
