"""What a command prints at its end."""

import json
import os
import sys
from collections.abc import Mapping

from rich.console import Console, RenderableType

from edge_seg.errors import SinkError


def print_report(report: Mapping[str, object], text: RenderableType, *, as_json: bool) -> None:
    """Print `text` for people on stdout; or the report as JSON there, alone, and the text on stderr.

    SinkError where stdout takes nothing, as on a full disk.
    """
    try:
        if as_json:
            print(json.dumps(report, allow_nan=False))
        else:
            Console(highlight=False).print(text)
        if sys.stdout is not None:  # closed from the start
            sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough: Typer ends the command quietly
        raise
    except OSError as error:
        # The interpreter writes what it still holds once more at its end: there, that must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SinkError(f"The report cannot be written to stdout: {error.strerror}. Direct it elsewhere.") from None
    if as_json:
        Console(stderr=True, highlight=False).print(text)
