"""The command line: one file for each group of commands, assembled here."""

import sys
from typing import Annotated

import typer

from edge_seg.apps import (
    cmd_adopt,
    cmd_build,
    cmd_calib,
    cmd_eval,
    cmd_export,
    cmd_inspect,
    cmd_lint,
    cmd_models,
    cmd_profile,
    cmd_quantize,
    cmd_run,
    cmd_train,
    cmd_verify,
)
from edge_seg.errors import EdgeSegError

app = typer.Typer(
    name="edge-seg",
    help="Semantic segmentation from PyTorch to a camera at the edge.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

for commands in (
    cmd_run,
    cmd_train,
    cmd_export,
    cmd_adopt,
    cmd_quantize,
    cmd_calib,
    cmd_build,
    cmd_inspect,
    cmd_eval,
    cmd_verify,
    cmd_profile,
    cmd_lint,
    cmd_models,
):
    commands.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        from edge_seg import __version__

        typer.echo(f"edge-seg {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command. Exit code 1 and a message for an EdgeSegError, 2 for wrong usage; a bug keeps its traceback."""
    try:
        app(args=arguments, prog_name="edge-seg")
    except EdgeSegError as error:
        print(f"edge-seg: {error}", file=sys.stderr)
        raise SystemExit(1) from None
