"""Training recipes: what the samples look like, the loss, the schedule and the distillation, read from TOML."""

import dataclasses
import difflib
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from edge_seg.errors import DataError
from edge_seg.files import check_path, read_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent / "recipes"
Table = TypeVar("Table")
Number = TypeVar("Number", int, float)


def number(default: Number, least: float = 0.0, most: float = 1e6) -> Number:
    """A field that takes a number from `least` to `most`."""
    return dataclasses.field(default=default, metadata={"least": least, "most": most})


def choice(default: str, *others: str) -> str:
    """A field that takes one of the given words."""
    return dataclasses.field(default=default, metadata={"choices": (default, *others)})


@dataclass(frozen=True, slots=True)
class Samples:
    """How a sample is made of a labelled picture; shares are 0 to 1 of the samples."""

    drive_share: float = number(0.0, most=0.9)  # of rendered drive frames among the samples
    scale_least: float = number(0.5, 0.1, 10)
    scale_most: float = number(2.5, 0.1, 10)
    stretch: float = number(0.1, most=1)  # octaves by which one side may grow and the other shrink
    mirror: float = number(0.5, most=1)
    rare: float = number(0.0, most=1)  # share of crops placed on a class rarer than the average
    colour: float = number(1.0, most=2)  # strength of the changes of brightness, contrast, saturation and cast
    elastic: float = number(0.0, most=1)  # share of samples that are bent as U-Net's
    mix: float = number(0.0, most=1)  # share of samples that half the classes of another one are pasted on
    outside: str = choice("void", "mirror")  # what lies around a picture that was made smaller


@dataclass(frozen=True, slots=True)
class Loss:
    """The terms of the loss and their weights; `kind` weighs 1."""

    kind: str = choice("cross-entropy", "ohem", "focal")
    focal_gamma: float = number(2.0, most=10)
    ohem_sure: float = number(0.7, 0.01, 1)  # pixels whose class has more than this probability are left out
    ohem_least: float = number(1 / 16, most=1)  # share of the pixels, the hardest, that counts in any case
    class_weights: str = choice("inverse-log", "median-frequency", "none")
    most_weight: float = number(math.inf, 1.0, math.inf)  # the heaviest class against the lightest
    aux: float = number(0.4)  # heads at strides 8 and 16
    border: float = number(0.0)  # `kind` of the pixels near a border, once more
    dice: float = number(0.0)
    jaccard: float = number(0.0)
    logit_adjustment: float = number(0.0, most=1)  # share of the class weights that is taken out of the kept net again


@dataclass(frozen=True, slots=True)
class Schedule:
    """The optimiser and how long it works; the learning rate warms up linearly, then falls to 0."""

    epochs: int = number(80, 1, 100_000)
    batch: int = number(8, 2, 4096)
    optimizer: str = choice("adamw", "sgd")
    lr: float = number(2e-3)
    weight_decay: float = number(0.02)
    momentum: float = number(0.9, most=0.999)  # of SGD
    decay: str = choice("poly", "cosine")
    warm_up: float = number(0.02, most=0.5)  # share of the steps
    ema: float = number(0.998, most=0.99999)  # of the weights that are kept, per step
    clean_statistics: float = number(0.0, most=1)  # share of the kept BatchNorm's that unaltered pictures tell


@dataclass(frozen=True, slots=True)
class Distillation:
    """What a teacher adds to the loss, where there is one."""

    logits: float = number(1.0)
    features: float = number(1.0)
    temperature: float = number(4.0, 0.1, 100)
    scale: float = number(1.0, 0.25, 4)  # of the samples as the teacher sees them


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training recipe, a table of TOML each."""

    samples: Samples = dataclasses.field(default_factory=Samples)
    loss: Loss = dataclasses.field(default_factory=Loss)
    schedule: Schedule = dataclasses.field(default_factory=Schedule)
    distillation: Distillation = dataclasses.field(default_factory=Distillation)


def list_recipes() -> list[str]:
    """Names of the recipes that come along.

    >>> "camvid" in list_recipes()
    True
    """
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_recipe(name: str, changes: dict[str, dict[str, Any]] | None = None) -> Recipe:
    """The recipe of a shipped name or a TOML file's path, with `changes`, by table, in place of what it says.

    DataError names the table and the field that do not fit.
    """
    path = FOLDER / f"{name}.toml" if name in list_recipes() else check_path(name, DataError)
    if not path.is_file():
        raise DataError(f"No recipe {name!r}. Give a TOML file, or one of {', '.join(list_recipes())}.")
    try:
        found = tomllib.loads(read_text(path, DataError))
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path} is no TOML: {error}.") from None
    for table, fields in (changes or {}).items():
        if isinstance(before := found.get(table, {}), dict):
            found[table] = {**before, **fields}
    return parse_recipe(found, str(path))


def parse_recipe(tables: dict[str, Any], where: str) -> Recipe:
    """A recipe from TOML's tables; fields left out keep their defaults, and DataError names what does not fit.

    >>> parse_recipe({"schedule": {"epochs": 300}}, "mine.toml").schedule.epochs
    300
    >>> parse_recipe({"schedule": {"epoch": 300}}, "mine.toml")
    Traceback (most recent call last):
    ...
    edge_seg.errors.DataError: mine.toml: [schedule] has no 'epoch'. Did you mean 'epochs'?
    """
    kinds: dict[str, Any] = {f.name: f.default_factory for f in dataclasses.fields(Recipe)}
    for name, table in tables.items():
        if name not in kinds or not isinstance(table, dict):
            raise DataError(f"{where}: expected the tables {', '.join(f'[{kind}]' for kind in kinds)}, found {name!r}.")
    return Recipe(**{name: _read_table(kinds[name], table, f"{where}: [{name}]") for name, table in tables.items()})


def _read_table(kind: type[Table], found: dict[str, Any], where: str) -> Table:
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name, value in found.items():
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"It has {', '.join(fields)}."
            raise DataError(f"{where} has no {name!r}. {hint}")
        _check_value(fields[name], value, f"{where} {name} = {value!r}")
    table = kind(**found)
    if isinstance(table, Samples) and table.scale_least > table.scale_most:
        raise DataError(f"{where} scale_least {table.scale_least} is above scale_most {table.scale_most}.")
    return table


def _check_value(field: "dataclasses.Field[Any]", value: object, where: str) -> None:
    if "choices" in field.metadata:
        if value not in field.metadata["choices"]:
            raise DataError(f"{where}: expected {' or '.join(map(repr, field.metadata['choices']))}.")
        return
    least, most = field.metadata["least"], field.metadata["most"]
    whole = isinstance(field.default, int)
    fits = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not fits or not least <= value <= most:
        kind = "a whole number" if whole else "a number"
        raise DataError(f"{where}: expected {kind} from {least:g}{'' if most == math.inf else f' to {most:.10g}'}.")
