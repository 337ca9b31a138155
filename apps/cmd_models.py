"""`edge-seg models`: what is bundled."""

import dataclasses
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(help="List the bundled models with their scores and licence.")(models)


def models(*, as_json: Annotated[bool, typer.Option("--json", help="Print as JSON on stdout.")] = False) -> None:
    """List the bundled models."""
    from rich.console import Group
    from rich.table import Table

    from edge_seg.apps.output import print_report
    from edge_seg.runners.contract import read_onnx_spec
    from edge_seg.weights import BUNDLED, LICENCE_NOTE, find_model

    specs = {name: read_onnx_spec(find_model(name)) for name in sorted(BUNDLED)}
    table = Table("name", "precision", "size", "MB", "trained on", "scores", "licence")
    for name, spec in specs.items():
        scores = "\n".join(f"{what} {value:.4f}" for what, value in spec.scores.items())
        size_mb = f"{find_model(name).stat().st_size / 1e6:.1f}"
        table.add_row(name, spec.precision, f"{spec.width}x{spec.height}", size_mb, spec.dataset, scores, spec.licence)
    report = {name: dataclasses.asdict(spec) for name, spec in specs.items()}
    print_report(report, Group(table, LICENCE_NOTE), as_json=as_json)
