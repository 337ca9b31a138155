"""What benchmarks share that write parts of docs/benchmarks.md: the parts' marks, and edge-seg as a command."""

import subprocess
import sys
from pathlib import Path

from edge_seg.files import write_whole

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"
PROGRAM = "import sys; sys.argv[0] = 'edge-seg'; from edge_seg.apps.cli import main; main()"


def run_edge_seg(*words: str) -> None:
    """Run a command of this checkout; its reports show it as a user would have typed it."""
    subprocess.run([sys.executable, "-c", PROGRAM, *words], check=True)


def write_part(name: str, text: str, *, by: str, page: Path = PAGE) -> None:
    """Put `text` between the marks of a part of a page, for which `by`, a script of this folder, answers."""
    write_whole(page, put_between(page.read_text(encoding="utf-8"), name, text, by=by).encode())


def put_between(page: str, name: str, text: str, *, by: str) -> str:
    r"""The page with what stands between the marks of a part replaced; SystemExit where it has lost them.

    >>> page = "A\n<!-- x: begin, written by tests/bench/y.py -->\nold\n<!-- x: end -->\nB\n"
    >>> put_between(page, "x", "new", by="y.py")
    'A\n<!-- x: begin, written by tests/bench/y.py -->\n\nnew\n\n<!-- x: end -->\nB\n'
    """
    begin, end = marks_of(name, by)
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"docs/benchmarks.md has lost its marks: {begin.strip()} and {end.strip()}")
    return f"{before}{begin}\n{text.strip()}\n\n{end}{after}"


def part_of(page: str, name: str, *, by: str) -> str:
    """What stands between the marks of a part."""
    begin, end = marks_of(name, by)
    return page.partition(begin)[2].partition(end)[0].strip()


def marks_of(name: str, by: str) -> tuple[str, str]:
    """The lines before and after a part."""
    return f"<!-- {name}: begin, written by tests/bench/{by} -->\n", f"<!-- {name}: end -->\n"
