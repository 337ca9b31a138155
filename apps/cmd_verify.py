"""`edge-seg verify`: two artefacts on the same images, and how far apart they are."""

import math
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from edge_seg.export.verify import Parity, Verification


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(name="verify", help="Compare two artefacts: pixels, classes, and the first layer that diverges.")(run)


def _finite(value: float) -> float:
    """Wrong usage for nan and inf, which are numbers to a command line."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no number to compare with.")
    return value


def run(
    a: Annotated[str, typer.Argument(metavar="A", help="Bundled name or path of a model: the reference.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Bundled name or path of the model compared with it.")],
    *,
    data: Annotated[str, typer.Option(help="Data set, for its images alone: camvid:PATH/test or drive:seed=1.")],
    runtime_a: Annotated[str, typer.Option(help="Run-time of A, or auto.")] = "auto",
    runtime_b: Annotated[str, typer.Option(help="Run-time of B, or auto.")] = "auto",
    images: Annotated[int | None, typer.Option(min=1, help="Images, spread evenly over the set; else all.")] = None,
    least: Annotated[float, typer.Option(min=0, max=1, callback=_finite, help="Less agreement: exit code 1.")] = 0.0,
    threshold: Annotated[float, typer.Option(callback=_finite, help="A layer diverges below this SQNR, in dB.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON on stdout.")] = False,
) -> None:
    """Compare and print the report."""
    from edge_seg.apps.output import print_report
    from edge_seg.apps.progress import progress
    from edge_seg.data import open_dataset
    from edge_seg.export.verify import spread, verify

    dataset = open_dataset(data)
    with progress("verify", len(spread(len(dataset), images))) as step:
        runtimes = (runtime_a, runtime_b)
        found = verify(a, b, dataset, runtimes=runtimes, images=images, threshold_db=threshold, on_image=step)
    print_report(found.to_dict(), report(found), as_json=as_json)
    _check_least(found, least)


def _check_least(found: "Verification", least: float) -> None:
    """ModelError where fewer pixels agree than were asked for."""
    from edge_seg.errors import ModelError

    agreement, worst = found.parity.agreement, found.parity.worst
    if agreement < least:
        first = found.first_divergent
        advice = "" if first is None else f" The first layer that diverges is {first.name}."
        raise ModelError(
            f"A and B agree on {agreement} of the pixels; expected at least {least}. "
            f"Look at {worst.name}, the worst image, with {worst.agreement:.6f}.{advice}"
        )


def report(found: "Verification") -> "Group":
    """IoU between the two by class, agreement below it, then the layers."""
    from rich.console import Group

    return Group(_classes_table(found.parity, found.data), _layers_table(found))


def _classes_table(parity: "Parity", data_name: str) -> "Table":
    from rich.table import Table
    from rich.text import Text  # names come from files: a bracket in them is no markup

    title = f"A: {parity.a}\nB: {parity.b}\n{data_name}, {len(parity.images)} images"
    worst = parity.worst
    caption = f"pixel agreement {parity.agreement:.6f}\nworst image {worst.name}: {worst.agreement:.6f}"
    table = Table(title=Text(title), title_justify="left", caption=Text(caption), show_footer=True)
    table.add_column("class", footer="mean (mIoU)")
    table.add_column("IoU between A and B", justify="right", footer=_number(parity.miou))
    for name, iou in parity.class_iou.items():
        table.add_row(Text(name), _number(iou))
    return table


def _layers_table(found: "Verification") -> "Table | Text":
    """SQNR by layer, with the first divergent one below; or why there is none."""
    from rich.table import Table
    from rich.text import Text

    if found.layers is None:
        return Text(f"Layers not compared. {found.no_layers}")
    title = f"Layers on ONNX Runtime, worst images: {found.layer_images}"
    table = Table(title=title, title_justify="left", caption=Text(_verdict(found)), caption_justify="left")
    table.add_column("layer", overflow="fold")
    table.add_column("SQNR, dB", justify="right")
    for layer in found.layers:
        name = layer.name if layer.matched == "name" else f"{layer.name}\n  by order: {layer.name_b}"
        table.add_row(Text(name), f"{layer.sqnr_db:.1f}")
    return table


def _verdict(found: "Verification") -> str:
    first, lowest = found.first_divergent, min(found.layers or (), key=lambda layer: layer.sqnr_db)
    if first is None:
        return f"no layer below {found.threshold_db:g} dB; lowest: {lowest.name}, {lowest.sqnr_db:.1f} dB"
    return f"first layer that diverges (below {found.threshold_db:g} dB): {first.name}, {first.sqnr_db:.1f} dB"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
