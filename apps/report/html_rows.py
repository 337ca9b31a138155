"""The sections of the HTML report that are about rows: the front, the table of all, and their stages in the loop."""

from collections.abc import Sequence

from edge_seg.apps.profile.rows import Row
from edge_seg.apps.report.bars import span_ms, waterfall
from edge_seg.apps.report.columns import NAMES, Column, Standing, about, columns_of, shown, standing
from edge_seg.apps.report.markup import caption, figure, legend, scrolling, section, swatch, table
from edge_seg.apps.report.pareto_plot import Point, pareto_plot, plot_points, shape_of
from edge_seg.apps.report.svg import element
from edge_seg.apps.report.words import signed, to_markup

WIDE_PX, NARROW_PX = (1000.0, 470.0), (358.0, 330.0)


def front_section(rows: Sequence[Row]) -> str:
    """Accuracy over latency and, where it was measured, over energy; empty where no accuracy was measured."""
    points = {cost: plot_points(rows, cost) for cost in ("p95", "joules")}
    if not points["p95"]:
        return ""
    parts = [_front_figure(found, cost) for cost, found in points.items() if found]
    parts.insert(0, _point_legend(points["p95"]))
    about_it = (
        "Each mark is a row of the table, with its number there. No other row beats one on the front (filled, on the "
        "line) in both; rows below the line (hollow) are beaten. Rows of batch > 1 are left out: their latency is that "
        "of several pictures."
    )
    return section("front", "The Pareto front", *parts, _front_table(points["p95"]), about=about_it)


def _front_figure(points: Sequence[Point], cost: str) -> str:
    """The picture for desks and the one for phones; the style sheet shows one of them."""
    pictures = [
        pareto_plot(points, cost, width=size[0], height=size[1], name=f"front-{cost}-{class_}", class_=class_)
        for class_, size in (("wide", WIDE_PX), ("narrow", NARROW_PX))
    ]
    heading = "mIoU over p95 latency" if cost == "p95" else "mIoU over energy"
    return figure(caption(heading), *pictures)


def _point_legend(points: Sequence[Point]) -> str:
    """Colours are nets, shapes are run-times."""
    nets = {point.row.name: point.colour for point in points}
    runtimes = {point.row.runtime: point.shape for point in points}
    entries = [(swatch(f"c{colour} solid"), name) for name, colour in nets.items()]
    entries += [(_sign(shape), name) for name, shape in runtimes.items()]
    if any(point.row.disturbed is not None for point in points):
        ring = element("circle", cx=8, cy=8, r=6.5, class_="disturbed")
        entries.append((element("svg", ring, viewBox="0 0 16 16", aria_hidden="true"), "timed under disturbance"))
    return legend(entries)


def _sign(shape: int) -> str:
    return element("svg", shape_of(shape, 8, 8, class_="sign"), viewBox="0 0 16 16", aria_hidden="true")


def _front_table(points: Sequence[Point]) -> str:
    """The front from the fastest row on, and what each step costs and brings."""
    steps = sorted((point for point in points if point.on_front), key=lambda point: (point.cost, point.number))
    lines, before = [], None
    for point in steps:
        more = ("", "") if before is None else (f"+{point.cost - before.cost:.2f}", signed(point.miou - before.miou))
        cells = [_numbered(point.number, point.row.label), shown(point.miou, 4), shown(point.cost, 2)]
        lines.append(("", [*cells, shown(point.row.fps, 1), *more]))
        before = point
    heads = ["on the front", "mIoU", "p95 <small>ms</small>", "FPS <small>(loop)</small>"]
    heads += ["costs <small>ms more</small>", "brings <small>mIoU</small>"]
    return scrolling(table(heads, lines, [False, *[True] * 5], class_="steps"), "The front, step by step")


def _numbered(number: int, label: str) -> str:
    return element("span", str(number), class_="number") + to_markup(label)


def rows_section(rows: Sequence[Row]) -> str:
    """All rows in one table, and below it what disturbed some of them."""
    stand, columns = standing(rows), columns_of(rows)
    heads = [_head(column) for column in columns]
    lines = [(_line_class(i, row, stand), _cells(i, row, columns, stand)) for i, row in enumerate(rows)]
    numeric = [column.digits is not None for column in columns]
    whole = table([*heads, "standing"], lines, [*numeric, False], class_="full")
    notes = [element("li", to_markup(f"disturbed: {note}"), id=f"note-{i}") for i, note in enumerate(stand.notes, 1)]
    below = element("ol", *notes, class_="notes") if notes else ""
    missing = [
        element("li", to_markup(f"{i}. {row.label}: {note}")) for i, row in enumerate(rows, 1) for note in row.remarks
    ]
    below += element("ul", *missing, class_="notes") if missing else ""
    return section("rows", "All rows", scrolling(whole, "All rows", "rows"), below, about=about(rows))


def _head(column: Column) -> str:
    return column.heading + (f" <small>{column.unit}</small>" if column.unit else "")


def _line_class(index: int, row: Row, stand: Standing) -> str:
    if row.error is not None:
        return "error"
    return "dominated" if index in stand.dominated else "front" if "front" in stand.word(index) else ""


def _cells(index: int, row: Row, columns: Sequence[Column], stand: Standing) -> list[str]:
    """The cells of a row; in one with an error the reason takes the place of what was not measured."""
    name = element("span", to_markup(row.model), class_="long")
    first = element("span", str(index + 1), class_="number") + name + _note(index, stand)
    rest = columns[1:]
    if row.error is None:
        return [first, *(to_markup(column.cell(row)) for column in rest), to_markup(stand.word(index))]
    told = [column for column in rest if column in NAMES]
    reason = element("td", to_markup(row.error), colspan=len(rest) - len(told) + 1, class_="reason")
    return [first, *(to_markup(column.cell(row)) for column in told), reason]


def _note(index: int, stand: Standing) -> str:
    if index not in stand.note_of:
        return ""
    number = stand.note_of[index] + 1
    return element("sup", element("a", str(number), href=f"#note-{number}", aria_label=f"disturbed, note {number}"))


def loop_section(rows: Sequence[Row]) -> str:
    """The stages of the run loop, a panel for each row that went through it."""
    loops = {index: row.loop for index, row in enumerate(rows) if row.loop is not None and row.loop.stages_ms}
    if not loops:
        return ""
    most = span_ms(list(loops.values()))
    panels = []
    for index, loop in loops.items():
        label = f"{index + 1}. {rows[index].label}"
        words = f"{loop.fps:.1f} FPS, age p50 {loop.age_ms.p50:.1f} ms, p95 {loop.age_ms.p95:.1f} ms"
        picture = waterfall(loop, most, name=f"loop-{index + 1}", title=f"Stages of {label}")
        panels.append(figure(caption(label, words), picture))
    about_it = (
        "What a frame goes through on its way: each bar starts where the p50 of the stage above ends; p50 is solid, up "
        "to p95 is shaded, all panels have one scale in ms. Stages of different frames overlap, so frames follow each "
        "other faster than one gets through. Age is from capture to screen and files."
    )
    return section("loop", "Stages of the loop", element("div", *panels, class_="panels"), about=about_it)
