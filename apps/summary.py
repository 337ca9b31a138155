"""The summary at the end of a run, for people."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edge_seg.apps.meters import RunReport
from edge_seg.metrics import Percentiles

BAR_WIDTH = 30


def run_summary(report: RunReport) -> RenderableType:
    """Speed, the stage waterfall, and the class IoU where there was truth."""
    parts: list[RenderableType] = [_headline(report)]
    if report.frames:
        parts.append(_waterfall(report))
    if report.class_iou is not None:
        parts.append(_class_table(report.class_iou, report.miou_truth))
    return Group(*parts)


def _headline(report: RunReport) -> Text:
    text = Text(f"{report.model} {report.precision} on {report.runtime}: {report.frames} frames", style="bold")
    text.append(f", {report.fps:.1f} FPS, {report.dropped} dropped, {report.skipped} skipped", style="default")
    return text


def _waterfall(report: RunReport) -> Table:
    """One row a stage, its bar starting where the one above ends: p50 solid, up to p95 shaded."""
    table = Table("stage", title="milliseconds", title_justify="left")
    for name in ("p50", "p95", "p99"):
        table.add_column(name, justify="right")
    table.add_column("p50 in a row, up to p95 shaded", no_wrap=True)
    whole = sum(stage.p50 for stage in report.stages_ms.values()) or 1.0
    start = 0.0
    for name, stage in report.stages_ms.items():
        table.add_row(name, *_cells(stage), _bar(start / whole, stage.p50 / whole, stage.p95 / whole))
        start += stage.p50
    table.add_section()
    table.add_row("age", *_cells(report.age_ms), "from capture to screen and files")
    return table


def _cells(times: Percentiles) -> tuple[str, str, str]:
    return f"{times.p50:.2f}", f"{times.p95:.2f}", f"{times.p99:.2f}"


def _bar(start: float, p50: float, p95: float) -> str:
    """The bar of a stage; all three as shares of the whole width.

    >>> _bar(0.5, 0.1, 0.2)
    '               ███░░░'
    """
    left, middle, right = (round(share * BAR_WIDTH) for share in (start, start + p50, min(1.0, start + p95)))
    return " " * left + "█" * max(1, middle - left) + "░" * (right - max(left + 1, middle))


def _class_table(class_iou: dict[str, float], miou: float | None) -> Table:
    table = Table("class", title="against the truth", title_justify="left", min_width=24)
    table.add_column("IoU", justify="right")
    for name, iou in class_iou.items():
        table.add_row(name, "does not occur" if iou != iou else f"{iou:.4f}")
    table.add_section()
    table.add_row("mIoU (truth)", "unknown" if miou is None else f"{miou:.4f}", style="bold")
    return table
