"""`edge-seg eval`: accuracy of an artefact on a labelled data set."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from edge_seg.evaluate import Scores
    from edge_seg.types import Frame, UInt8Array


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(name="eval", help="Measure mIoU, class IoU and other accuracies on a labelled set.")(run)


def run(
    model: Annotated[str, typer.Argument(help="Bundled name or path of a model.")],
    *,
    data: Annotated[str, typer.Option(help="Labelled set: camvid:PATH/test or drive:seed=1,frames=200.")],
    runtime: Annotated[str, typer.Option(help="Run-time, or auto.")] = "auto",
    sheet: Annotated[Path | None, typer.Option(help="PNG to write: the worst images, their truth and labels.")] = None,
    record: Annotated[bool, typer.Option("--record", help="Write the mIoU into the ONNX file's spec.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON on stdout.")] = False,
) -> None:
    """Evaluate and print the scores."""
    from edge_seg.apps.artefact import artefact_for
    from edge_seg.apps.output import print_report
    from edge_seg.apps.progress import progress
    from edge_seg.apps.sheet import WorstImages, check_sheet
    from edge_seg.data import open_dataset
    from edge_seg.evaluate import evaluate
    from edge_seg.runners.contract import add_score
    from edge_seg.segmenter import open_segmenter
    from edge_seg.weights import find_model

    path = _check_record(find_model(model)) if record else None
    if sheet is not None:
        check_sheet(sheet)
    dataset = open_dataset(data)
    with open_segmenter(artefact_for(model, runtime), runtime) as segment, progress("eval", len(dataset)) as step:
        worst = WorstImages(segment.spec)

        def look(frame: "Frame", labels: "UInt8Array") -> None:
            step()
            if sheet is not None:
                worst.look(frame, labels)

        scores = evaluate(segment, dataset, on_image=look)
    with ExitStack() as outputs:  # of the three, one that fails does not cost the others; the last entered goes first
        if sheet is not None:
            outputs.callback(worst.write, sheet)
        if path is not None and scores.miou is not None:
            outputs.callback(add_score, path, f"{dataset.name} mIoU", scores.miou)
        print_report(scores.to_dict(), scores_table(scores, dataset.name), as_json=as_json)


def _check_record(path: Path) -> Path:
    """Wrong usage, before any work, unless `path` is an ONNX file of the user's own."""
    from edge_seg.weights import FOLDER

    if path.suffix != ".onnx":
        raise typer.BadParameter(f"--record writes into ONNX files, not into {path}. Export it first: edge-seg export")
    if path.resolve().parent == FOLDER.resolve():
        raise typer.BadParameter(f"--record would change a bundled model. Copy {path} and give the copy's path.")
    return path


def scores_table(scores: "Scores", data_name: str) -> "Table":
    """Class IoU and recall, the means below them, and the measures of the whole set."""
    from rich.table import Table

    title = f"{scores.model} {scores.precision} on {scores.runtime}, {data_name}, {scores.images} images"
    table = Table(title=title, title_justify="left", show_footer=True)
    table.add_column("class", footer="mean (mIoU, class average)")
    table.add_column("IoU", justify="right", footer=_number(scores.miou))
    table.add_column("recall", justify="right", footer=_number(scores.class_accuracy))
    for name, iou in scores.class_iou.items():
        table.add_row(name, _number(iou), _number(scores.class_recall[name]))
    whole = {"global accuracy": scores.global_accuracy, "boundary F1": scores.boundary_f1, "Dice": scores.dice}
    table.caption = "\n".join(f"{name} {_number(value)}" for name, value in whole.items())
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
