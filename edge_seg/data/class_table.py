"""Class tables, and label pictures whose colours they name."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_seg.data.images import has_palette, read_labels, read_picture
from edge_seg.errors import DataError, LabelError
from edge_seg.files import read_text
from edge_seg.spec import MAX_CLASSES
from edge_seg.types import VOID, SegClass, UInt8Array

VOID_NAMES = ("void", "unlabeled", "unlabelled", "ignore")
"""Names, in any case, of what is no class: its colour becomes VOID."""

_GAP = r"[\s,;]+"
_RGB = rf"(?P<r>\d{{1,3}}){_GAP}(?P<g>\d{{1,3}}){_GAP}(?P<b>\d{{1,3}})"
_NAME_FIRST = re.compile(rf"(?P<name>.*[^\s,;]){_GAP}{_RGB}[\s,;]*")
_NAME_LAST = re.compile(rf"{_RGB}{_GAP}(?P<name>.*[^\s,;])[\s,;]*")

_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")

_COLOUR = "Add it there, as a class or as void."
_PALETTE = (
    "It is a palette picture: give the palette's colours in the table, or save it as a picture of one channel, of the "
    "numbers of its rows."
)


@dataclass(frozen=True)
class ClassTable:
    """Classes in label order, and what stands for no class: colours (red, green, blue) and their rows' numbers."""

    path: Path
    classes: tuple[SegClass, ...]
    void_rgb: tuple[tuple[int, int, int], ...] = ()
    void_rows: tuple[int, ...] = ()

    @cached_property
    def _by_key(self) -> tuple[NDArray[np.int64], UInt8Array]:
        """Colours as whole numbers in rising order, and the label of each."""
        entries = [(c.rgb, label) for label, c in enumerate(self.classes)] + [(rgb, VOID) for rgb in self.void_rgb]
        pairs = sorted((r << 16 | g << 8 | b, label) for (r, g, b), label in entries)
        return np.array([key for key, _ in pairs]), np.array([label for _, label in pairs], np.uint8)

    @cached_property
    def _by_row(self) -> UInt8Array:
        """The label of each row's number [256], VOID where that row is void or there is none."""
        labels = np.full(VOID + 1, VOID, np.uint8)
        rows = [row for row in range(min(self._rows, VOID)) if row not in self.void_rows]
        labels[rows] = range(len(rows))
        return labels

    @property
    def _rows(self) -> int:
        return len(self.classes) + len(self.void_rows)

    def read_truth(self, path: Path) -> UInt8Array:
        """Labels [H, W] of a label file: by colour where it has three channels, else by the table's rows.

        Rows count from 0, void ones too: their numbers are VOID, as 255 is. LabelError for another colour or number.
        """
        picture = read_picture(path)
        if picture.ndim == 2:
            by_row: UInt8Array = self._by_row[read_labels(path, classes=self._rows)]
            return by_row
        blue, green, red = (picture[:, :, i].astype(np.int64) for i in range(3))
        wanted = red << 16 | green << 8 | blue
        keys, labels = self._by_key
        place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
        unknown = keys[place] != wanted
        if unknown.any():
            raise LabelError(_unknown_colour(path, unknown, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), self.path))
        truth: UInt8Array = labels[place]
        return truth


def _unknown_colour(path: Path, unknown: NDArray[np.bool_], rgb: cv2.typing.MatLike, table: Path) -> str:
    row, column = (int(n) for n in np.argwhere(unknown)[0])
    colour = tuple(int(n) for n in rgb[row, column])
    return (
        f"{path} holds the colour {colour} at column {column}, row {row} ({int(unknown.sum())} pixels are of no "
        f"class), which {table} does not name. {_PALETTE if has_palette(path) else _COLOUR}"
    )


def read_class_table(path: Path) -> ClassTable:
    """A table with a line for each class: name, red, green, blue, in this order or the name last.

    Values are parted by commas, tabs or spaces; a name that holds such a mark, or a number beside the three, is put in
    quotes. Lines that start with # and a first line of titles, which holds no digit, are left out. DataError with the
    line for anything else, for a name given twice, and for a colour given twice unless both are of void.
    """
    classes: list[SegClass] = []
    void: dict[int, tuple[int, int, int]] = {}  # by row
    text = enumerate(read_text(path, DataError).splitlines(), 1)
    lines = [(number, line) for number, line in text if line.strip() and not line.lstrip().startswith("#")]
    for number, line in lines:
        entry = _parse_line(line)
        if entry is None:
            if number == lines[0][0] and not re.search(r"\d", line):
                continue
            raise DataError(
                f"{path}, line {number}: expected a name and three numbers from 0 to 255, found {line!r}. A name that "
                'holds a comma or begins or ends with a number is put in quotes: "lane 1" 255 0 0'
            )
        is_void = entry.name.lower() in VOID_NAMES
        if _is_given(entry, classes, [] if is_void else list(void.values())):
            raise DataError(f"{path}, line {number}: the name or the colour of {line!r} was given before.")
        if is_void:
            void[len(classes) + len(void)] = entry.rgb
        else:
            classes.append(entry)
    if not 1 <= len(classes) <= MAX_CLASSES:
        raise DataError(f"{path} names {len(classes)} classes; 1 to {MAX_CLASSES} are possible.")
    return ClassTable(path, tuple(classes), tuple(void.values()), tuple(void))


def _is_given(entry: SegClass, classes: list[SegClass], colours: list[tuple[int, int, int]]) -> bool:
    """True where a class has the entry's name or colour, or the colour is one of `colours`."""
    return entry.rgb in colours or any(entry.name == c.name or entry.rgb == c.rgb for c in classes)


def _parse_line(line: str) -> SegClass | None:
    """A class of 'name,r,g,b' or 'r g b name', None for anything else.

    A number beside the three, such as a row's or an alpha, would make others of them the colour.

    >>> _parse_line("Traffic Light, 0, 64, 64"), _parse_line("64 0 128\\t\\tCar"), _parse_line("name,r,g,b")
    (SegClass(name='Traffic Light', rgb=(0, 64, 64)), SegClass(name='Car', rgb=(64, 0, 128)), None)
    >>> _parse_line("road -1 2 3 4"), _parse_line("128 64 128 0.5 road")
    (None, None)
    >>> _parse_line("road,128,64,128,1"), _parse_line("0,road,128,64,128"), _parse_line('"road, wet",128,64,128')
    (None, None, SegClass(name='road, wet', rgb=(128, 64, 128)))
    """
    match = _NAME_FIRST.fullmatch(line.strip()) or _NAME_LAST.fullmatch(line.strip())
    if match is None:
        return None
    rgb = int(match["r"]), int(match["g"]), int(match["b"])
    name = match["name"].strip("\"' ")
    return SegClass(name, rgb) if name and max(rgb) <= 255 and not _holds_value(match) else None


def _holds_value(match: re.Match[str]) -> bool:
    """True where what stands for the name is more: several values, or a number as the three are parted."""
    name, line = match["name"], match.string
    if name[0] in "\"'" and name[-1] == name[0]:
        return False
    first = match.start("name") == 0
    gap = line[match.end("name") : match.start("r")] if first else line[match.end("b") : match.start("name")]
    beside = name.split()[-1 if first else 0]
    return bool(re.search(r"[,;\t]", name)) or (
        bool(_NUMBER.fullmatch(beside)) and (beside == name or not gap.strip(" "))
    )
