"""profile.json: a profile as it grows, so that an interrupted one goes on, and the reports beside it."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from edge_seg.apps.profile.from_json import from_json
from edge_seg.apps.profile.rows import Profile, Row, Soak
from edge_seg.apps.report.html import to_html
from edge_seg.apps.report.text import to_csv, to_markdown
from edge_seg.errors import DataError, SinkError
from edge_seg.files import check_path, read_text, write_whole

NAME = "profile.json"


def read_profile(path: Path) -> Profile:
    """A profile from its JSON file; DataError where it is none."""
    if not check_path(path, DataError).is_file():
        raise DataError(f"{path} is no file. Give the profile.json that edge-seg profile wrote.")
    try:
        found = from_json(Profile, json.loads(read_text(path, DataError)))
        check_numbers(found)
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path} is no profile that this version reads ({error}). Give another, or delete it and make it anew."
        ) from None
    return found


def check_numbers(profile: Profile) -> None:
    """ValueError for measurements that are empty, or of other classes than their own names."""
    for row in profile.rows:
        if row.latency_ms is not None and not (row.latency_ms.rounds and min(row.latency_ms.rounds) > 0):
            raise ValueError(f"{row.label}: a latency without rounds")
        if row.accuracy is not None:
            classes = len(row.accuracy.class_iou)
            if len(row.accuracy.counts) != row.accuracy.images or any(
                len(image) != classes for image in row.accuracy.counts
            ):
                raise ValueError(f"{row.label}: counts of other images or classes")


def write_profile(profile: Profile, folder: Path) -> None:
    """Write a profile into its folder, whole or not at all; SinkError where that cannot be."""
    write_whole(folder / NAME, json.dumps(profile.to_dict(), allow_nan=False).encode())


def soak_writer(profile: Profile, folder: Path) -> Callable[[Soak], None]:
    """What writes a profile with its soak so far, errors as `write_profile`.

    The run loop waits meanwhile, so all but the soak is made into JSON once: many rows take longer than frames.
    """
    rest = {key: value for key, value in profile.to_dict().items() if key != "soak"}
    start = json.dumps(rest, allow_nan=False).removesuffix("}")

    def write(soak: Soak) -> None:
        told = json.dumps(asdict(soak), allow_nan=False)
        write_whole(folder / NAME, f'{start}, "soak": {told}}}'.encode())

    return write


def write_reports(profile: Profile, folder: Path) -> None:
    """Write profile.csv, profile.md and profile.html; SinkError where that cannot be."""
    write_whole(folder / "profile.csv", to_csv(profile).encode())
    write_whole(folder / "profile.md", to_markdown(profile).encode())
    write_whole(folder / "profile.html", to_html(profile).encode())


def check_folder(folder: Path) -> None:
    """SinkError unless files can be written into `folder`, which is made where it does not exist."""
    try:
        check_path(folder, SinkError).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"{folder} cannot be made: {error.strerror}. Choose another --out.") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SinkError(f"{folder} cannot be written into. Choose another --out.")


def kept_profile(folder: Path, settings: Mapping[str, str]) -> Profile | None:
    """What an earlier run left in `folder`; DataError where that was made with other settings, or is no profile."""
    if not (folder / NAME).is_file():
        return None
    kept = read_profile(folder / NAME)
    for key in dict.fromkeys((*kept.settings, *settings)):  # what is not there is None
        if kept.settings.get(key) != settings.get(key):
            raise DataError(
                f"{folder} holds a profile with another {key}: {kept.settings.get(key)}, now {settings.get(key)}. "
                "Choose another --out, or delete that folder."
            )
    return kept


def key_of(row: Row) -> tuple[str, str, str, int, int]:
    """What tells a combination from every other: file, run-time and its version, batch, threads."""
    return row.sha256 or row.path, row.runtime, row.version, row.batch, row.threads
