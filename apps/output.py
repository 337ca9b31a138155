"""What a command prints at its end."""

import json
from collections.abc import Mapping

from rich.console import Console, RenderableType


def print_report(report: Mapping[str, object], text: RenderableType, *, as_json: bool) -> None:
    """Print `text` for people on stdout; or the report as JSON there, alone, and the text on stderr."""
    if as_json:
        print(json.dumps(report, allow_nan=False), flush=True)
    Console(stderr=as_json, highlight=False).print(text)
