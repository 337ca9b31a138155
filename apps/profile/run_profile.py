"""A whole profile: what is left to measure is measured, and everything is kept after each step."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import edge_seg
from edge_seg.apps.profile.combinations import describe
from edge_seg.apps.profile.layers import profile_layers
from edge_seg.apps.profile.loops import PASSES, frames_a_turn
from edge_seg.apps.profile.measure import Plan, measure, resume
from edge_seg.apps.profile.rows import Layers, Minute, Profile, Row, Soak
from edge_seg.apps.profile.soak import soak
from edge_seg.apps.profile.store import check_folder, kept_profile, key_of, soak_writer, write_profile, write_reports
from edge_seg.apps.progress import progress
from edge_seg.devices.telemetry import describe as describe_machine
from edge_seg.devices.watch import tell_others
from edge_seg.errors import EdgeSegError, ModelError
from edge_seg.runners.timed import priority


@dataclass(frozen=True, slots=True)
class Extras:
    """What is looked at besides the rows: layers of each, and a soak of so many seconds of the only one."""

    layers: bool = False
    soak_s: float | None = None


def machine_of_today() -> dict[str, str]:
    """The machine in words, and whether what is timed goes before other processes there."""
    return describe_machine() | {"timed": priority()}


def settings_of(plan: Plan, machine: dict[str, str]) -> dict[str, str]:
    """What two rows have to share, in words."""
    return {
        "data": plan.data or "none",
        "source": f"{plan.source}, {PASSES} times {frames_a_turn(plan.frames)} frames",
        "rounds": f"{plan.rounds} of {plan.seconds:g} s",
        "machine": f"{machine['cpu']}, {machine['cores']}",
        "timed": machine["timed"],
        "edge-seg": edge_seg.__version__,
    }


def profile_all(rows: Sequence[Row], plan: Plan, folder: Path, extras: Extras, command: str) -> Profile:
    """Measure what an earlier run in `folder` did not, and write profile.json, .csv, .md and .html there.

    ModelError where no combination can be opened at all, and, once what there is has been written, where none gave
    anything. SinkError where nothing can be written.
    """
    machine = machine_of_today()
    settings = settings_of(plan, machine)
    kept = kept_profile(folder, settings)
    rows = [describe(row) for row in rows]
    _check_rows(rows, extras)
    check_folder(folder)  # before minutes of work, and after what may be mistyped: no empty folder stays
    others = [] if kept is None else _not_asked(kept.rows, rows)
    rows = resume(rows, kept.rows if kept else ())
    known = Profile("", {}, ()) if kept is None else kept
    found = Profile(command, machine, (*rows, *others), known.layers, known.soak, settings)

    def save(new: Sequence[Row]) -> None:
        write_profile(replace(found, rows=(*new, *others)), folder)

    with progress("profile", plan.steps(rows)) as step:
        rows = measure(rows, plan, on_step=step, save=save)
    found = _with_rows(found, (*rows, *others))
    if extras.layers:
        found = _with_layers(found, len(rows), folder)
    write_reports(found, folder)  # also where the soak does not come to its end
    if all(row.error is not None for row in rows):
        left_out = "" if extras.soak_s is None else " The soak was left out."
        raise ModelError(f"Nothing could be measured. {rows[0].label}: {rows[0].error}{left_out}")
    if extras.soak_s is not None:
        found = _with_soak(found, plan, extras.soak_s, folder)
        write_reports(found, folder)
    return found


def _check_rows(rows: Sequence[Row], extras: Extras) -> None:
    if all(row.error is not None for row in rows):
        raise ModelError(f"Nothing can be measured: {rows[0].error}")
    if extras.soak_s is not None and (len(rows) > 1 or rows[0].batch > 1):
        raise ModelError("--soak runs one combination of batch 1. Give one model, run-time and thread count.")


def _with_rows(profile: Profile, rows: tuple[Row, ...]) -> Profile:
    """The profile with these rows, and without the layers and the soak of what is none of them."""
    return replace(
        profile,
        rows=rows,
        layers=tuple(some for some in profile.layers if _is_of(some, rows)),
        soak=profile.soak if profile.soak is not None and _is_of(profile.soak, rows) else None,
    )


def _not_asked(kept: Sequence[Row], asked: Sequence[Row]) -> list[Row]:
    """The rows of an earlier run that this one has nothing to say about, be it under another path."""
    places, keys = {_place(row) for row in asked}, {key_of(row) for row in asked}
    return [row for row in kept if _place(row) not in places and key_of(row) not in keys]


def _place(row: Row) -> tuple[str, str, int, int]:
    return row.path, row.runtime, row.batch, row.threads


def _is_of(found: Layers | Soak, rows: Sequence[Row]) -> bool:
    """True for what was found of the very file and run-time of a row."""
    wanted = found.label, found.sha256, found.version
    return any((row.label, row.sha256, row.version) == wanted for row in rows)


def _with_layers(found: Profile, asked: int, folder: Path) -> Profile:
    """The profile with the layers of its first `asked` rows, of those of batch 1; kept after each.

    A run-time that does not tell its layers is a note of its row.
    """
    with progress("layers", asked) as step:
        for index, row in enumerate(found.rows[:asked]):
            known = any(_is_of(layers, [row]) for layers in found.layers)
            if row.error is None and row.batch == 1 and not known:
                try:
                    found = replace(found, layers=(*found.layers, _layers_of(row)))
                except EdgeSegError as error:
                    noted = replace(row, notes=(*row.notes, f"No layers: {error}"))
                    found = replace(found, rows=(*found.rows[:index], noted, *found.rows[index + 1 :]))
                write_profile(found, folder)
            step()
    return found


def _layers_of(row: Row) -> Layers:
    layers = profile_layers(Path(row.path), row.runtime, threads=row.threads, label=row.label)
    return replace(layers, sha256=row.sha256, version=row.version)


def _with_soak(found: Profile, plan: Plan, seconds: float, folder: Path) -> Profile:
    """The profile with a soak of its first row; kept after each minute."""
    row, write = found.rows[0], soak_writer(found, folder)

    def of_row(some: Soak) -> Soak:
        return replace(some, sha256=row.sha256, version=row.version)

    def keep(so_far: Soak) -> None:
        print(f"soak: {minute_in_words(so_far.minutes[-1])}", file=sys.stderr, flush=True)
        write(of_row(so_far))

    whole = soak(
        Path(row.path),
        row.runtime,
        source=plan.source,
        seconds=seconds,
        threads=row.threads,
        label=row.label,
        on_minute=keep,
    )
    write(of_row(whole))
    return replace(found, soak=of_row(whole))


def minute_in_words(minute: Minute) -> str:
    """A minute of a soak as a line; what the machine does not tell is left out.

    >>> minute_in_words(Minute(3, 59.91, 20.0, 31.4, 250.2, celsius=71.0))
    '3: 59.9 FPS, age p50 20.0 ms, p99 31.4 ms, 250 MB, 71 °C'
    """
    parts = [
        f"{minute.fps:.1f} FPS",
        f"age p50 {minute.p50_ms:.1f} ms",
        f"p99 {minute.p99_ms:.1f} ms",
        f"{minute.memory_mb:.0f} MB",
        None if minute.celsius is None else f"{minute.celsius:.0f} °C",
        None if minute.mhz is None else f"{minute.mhz:.0f} MHz",
        None if minute.watts is None else f"{minute.watts:.1f} W",
        f"throttled {minute.throttled} times" if minute.throttled else None,
        tell_others(minute.others_cpu),
    ]
    return f"{minute.minute}: {', '.join(part for part in parts if part)}"
