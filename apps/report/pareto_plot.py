"""Accuracy over its price: every row a point, the Pareto front a step line."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge_seg.apps.profile.pareto import COSTS, front
from edge_seg.apps.profile.rows import Row
from edge_seg.apps.report.svg import (
    BOLD_PX,
    Box,
    Mark,
    Scale,
    element,
    fit,
    free_box,
    label,
    linear,
    log_ticks,
    logarithmic,
    picture,
    text,
    tick_words,
    ticks,
    width_px,
)
from edge_seg.apps.report.words import compact, to_markup

COLOURS = 8
AXES = {"p95": ("p95", "ms"), "joules": ("energy", "J a frame")}
LOGARITHMIC_FROM = 6.0
"""Where the dearest row costs so many times the cheapest one, the axis is logarithmic."""
LEAST_SPAN = 0.01
"""Of mIoU that the axis shows: rows that differ by nothing do not look far apart."""
LABEL_PX, MARK_PX, LETTER_PX = 15.0, 8.0, 12.0
MOST_LABEL_PX = 230.0

SHAPES = (0, 4, 3, 5, -3, 8)
"""Corners of the marks by run-time; 0 is a circle, below 0 stands on its tip."""


@dataclass(frozen=True, slots=True)
class Point:
    """A row in the picture: its number in the table, its place, and how it looks."""

    number: int
    row: Row
    cost: float
    miou: float
    on_front: bool
    colour: int
    shape: int


def plot_points(rows: Sequence[Row], cost: str) -> list[Point]:
    """The rows that take part, as `front` says, in the order of the table."""
    nets = list(dict.fromkeys(row.name for row in rows))
    runtimes = list(dict.fromkeys(row.runtime for row in rows))
    on_front, points = front(rows, cost=cost), []
    for index, row in enumerate(rows):
        paid = COSTS[cost](row)
        if row.error is None and row.batch == 1 and row.miou is not None and paid is not None:
            look = nets.index(row.name) % COLOURS, runtimes.index(row.runtime) % len(SHAPES)
            points.append(Point(index + 1, row, paid, row.miou, index in on_front, *look))
    return points


def pareto_plot(points: Sequence[Point], cost: str, *, width: float, height: float, name: str, class_: str) -> str:
    """The picture; where there is no room for a row's name, its number in the table stands alone."""
    field = Box(50, 26, width - 14, height - 44)
    across, marks_x = _cost_axis([point.cost for point in points], field)
    up, marks_y = _miou_axis([point.miou for point in points], field)
    ordered = sorted((point for point in points if point.on_front), key=lambda point: point.cost)
    area, line = _step(ordered, (across, up), field)
    parts = [area, _grid(marks_x, marks_y, (across, up), field), line, _titles(cost, points, field)]
    parts += [_mark(point, across(point.cost), up(point.miou)) for point in sorted(points, key=lambda p: p.on_front)]
    parts.append(_labels(points, (across, up), field, steps=_step_boxes(ordered, (across, up), field)))
    told = "; ".join(f"{p.row.label}: {p.miou:.4f} at {compact(p.cost)} {AXES[cost][1]}" for p in ordered)
    description = f"{len(points)} rows. On the front, from the cheapest to the most accurate: {told}."
    title = f"mIoU over {AXES[cost][0]}"
    return picture(width, height, *parts, name=name, title=title, description=description, class_=class_)


def _cost_axis(costs: Sequence[float], field: Box) -> tuple[Scale, list[float]]:
    """The scale across, with room at both ends, and its round numbers."""
    low, high = min(costs), max(costs)
    many = 8 if field.right - field.left > 500 else 4
    if _is_logarithmic(costs):
        low, high = low / 1.15, high * 1.15
        return logarithmic(low, high, field.left, field.right), log_ticks(low, high)
    room = 0.07 * (high - low) or 0.1 * high or 1.0
    low, high = max(0.0, low - room), high + room
    return linear(low, high, field.left, field.right), ticks(low, high, many)


def _is_logarithmic(costs: Sequence[float]) -> bool:
    return min(costs) > 0 and max(costs) / min(costs) >= LOGARITHMIC_FROM


def _miou_axis(values: Sequence[float], field: Box) -> tuple[Scale, list[float]]:
    middle, span = (min(values) + max(values)) / 2, max(LEAST_SPAN, 1.25 * (max(values) - min(values)))
    low = max(0.0, middle - span / 2)
    return linear(low, low + span, field.bottom, field.top), ticks(low, min(1.0, low + span), 5)


def _grid(marks_x: Sequence[float], marks_y: Sequence[float], scales: tuple[Scale, Scale], field: Box) -> str:
    across, up = scales
    parts = []
    for value, words in zip(marks_y, tick_words(marks_y), strict=True):
        y = up(value)
        parts.append(element("path", d=f"M{field.left:.1f} {y:.1f}H{field.right:.1f}", class_="grid"))
        parts.append(text(words, field.left - 8, y + 4, anchor="end"))
    for value in marks_x:
        x = across(value)
        parts.append(element("path", d=f"M{x:.1f} {field.bottom:.1f}v5", class_="axis"))
        parts.append(text(f"{value:g}", x, field.bottom + 19, anchor="middle"))
    parts.append(element("path", d=f"M{field.left:.1f} {field.bottom:.1f}H{field.right:.1f}", class_="axis"))
    return "".join(parts)


def _titles(cost: str, points: Sequence[Point], field: Box) -> str:
    """What the axes are, written level."""
    name, unit = AXES[cost]
    kind = ", logarithmic" if _is_logarithmic([point.cost for point in points]) else ""
    across = f"{name}, {unit}{kind} →"
    return text("↑ mIoU", field.left - 42, 13, class_="axis-title") + text(
        across, field.right, field.bottom + 38, anchor="end", class_="axis-title"
    )


def _step(ordered: Sequence[Point], scales: tuple[Scale, Scale], field: Box) -> tuple[str, str]:
    """What the front dominates, to be shaded, and the front: from the cheapest point right and up to the next one."""
    across, up = scales
    line = f"M{across(ordered[0].cost):.1f} {up(ordered[0].miou):.1f}"
    line += "".join(f"H{across(point.cost):.1f}V{up(point.miou):.1f}" for point in ordered[1:]) + f"H{field.right:.1f}"
    start = f"{across(ordered[0].cost):.1f}"
    area = f"{line}V{field.bottom:.1f}H{start}Z"
    return element("path", d=area, class_="dominated-area"), element("path", d=line, class_="front-line")


def _step_boxes(ordered: Sequence[Point], scales: tuple[Scale, Scale], field: Box) -> list[Box]:
    """The step line as thin boxes that labels keep off."""
    across, up = scales
    places = [(across(point.cost), up(point.miou)) for point in ordered]
    ends = [*places[1:], (field.right, places[-1][1])]
    boxes = []
    for (x, y), (next_x, next_y) in zip(places, ends, strict=True):
        boxes += [Box(x, y - 1, next_x, y + 1), Box(next_x - 1, min(y, next_y), next_x + 1, max(y, next_y))]
    return boxes


def _mark(point: Point, x: float, y: float) -> str:
    """The mark: filled on the front, hollow below it, with a dashed ring where the times were disturbed."""
    row = point.row
    told = f"{point.number} {row.label}: mIoU {point.miou:.4f} at {compact(point.cost)}"
    told += "" if row.disturbed is None else f", disturbed: {row.disturbed}"
    look = f"c{point.colour} {'solid' if point.on_front else 'hollow'}"
    ring = "" if row.disturbed is None else element("circle", cx=x, cy=y, r=10, class_="disturbed")
    return element("g", element("title", to_markup(told)), ring, shape_of(point.shape, x, y, class_=look))


def shape_of(shape: int, x: float, y: float, *, class_: str, radius: float = 5.5) -> str:
    """A mark of its own for each run-time."""
    corners = SHAPES[shape]
    if corners == 0:
        return element("circle", cx=x, cy=y, r=radius, class_=class_)
    grown = radius * {3: 1.3, 4: 1.2}.get(abs(corners), 1.12)
    turn = math.pi / 2 * math.copysign(1, corners)
    angles = [2 * math.pi * corner / abs(corners) - turn for corner in range(abs(corners))]
    places = " ".join(f"{x + grown * math.cos(a):.1f},{y + grown * math.sin(a):.1f}" for a in angles)
    return element("polygon", points=places, class_=class_)


def _labels(points: Sequence[Point], scales: tuple[Scale, Scale], field: Box, *, steps: Sequence[Box]) -> str:
    """The names, those of the front first; each in a place that is free, with a line to its mark where it is far."""
    across, up = scales
    marks = {point.number: Mark(across(point.cost), up(point.miou), MARK_PX) for point in points}
    taken = [mark.box for mark in marks.values()]
    wide = field.right - field.left > 500
    parts = []
    for point in sorted(points, key=lambda point: (not point.on_front, -point.miou, point.cost)):
        mark, letter_px = marks[point.number], BOLD_PX if point.on_front else LETTER_PX
        long_label, number = fit(f"{point.number} {point.row.label}", MOST_LABEL_PX), str(point.number)
        # A number may cross the line of the front, where nothing else is free: its halo keeps it legible.
        for words, lines in [(long_label, steps)] * wide + [(number, steps), (number, [])]:
            box = free_box((width_px(words, letter_px), LABEL_PX), mark, [*taken, *lines], inside=field)
            if box is not None:
                taken.append(box.with_gap())
                parts.append(label(words, box, mark, class_="on-front" if point.on_front else "below"))
                break
    return "".join(parts)
