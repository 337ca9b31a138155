"""The GPU bench's parts as files, and each of its rows in a process of its own.

A process that was killed by a fault in a driver or a library, and one in which CUDA has failed, are of no use to the
parts behind: so a row goes on in another process. What went wrong is kept like a result, and tried again, behind all
else, when the bench is started again.
"""

import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edge_seg.files import write_whole

BEGUN = "its process has not ended in order"
FAILED = 3
"""What a row's process ends with where a part failed: the parts behind that want another process."""

Part = dict[str, Any]


def plain(name: str) -> str:
    """A way's name as part of a file's.

    >>> plain("INT8, Q/DQ, rest in FP16")
    'INT8-QDQ-rest-in-FP16'
    """
    return name.replace(",", "").replace("/", "").replace(" ", "-")


def kept(
    path: Path, make: Callable[[], Part], of: dict[str, str], options: Namespace, *, elsewhere: bool = False
) -> Part:
    """What is in a file, where that is `of` the same, or is made now and kept; an error is kept too, as "error".

    With `options.reading`, which says why a part is missing, nothing is made. An error ends the process of a row
    (`options.only`), unless the part is made `elsewhere`, in processes of its own.
    """
    known = read_part(path)
    if known.get("of") == of:
        return known
    if options.reading:
        return {"error": options.reading}
    print(path.name, file=sys.stderr, flush=True)
    write_part(path, {"error": BEGUN, "of": of})  # what is there where the process dies
    try:
        found = make()
    except Exception as error:  # the other rows are worth having
        found = {"error": _told(error)}
    write_part(path, found | {"of": of})
    if "error" in found and options.only and not elsewhere:
        raise SystemExit(FAILED)
    return found | {"of": of}


def read_or_why(read: Callable[[], Part], options: Namespace) -> Part:
    """What `read` gives, or with `options.reading` why there is nothing to read: the other tables are worth having."""
    try:
        return read()
    except Exception as error:
        if not options.reading:
            raise
        return {"error": _told(error)}


def _told(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".replace("|", "/").split())


def read_part(path: Path) -> Part:
    """What is in a part's file; nothing where there is none."""
    found: Part = json.loads(path.read_text()) if path.is_file() else {}
    return found


def write_part(path: Path, part: Part) -> None:
    """Write a part's file, whole."""
    write_whole(path, json.dumps(part, indent=1).encode())


def parts_with_errors(net: str, name: str, out: Path) -> Iterator[Path]:
    """The files of a row's parts that went wrong."""
    return (path for path in sorted(out.glob(f"{net}.{plain(name)}.*row")) if "error" in read_part(path))


def run_rows(rows: list[tuple[str, str]], options: Namespace) -> None:
    """Measure what is missing of rows, each a net and a way; those of which something went wrong before come last."""
    broken = [row for row in rows if any(parts_with_errors(*row, options.out))]
    for row in [*(row for row in rows if row not in broken), *broken]:
        if row in broken:
            for path in parts_with_errors(*row, options.out):
                path.unlink()
        run_row(*row, options)


def run_row(net: str, name: str, options: Namespace) -> None:
    """Measure what is missing of a row, in another process behind each part at which one ended."""
    words = [*sys.argv[1:], "--only", f"{net}/{name}", "--torch-is", options.torch_is]
    while True:
        code = subprocess.run([sys.executable, sys.argv[0], *words], check=False).returncode
        begun = [path for path in parts_with_errors(net, name, options.out) if read_part(path)["error"] == BEGUN]
        for path in begun:
            write_part(path, read_part(path) | {"error": f"ended with {code}"})
        if code != FAILED and not begun:
            if code:  # outside of all parts
                write_part(_end_of(net, name, options.out), {"error": f"ended with {code}"})
            return


def why_missing(net: str, name: str, out: Path) -> str:
    """Why parts of a row are missing."""
    return str(read_part(_end_of(net, name, out)).get("error", "not measured"))


def _end_of(net: str, name: str, out: Path) -> Path:
    """The file of how a row's process ended, where that was outside of its parts."""
    return out / f"{net}.{plain(name)}.end.row"
