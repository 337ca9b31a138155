"""What can go wrong on the user's side.

    EdgeSegError
    ├── MissingExtraError   an optional package is not installed
    ├── ModelError          a model file that is missing, damaged or keeps another contract
    ├── DataError           a data set, image or label file that cannot be used
    │   └── LabelError      labels that are missing, no label picture, or hold values of no class
    ├── SourceError         a camera, video or folder that gives no frames
    └── SinkError           an output that cannot be written

A message says what happened, what was found and expected, and what to type next. The command line prints it without a
traceback; every other exception is a bug and keeps its traceback.
"""

import importlib
from types import ModuleType


class EdgeSegError(Exception):
    """An error that the user can mend."""


class MissingExtraError(EdgeSegError):
    """An optional package is not installed."""


class ModelError(EdgeSegError):
    """A model file is missing, damaged or keeps another contract."""


class DataError(EdgeSegError):
    """A data set, image or label file cannot be used."""


class LabelError(DataError):
    """Labels are missing, no label picture, or hold values of no class."""


class SourceError(EdgeSegError):
    """A camera, video or folder gives no frames."""


class SinkError(EdgeSegError):
    """An output cannot be written."""


def import_extra(module: str, extra: str) -> ModuleType:
    """Import `module`, or raise MissingExtraError with the pip line of the extra that brings it.

    >>> import_extra("no_such_module", "train")
    Traceback (most recent call last):
    ...
    edge_seg.errors.MissingExtraError: This needs no_such_module, which is not installed. Type: pip install ...
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise MissingExtraError(
            f"This needs {module}, which is not installed. Type: pip install 'edge-seg[{extra}]'"
        ) from None
