"""The sections of the HTML report about classes: their IoU, and what INT8 takes from it."""

from collections.abc import Iterator, Mapping, Sequence

from edge_seg.apps.profile.rows import Row
from edge_seg.apps.report.bars import Series, class_bars, drop_bars, drop_span
from edge_seg.apps.report.columns import shown
from edge_seg.apps.report.findings import Drop, int8_drops
from edge_seg.apps.report.markup import caption, figure, legend, scrolling, section, swatch, table
from edge_seg.apps.report.svg import element
from edge_seg.apps.report.words import signed, to_markup

MOST_CLASSES = 40
"""Bars of a panel: of more classes the worst are drawn, and all stand in the table."""
FP32_COLOUR = 7


def classes_section(rows: Sequence[Row]) -> str:
    """IoU by class, a panel for each net and size, a bar for each of its files."""
    nets: dict[tuple[str, int, int], dict[str, Row]] = {}
    for row in sorted(rows, key=lambda row: row.precision != "FP32"):  # stable: FP32 first, else the table's order
        if row.accuracy is not None and row.accuracy.class_iou:
            nets.setdefault((row.name, row.width, row.height), {}).setdefault(row.sha256, row)
    if not nets:
        return ""
    panels = [_net_panel(number, net, list(files.values())) for number, (net, files) in enumerate(nets.items(), 1)]
    about_it = "Each file on the first run-time in the table; the numbers of all of them are in the table below."
    body = element("div", *panels, class_="panels")
    return section("classes", "IoU by class", body, _class_table(rows), about=about_it)


def _net_panel(number: int, net: tuple[str, int, int], files: Sequence[Row]) -> str:
    series = list(_series(files))
    classes = list(dict.fromkeys(name for one in series for name in one.accuracy.class_iou))
    chosen = lowest(classes, [one.accuracy.class_iou for one in series], MOST_CLASSES)
    words = f"{net[1]}x{net[2]}" + (
        "" if len(chosen) == len(classes) else f", the {len(chosen)} of {len(classes)} classes of lowest IoU"
    )
    entries = [
        (swatch(f"c{one.colour} solid"), f"{one.label} {shown(one.accuracy.miou, 4) or 'no mIoU'}") for one in series
    ]
    picture = class_bars(series, chosen, name=f"classes-{number}", title=f"IoU by class of {net[0]}")
    return figure(caption(net[0], words) + legend(entries), picture)


def _series(files: Sequence[Row]) -> Iterator[Series]:
    """The bars of a net: its file in FP32 is grey; files of one precision are told apart by their names."""
    precisions = [row.precision for row in files]
    coloured = 0
    for row in files:
        assert row.accuracy is not None
        label = row.precision if precisions.count(row.precision) == 1 else row.model
        colour = FP32_COLOUR if row.precision == "FP32" else coloured % FP32_COLOUR
        coloured += colour != FP32_COLOUR
        yield Series(label, row.accuracy, colour)


def _class_table(rows: Sequence[Row]) -> str:
    """All numbers: a line a class, a column for each file on each run-time."""
    judged = {(row.sha256, row.runtime): row for row in reversed(rows) if row.accuracy is not None}
    columns = list(reversed(judged.values()))
    found = [row.accuracy for row in columns if row.accuracy is not None]
    classes = list(dict.fromkeys(name for one in found for name in one.class_iou))
    heads = ["class", *(f"{to_markup(row.model)} <small>{to_markup(row.runtime)}</small>" for row in columns)]
    lines = [("front", [to_markup("mIoU"), *(shown(one.miou, 4) for one in found)])]
    lines += [("", [to_markup(name), *(shown(one.class_iou.get(name), 4) for one in found)]) for name in classes]
    whole = scrolling(table(heads, lines, [False, *[True] * len(columns)]), "IoU by class, all numbers")
    return element("details", element("summary", "All numbers as a table"), whole)


def lowest(classes: Sequence[str], found: Sequence[Mapping[str, float | None]], most: int) -> list[str]:
    """The `most` classes with the lowest values in any of `found`, in the order of `classes`.

    >>> lowest(["a", "b", "c"], [{"a": 0.5, "b": 0.1, "c": None}, {"a": 0.05, "b": 0.9}], 2)
    ['a', 'b']
    """
    least = {name: min((v for one in found if (v := one.get(name)) is not None), default=2.0) for name in classes}
    chosen = sorted(classes, key=lambda name: least[name])[:most]
    return [name for name in classes if name in chosen]


def drop_section(rows: Sequence[Row]) -> str:
    """What INT8 costs by class, a panel for each INT8 file on each run-time; empty without a pair."""
    drops = [drop for drop in int8_drops(rows) if drop.lost]
    if not drops:
        return ""
    span = drop_span(drops)
    panels = [_drop_panel(number, drop, span) for number, drop in enumerate(drops, 1)]
    about = (
        "IoU of FP32 less IoU of INT8 on the same pictures, +0.0100 being one point of a hundred: to the right of the "
        "line is lost, to the left won. All panels have one scale."
    )
    return section("int8", "What INT8 costs", element("div", *panels, class_="panels"), about=about)


def _drop_panel(number: int, drop: Drop, span: tuple[float, float]) -> str:
    classes = list(drop.lost)
    chosen = lowest(classes, [{name: -lost for name, lost in drop.lost.items()}], MOST_CLASSES)
    worst = max(drop.lost, key=lambda name: drop.lost[name])
    words = f"{drop.against}; worst class {worst} {signed(drop.lost[worst])}"
    if len(chosen) < len(classes):
        words += f"; the {len(chosen)} of {len(classes)} classes that lose most"
    picture = drop_bars(drop, chosen, span, name=f"int8-{number}", title=f"IoU lost by class: {drop.title}")
    return figure(caption(drop.title, words), picture)
