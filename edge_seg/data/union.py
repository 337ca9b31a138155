"""Several data sets as one, their classes mapped onto one table."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge_seg.data.class_table import read_class_table
from edge_seg.errors import DataError
from edge_seg.files import read_text, same_file
from edge_seg.spec import join_licences
from edge_seg.types import VOID, Dataset, Frame, SegClass, UInt8Array

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXAMPLE = """classes = "classes.csv"
[[set]]
data = "camvid:CamVid/train"
map = { Road = "road", Car = "vehicle" }"""


@dataclass(frozen=True, slots=True, eq=False)
class Union:
    """Frames of several data sets, one after the other; `tables` turn a set's labels [256] into those of `classes`."""

    name: str
    classes: tuple[SegClass, ...]
    sets: tuple[Dataset, ...]
    tables: tuple[UInt8Array, ...]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes' names in label order."""
        return tuple(c.name for c in self.classes)

    @property
    def licence(self) -> str:
        """What holds for all of the sets together."""
        return join_licences([part.licence for part in self.sets])

    def __len__(self) -> int:
        return sum(len(part) for part in self.sets)

    def __getitem__(self, index: int) -> Frame:
        left = index
        for part, table in zip(self.sets, self.tables, strict=True):
            if left < len(part):
                frame = part[left]
                assert frame.truth is not None
                return replace(frame, index=index, captured_s=time.perf_counter(), truth=table[frame.truth])
            left -= len(part)
        raise IndexError(f"Frame {index} of {self.name}, which has {len(self)}.")

    def __iter__(self) -> Iterator[Frame]:
        return (self[index] for index in range(len(self)))


def open_union(location: str, open_dataset: Callable[[str], Dataset], *, inside: tuple[Path, ...] = ()) -> Union:
    """Open a TOML file that names a class table and, for each set, its URI and which class becomes which.

    A class that `map` leaves out keeps its name where the table has it, and is void elsewhere. The table's path is as
    seen from the file, those in URIs as seen from where the command runs. `inside` are the unions that this one is a
    set of. DataError for what cannot be read, a class that the set or the table has not, a set of which no class is
    left, or a union that is a set of itself.
    """
    path = Path(location)
    if any(same_file(path, outer) for outer in inside):
        raise DataError(f"{path} is a set of itself, by way of {inside[-1]}. Remove it from the sets there.")
    found = _read_toml(path)
    classes = read_class_table(path.parent / found["classes"]).classes
    sets = tuple(_open_set(entry["data"], open_dataset, (*inside, path)) for entry in found["set"])
    names = [c.name for c in classes]
    tables = tuple(
        _table(path, part, entry.get("map", {}), names) for part, entry in zip(sets, found["set"], strict=True)
    )
    return Union(path.stem, classes, sets, tables)


def _open_set(uri: str, open_dataset: Callable[[str], Dataset], inside: tuple[Path, ...]) -> Dataset:
    scheme, _, location = uri.partition(":")
    return open_union(location, open_dataset, inside=inside) if scheme == "union" else open_dataset(uri)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(read_text(path, DataError))
    except DataError as error:
        raise DataError(f"{error} Expected a file such as:\n{EXAMPLE}") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise DataError(f"{path} is no TOML ({error}). Expected a file such as:\n{EXAMPLE}") from None
    sets = found.get("set", [])
    named = isinstance(found.get("classes"), str) and isinstance(sets, list) and len(sets) > 0
    if not named or not all(isinstance(entry, dict) and isinstance(entry.get("data"), str) for entry in sets):
        raise DataError(f"{path} lacks classes or a set with data. Expected a file such as:\n{EXAMPLE}")
    for entry in sets:
        mapping = entry.get("map", {})
        if not isinstance(mapping, dict) or not all(isinstance(name, str) for name in mapping.values()):
            raise DataError(f"{path} has the map {mapping!r}; expected names for names, as in:\n{EXAMPLE}")
    return found


def _table(path: Path, part: Dataset, mapping: dict[str, str], names: list[str]) -> UInt8Array:
    """The union's label of each of a set's labels [256]."""
    wrong = [(name, part.name, part.class_names) for name in mapping if name not in part.class_names]
    wrong += [(name, "its table", tuple(names)) for name in mapping.values() if name not in names]
    for name, where, known in wrong:
        raise DataError(f"{path} maps {name!r}, but {where} has no such class. It has: {', '.join(known)}.")
    table = np.full(256, VOID, np.uint8)
    for label, name in enumerate(part.class_names):
        wanted = mapping.get(name, name)
        if wanted in names:
            table[label] = names.index(wanted)
    if (table == VOID).all():
        raise DataError(f"{path} leaves no class of {part.name}. Map some: {', '.join(part.class_names)}.")
    return table
