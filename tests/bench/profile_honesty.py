"""Whether `edge-seg profile` can be believed: repeated, beside a busy neighbour, and against bare loops.

    python tests/bench/profile_honesty.py                 # all parts, or some by name:
    python tests/bench/profile_honesty.py repeat          # three profiles of the same files: p50, p95 and FPS
    python tests/bench/profile_honesty.py neighbour       # ratios between rows, quiet and beside a busy core
    python tests/bench/profile_honesty.py bare            # against a bare ONNX Runtime loop and benchmark_app
    python tests/bench/profile_honesty.py overhead        # what measuring costs a frame of the run loop

The machine has to be quiet but for what the benchmark itself starts. Each part is written as soon as it is known: its
numbers into tests/bench/profile_honesty.json, its tables from there between marks of their own in docs/benchmarks.md.
What that file holds of this machine is not measured again, but with --again; with --tables nothing is. The profiles of
`repeat` lie in --out, each by itself, so that an interrupted one goes on; delete them to make others.
"""

import argparse
import json
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import honesty_parts as parts
import honesty_tables as tables
from docs_parts import PAGE, write_part

from edge_seg.apps.profile.run_profile import machine_of_today
from edge_seg.files import write_whole
from edge_seg.runners import timed

RESULTS = Path(__file__).with_suffix(".json")
PARTS: dict[str, tuple[Callable[[int, Path], dict[str, Any]], Callable[[dict[str, Any]], str], int]] = {
    "repeat": (parts.repeat, tables.repeat, 9),
    "neighbour": (parts.neighbour, tables.neighbour, 5),
    "bare": (parts.bare, tables.bare, 3),
    "overhead": (parts.overhead, tables.overhead, 20_000),
}
"""What measures a part and what makes its table, and how many rounds it has: of `overhead`, frames."""


def main() -> None:
    """Measure what is missing of the parts that were asked for; write results and tables after each."""
    options = parse_arguments()
    machine = machine_of_today()
    for name in () if options.tables else options.parts or PARTS:
        known = read_results(options.results).get(name)
        if known is not None and is_of(known, machine) and not options.again:
            print(f"{name}: measured already, {tables.origin(known)} --again measures it anew.", file=sys.stderr)
            continue
        if options.again and name == "repeat":
            for folder in parts.repeat_folders(options.out):
                shutil.rmtree(folder, ignore_errors=True)
        measured = measure(name, options.rounds or PARTS[name][2], options.out, machine)
        results = read_results(options.results) | {name: measured}
        write_whole(options.results, (json.dumps(results, indent=1) + "\n").encode())
        write_tables(results, options.page)
    if options.tables:
        write_tables(read_results(options.results), options.page)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all without any")
    parser.add_argument("--rounds", type=int, help="other than the usual ones; of overhead, frames")
    parser.add_argument("--out", type=Path, default=Path("honesty"), help="folder of the profiles of repeat")
    parser.add_argument("--again", action="store_true", help="measure what is known anew")
    parser.add_argument("--tables", action="store_true", help="only write the tables of what is known")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    unknown = [name for name in options.parts if name not in PARTS]
    if unknown:
        parser.error(f"no part {unknown[0]!r}: choose from {', '.join(PARTS)}")
    return options


def measure(name: str, rounds: int, out: Path, machine: dict[str, str]) -> dict[str, Any]:
    """A part's numbers, with the machine, its load average before and after, and the command that measures them."""
    command = f"python tests/bench/profile_honesty.py {shlex.quote(name)} --rounds {rounds}"
    before = parts.load_average()
    found = PARTS[name][0](rounds, out)
    return {"command": command, "machine": machine, "load": [before, parts.load_average()], "found": found}


def is_of(measured: dict[str, Any], machine: dict[str, str]) -> bool:
    """True for numbers of this CPU."""
    return all(measured["machine"][key] == machine[key] for key in ("cpu", "cores", "timed"))


def read_results(path: Path) -> dict[str, Any]:
    """What is known by part; nothing where there is no file yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write_tables(results: dict[str, Any], page: Path) -> None:
    """Write the tables of what is known into the page; others stay as they are."""
    found = {name: results[name]["found"] for name in PARTS if name in results}
    for name, numbers in found.items():
        text = f"{tables.origin(results[name])}\n\n{PARTS[name][1](numbers)}"
        write_part(f"honesty {name}", text, by="profile_honesty.py", page=page)
    if found.keys() == PARTS.keys():
        write_part("honesty targets", tables.targets(found), by="profile_honesty.py", page=page)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bare"]:
        parts.serve_bare(sys.argv[2])
    elif sys.argv[1:2] == ["--beside"]:
        timed.go_first = lambda: False
        timed._main(sys.argv[2:])
    else:
        main()
