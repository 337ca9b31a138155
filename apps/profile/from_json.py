"""Frozen dataclasses from what JSON holds, checked against their annotations."""

import dataclasses
import math
import reprlib
import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

Found = TypeVar("Found")


def from_json(kind: type[Found], value: object) -> Found:
    """A dataclass of `kind` from the dictionary that `dataclasses.asdict` made of one, by way of JSON.

    Keys of a later version are ignored, and those that an earlier one did not have keep their defaults. TypeError, with
    the place, for anything that does not fit the annotations; numbers have to be finite.

    >>> from_json(complex, 1)
    Traceback (most recent call last):
    ...
    TypeError: value: 1 is no complex
    """
    built: Found = _build(kind, value, "value")
    return built


def _build(kind: Any, value: Any, where: str) -> Any:  # noqa: ANN401
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        (other,) = (argument for argument in arguments if argument is not types.NoneType)
        return None if value is None else _build(other, value, where)
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        return _build_fields(kind, value, where)
    if origin is tuple and isinstance(value, list | tuple):
        kinds = [arguments[0]] * len(value) if arguments[-1] is ... else list(arguments)
        if len(kinds) == len(value):
            return tuple(_build(one, part, f"{where}[]") for one, part in zip(kinds, value, strict=True))
    if origin is Mapping and isinstance(value, Mapping):
        return {str(key): _build(arguments[1], part, f"{where}.{key}") for key, part in value.items()}
    if kind is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if kind in (int, str) and type(value) is kind:
        return value
    raise TypeError(f"{where}: {reprlib.repr(value)} is no {getattr(kind, '__name__', kind)}")


def _build_fields(kind: Any, value: Mapping[str, Any], where: str) -> Any:  # noqa: ANN401
    hints = get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind) if field.name in value]
    return kind(**{name: _build(hints[name], value[name], f"{where}.{name}") for name in names})
