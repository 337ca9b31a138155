"""`edge-seg profile`: accuracy against latency, of the very files and in the very loop that will run."""

import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_seg.apps.sizes import parse_size
from edge_seg.errors import EdgeSegError, import_extra
from edge_seg.weights import find_model

if TYPE_CHECKING:
    from rich.table import Table

    from edge_seg.apps.profile.compare import Change
    from edge_seg.apps.profile.rows import Profile
    from edge_seg.apps.profile.sizes import Sized

ROUND_S = 0.5
CAPTION = (
    "Changes are ratios, of mIoU the difference; those of times and FPS are beyond what the machine as a whole changed "
    "by. Where that is worse, the machine was slower, or all models are: profile again. none: nothing to draw an "
    "interval from."
)
"""Below the table of --compare."""


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(help="Measure accuracy, latency, frames a second and memory of models on this machine.")(profile)


def profile(
    models: Annotated[list[str] | None, typer.Argument(metavar="MODEL...", help="Bundled names or paths.")] = None,
    *,
    runtimes: Annotated[str, typer.Option(help="Run-times, comma between; auto, or all.")] = "auto",
    sizes: Annotated[
        str | None, typer.Option(help="Input sizes WxH, comma between, to export a .pt at (INT8 too, with --calib).")
    ] = None,
    calib: Annotated[str | None, typer.Option(help="Set to calibrate the INT8 files of --sizes with.")] = None,
    batch: Annotated[str, typer.Option(help="Pictures a call, comma between.")] = "1",
    threads: Annotated[str, typer.Option(help="Threads, comma between; 0 leaves them to the run-time.")] = "0",
    data: Annotated[str | None, typer.Option(help="Labelled set: camvid:PATH/test. Without it: latency only.")] = None,
    source: Annotated[
        str | None, typer.Option(help="What the run loop reads; --data, else drive:seed=1, where not given.")
    ] = None,
    frames: Annotated[int, typer.Option(min=2, help="Frames of the run loop.")] = 200,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Rounds of half a second in which all take turns.")] = 9,
    out: Annotated[Path, typer.Option(help="Folder for profile.json, .csv, .md and .html; goes on with it.")] = Path(
        "profile"
    ),
    pick: Annotated[
        str | None, typer.Option(help='Name the best that meets conditions, as in "miou>=0.65, fps>=30".')
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Also the time of each layer, and the roofline.")] = False,
    soak: Annotated[str | None, typer.Option(help="Also run one combination for so long: 30m, 90s, 2h.")] = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="OLD NEW",
            help="Instead: what is worse in NEW. profile.json, or several with commas between. Exit code 1 if anything "
            "is, 2 where they cannot be compared.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the profile as JSON on stdout.")] = False,
) -> None:
    """Measure what is missing, write the reports, print the table."""
    if compare is not None:
        if models:
            raise typer.BadParameter("--compare reads two profiles. Leave the models out.")
        _compare(*compare, as_json=as_json)
        return
    if not models:
        raise typer.BadParameter("Give one or more models, such as edge-seg-s edge-seg-s-fp32.")
    from edge_seg.apps.profile.combinations import combine
    from edge_seg.apps.profile.measure import Plan
    from edge_seg.apps.profile.pareto import parse_conditions
    from edge_seg.apps.profile.run_profile import Extras, profile_all
    from edge_seg.apps.profile.sizes import make_rows
    from edge_seg.apps.profile.store import check_folder
    from edge_seg.apps.sources import DEFAULT_SOURCE

    if pick is not None:
        parse_conditions(pick)  # fails before any work
    extras = Extras(layers, None if soak is None else _seconds(soak))
    numbers = {"batches": _whole(batch, "--batch", 1), "threads": _whole(threads, "--threads", 0)}
    _check_inputs(data, source)
    planned = _planned(models, _split(sizes, "--sizes"), calib, out)
    artefacts = [(one.name, one.path) for one in planned] or [(model, find_model(model)) for model in models]
    rows = combine(artefacts, _split(runtimes, "--runtimes"), **numbers)
    plan = Plan(rounds, ROUND_S, source or data or DEFAULT_SOURCE, frames, data)
    command = shlex.join(["edge-seg", *sys.argv[1:]])
    with ended_by_signals(), telling_what_is_kept(out):
        if planned:
            check_folder(out)
            rows = make_rows(planned, rows, plan, out, command)
        found = profile_all(rows, plan, out, extras, command)
    _print_profile(found, out, pick, as_json=as_json)


def _print_profile(found: "Profile", out: Path, pick: str | None, *, as_json: bool) -> None:
    """Print the table, where the reports are, and the row that was asked for."""
    from edge_seg.apps.output import print_report
    from edge_seg.apps.profile.pareto import pick as pick_row
    from edge_seg.apps.profile.pareto import picked_text
    from edge_seg.apps.report.table import profile_table

    print_report(found.to_dict(), profile_table(found), as_json=as_json)
    print(f"{out}: profile.json, profile.csv, profile.md and profile.html.", file=sys.stderr)
    if pick is not None:
        print(picked_text(pick_row(found.rows, pick)), file=sys.stderr if as_json else sys.stdout)


def _check_inputs(data: str | None, source: str | None) -> None:
    """DataError or SourceError now, not after minutes of timing, for what gives no pictures."""
    from edge_seg.apps.sources import open_source
    from edge_seg.data import open_dataset

    if data is not None:
        open_dataset(data)
    if source is not None:
        with open_source(source):
            pass


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as an exception does, so that the processes of a profile end with it."""

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, leave) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def telling_what_is_kept(out: Path) -> Iterator[None]:
    """Say, where a signal ends the block, that the same line goes on with what was measured so far."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if (out / "profile.json").is_file():
            print(f"Stopped. {out / 'profile.json'} keeps what was measured; the same line goes on.", file=sys.stderr)
        raise


def _planned(models: Sequence[str], sizes: Sequence[str], calib: str | None, out: Path) -> "list[Sized]":
    """What is to be made of checkpoints where sizes are asked for; nothing where not."""
    if not sizes:
        if calib is not None:
            raise typer.BadParameter("--calib belongs to --sizes. Quantize a model first: edge-seg quantize")
        return []
    sides = [parse_size(size, "--sizes") for size in sizes]
    other = next((model for model in models if Path(model).suffix != ".pt"), None)
    if other is not None:
        raise typer.BadParameter(f"--sizes exports checkpoints (.pt) anew; {other} is none. Leave --sizes out.")
    import_extra("torch", "train")
    from edge_seg.apps.profile.sizes import plan_sizes

    paths = [find_model(model) for model in models]
    stems = [path.stem for path in paths]
    names = [path.stem if stems.count(path.stem) == 1 else str(path) for path in paths]
    return [
        sized
        for path, name in zip(paths, names, strict=True)
        for sized in plan_sizes(path, sides, out / "models", calib=calib, name=name)
    ]


def _compare(old: str, new: str, *, as_json: bool) -> None:
    """Print what changed between profiles; exit code 1 where something is worse, 2 where they cannot be compared."""
    from edge_seg.apps.output import print_report
    from edge_seg.apps.profile.compare import compare_profiles
    from edge_seg.apps.profile.store import read_profile

    try:
        changes = compare_profiles(*([read_profile(path) for path in _paths(side)] for side in (old, new)))
        worse = any(change.worse for change in changes)
        report = {"changes": [asdict(change) for change in changes], "worse": worse}
        print_report(report, _changes_table(changes), as_json=as_json)
    except EdgeSegError as error:
        # A CI that is to stop where something is worse has to tell that from what says nothing: 1 is taken.
        print(f"edge-seg: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    if worse:
        raise typer.Exit(1)


def _paths(text: str) -> list[Path]:
    """The profiles of a side of --compare: a file, though its name may have a comma, or several."""
    return [Path(text)] if os.path.isfile(text) else [Path(part) for part in _split(text, "--compare")]


def _changes_table(changes: "Sequence[Change]") -> "Table":
    from rich.table import Table

    table = Table("combination", "", "old", "new", "change", "95 %", "", title="Old against new", title_justify="left")
    table.caption, table.caption_justify = CAPTION, "left"
    last = None
    for change in changes:
        numbers = (change.old, change.new, change.change)
        cells = ("" if number is None else f"{number:.4f}" for number in numbers)
        told = ("worse" if change.worse else None, change.disturbed and f"disturbed: {change.disturbed}")
        label = "" if change.label == last else change.label  # once for all its lines
        table.add_row(label, change.what, *cells, _interval(change), ", ".join(filter(None, told)))
        last = change.label
    return table


def _interval(change: "Change") -> str:
    if change.low is None:
        return "" if change.change is None else "none"
    return f"{change.low:.4f} to {change.high:.4f}"


def _seconds(text: str) -> float:
    from edge_seg.apps.profile.soak import parse_seconds

    seconds = parse_seconds(text)
    if not seconds:
        raise typer.BadParameter(f"--soak {text}: expected a duration such as 30m, 90s or 2h.")
    return seconds


def _split(text: str | None, option: str) -> list[str]:
    parts = [] if text is None else [part.strip() for part in text.split(",")]
    if "" in parts:
        raise typer.BadParameter(f"{option} {text}: expected values with commas between.")
    return parts


def _whole(text: str, option: str, least: int) -> list[int]:
    """Different whole numbers with commas between, up to 1024."""
    numbers = [int(part) if part.isascii() and part.isdigit() else -1 for part in _split(text, option)]
    if not all(least <= number <= 1024 for number in numbers):
        raise typer.BadParameter(f"{option} {text}: expected whole numbers of {least} to 1024 with commas between.")
    return list(dict.fromkeys(numbers))
