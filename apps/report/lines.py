"""The pictures of a soak, minute by minute, and of layers under the machine's roof."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_seg.apps.profile.rows import Layers, Minute, Roof, Soak
from edge_seg.apps.report.findings import Position, position
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
from edge_seg.apps.report.words import compact, interval, to_markup

WIDTH_PX, HEIGHT_PX = 340.0, 150.0
LEAST_SPAN = 0.2
"""Of its highest value that the axis of a curve shows at least: noise does not look like a fall."""

ROOF_WIDE_PX, ROOF_NARROW_PX = (700.0, 420.0), (358.0, 330.0)
NAMED_LAYERS = 5
MOST_LABEL_PX = 170.0
SLOPE_STEP_PX = 6.0
PRECISION_COLOURS = {"int8": 0, "f32": 2, "bf16": 3, "f16": 5}
OTHER_COLOUR = 7


@dataclass(frozen=True, slots=True)
class Measure:
    """What is drawn of each minute: a field, its heading, its unit, and the digits of its numbers."""

    field: str
    heading: str
    unit: str
    digits: int

    def values(self, minutes: Sequence[Minute]) -> dict[int, float]:
        """The value of each minute that has one."""
        found = {minute.minute: getattr(minute, self.field) for minute in minutes}
        return {minute: float(value) for minute, value in found.items() if value is not None}

    def words(self, value: float) -> str:
        """A value with its unit."""
        return f"{value:.{self.digits}f} {self.unit}".strip()


MEASURES = (
    Measure("fps", "FPS", "", 1),
    Measure("p99_ms", "p99", "ms", 2),
    Measure("celsius", "Temperature", "°C", 1),
    Measure("mhz", "Clock", "MHz", 0),
    Measure("memory_mb", "Memory", "MB", 1),
    Measure("watts", "Power", "W", 1),
    Measure("others_cpu", "Others' work", "cores", 2),
)


def known_measures(minutes: Sequence[Minute]) -> list[Measure]:
    """The measures that the machine told in some minute."""
    return [measure for measure in MEASURES if measure.values(minutes)]


def curve(soak: Soak, measure: Measure, *, name: str) -> str:
    """One measure by minute, or by interval; those in which the machine throttled are shaded."""
    minutes, part = soak.minutes, interval(soak.interval_s)
    found = measure.values(minutes)
    field = Box(42, 10, WIDTH_PX - 8, HEIGHT_PX - 24)
    across = linear(minutes[0].minute, max(minutes[-1].minute, minutes[0].minute + 1), field.left, field.right)
    low, high = _range(list(found.values()))
    up = linear(low, high, field.bottom, field.top)
    parts = [_throttled(minutes, across, field), _soak_grid(minutes, ticks(low, high, 3), (across, up), field)]
    places = [(across(minute), up(value)) for minute, value in found.items()]
    parts.append(element("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in places), class_="c0 curve"))
    parts += [element("circle", cx=x, cy=y, r=3, class_="c0 solid") for x, y in {places[0]: 0, places[-1]: 0}]
    values = list(found.values())
    first, last, least, most = map(measure.words, (values[0], values[-1], min(values), max(values)))
    description = f"{first} in the first {part}, {last} in the last; least {least}, most {most}."
    title = f"{measure.heading} by {part}"
    return picture(WIDTH_PX, HEIGHT_PX, *parts, name=name, title=title, description=description, class_="panel")


def _range(values: Sequence[float]) -> tuple[float, float]:
    """From below the least value to above the highest, and LEAST_SPAN of the highest at least; not below 0."""
    least, most = min(values), max(values)
    span = max(1.2 * (most - least), LEAST_SPAN * abs(most)) or 1.0
    low = (least + most) / 2 - span / 2
    low = max(0.0, low) if least >= 0 else low
    return low, low + span


def _throttled(minutes: Sequence[Minute], across: Scale, field: Box) -> str:
    half = (across(1) - across(0)) / 2
    bands: list[tuple[float, float]] = []
    for x in (across(minute.minute) for minute in minutes if minute.throttled):
        start, end = max(field.left, x - half), min(field.right, x + half)
        if bands and start <= bands[-1][1] + 0.1:  # one band for minutes in a row: two would show a seam
            start = bands.pop()[0]
        bands.append((start, end))
    height = field.bottom - field.top
    return "".join(
        element("rect", x=start, y=field.top, width=end - start, height=height, class_="throttled")
        for start, end in bands
    )


def _soak_grid(minutes: Sequence[Minute], marks: Sequence[float], scales: tuple[Scale, Scale], field: Box) -> str:
    across, up = scales
    parts = []
    for value, words in zip(marks, tick_words(marks), strict=True):
        parts.append(element("path", d=f"M{field.left:.1f} {up(value):.1f}H{field.right:.1f}", class_="grid"))
        parts.append(text(words, field.left - 6, up(value) + 4, anchor="end"))
    whole = [value for value in ticks(minutes[0].minute, minutes[-1].minute, 6) if value == int(value)]
    parts += [text(f"{value:g}", across(value), HEIGHT_PX - 7, anchor="middle") for value in whole]
    return "".join(parts)


def placed_layers(layers: Layers) -> list[Position]:
    """The layers that can be put under the roof; none where there is no roof."""
    if layers.roof is None:
        return []
    return [place for layer in layers.layers if (place := position(layer, layers.roof)) is not None]


def roofline(
    places: Sequence[Position], roof: Roof, size: tuple[float, float], *, name: str, title: str, class_: str
) -> str:
    """GMAC a second over MAC a byte, both logarithmic: a point a layer, its area its time, the roofs as lines."""
    field = Box(54, 26, size[0] - 12, size[1] - 44)
    peaks = {name: peak for name, peak in sorted(roof.gmacs_per_s.items(), key=lambda item: -item[1]) if peak > 0}
    intensities = [*(place.intensity for place in places), *(peak / roof.gb_per_s for peak in peaks.values())]
    ends_x = min(intensities) / 2.5, max(intensities) * 2.5
    reached = [place.reached for place in places]
    ends_y = min(reached) / 2, max(*reached, *peaks.values()) * 1.8
    scales = logarithmic(*ends_x, field.left, field.right), logarithmic(*ends_y, field.bottom, field.top)
    parts = [_roof_grid(scales, ends_x, ends_y, field=field)]
    start = max(ends_x[0], ends_y[0] / roof.gb_per_s)
    parts += [_roof_line(name, peak, roof.gb_per_s, scales, ends=(start, ends_x[1])) for name, peak in peaks.items()]
    marks = [Mark(scales[0](p.intensity), scales[1](p.reached), _radius(p, places)) for p in places]
    parts += [_layer_mark(place, mark) for place, mark in zip(places, marks, strict=True)]
    names, taken = _roof_names(peaks, roof, scales, field=field, marks=marks)
    slope = _slope_boxes(start, max(peaks.values()), roof.gb_per_s, scales)
    parts += [names, _layer_names(places, marks, field, roofs=taken, slope=slope)]
    told = "; ".join(f"{p.layer.name} {compact(p.reached)} at {compact(p.intensity)}" for p in _slowest(places))
    description = f"GMAC a second at MAC a byte of the layers that take longest: {told}."
    return picture(*size, *parts, name=name, title=title, description=description, class_=f"roofline {class_}")


def _roof_names(
    peaks: Mapping[str, float], roof: Roof, scales: tuple[Scale, Scale], *, field: Box, marks: Sequence[Mark]
) -> tuple[str, list[Box]]:
    """The names of the level roofs, from the highest down, and the boxes of names and roofs, to be kept off.

    A name stands above its roof, or below it where a layer's mark is in the way.
    """
    across, up = scales
    parts, boxes, free_from = [], [], 0.0
    for precision, peak in peaks.items():
        words = f"{precision} {compact(peak)} GMAC/s"
        left, levels = field.right - width_px(words, BOLD_PX), [max(up(peak) + off, free_from) for off in (-6, 14)]
        places = [Box(left, y - 12, field.right, y + 3) for y in levels]
        box = next((box for box in places if not any(box.meets(mark.box) for mark in marks)), places[0])
        parts.append(text(words, field.right, box.bottom - 3, anchor="end", class_="label on-front"))
        boxes += [box.with_gap(), Box(across(peak / roof.gb_per_s), up(peak) - 1, field.right, up(peak) + 1)]
        free_from = box.bottom + 12
    return "".join(parts), boxes


def _roof_grid(
    scales: tuple[Scale, Scale], ends_x: tuple[float, float], ends_y: tuple[float, float], *, field: Box
) -> str:
    across, up = scales
    parts = [element("path", d=f"M{field.left:.1f} {field.bottom:.1f}H{field.right:.1f}", class_="axis")]
    for value in log_ticks(*ends_y):
        parts.append(element("path", d=f"M{field.left:.1f} {up(value):.1f}H{field.right:.1f}", class_="grid"))
        parts.append(text(f"{value:g}", field.left - 8, up(value) + 4, anchor="end"))
    for value in log_ticks(*ends_x):
        parts.append(element("path", d=f"M{across(value):.1f} {field.bottom:.1f}v5", class_="axis"))
        parts.append(text(f"{value:g}", across(value), field.bottom + 19, anchor="middle"))
    parts.append(text("↑ GMAC/s", field.left - 46, 13, class_="axis-title"))
    parts.append(text("MAC a byte →", field.right, field.bottom + 38, anchor="end", class_="axis-title"))
    return "".join(parts)


def _roof_line(
    precision: str, peak: float, gb_per_s: float, scales: tuple[Scale, Scale], *, ends: tuple[float, float]
) -> str:
    """Up the slope of the memory, then level at what the cores do in this precision."""
    across, up = scales
    start, end = ends
    knee = f"{across(peak / gb_per_s):.1f} {up(peak):.1f}"
    line = f"M{across(start):.1f} {up(start * gb_per_s):.1f}L{knee}H{across(end):.1f}"
    return element("path", d=line, class_=f"{colour_of(precision)} roof")


def _slope_boxes(start: float, peak: float, gb_per_s: float, scales: tuple[Scale, Scale]) -> list[Box]:
    """The slope of the memory up to the highest roof, as small boxes in a row."""
    across, up = scales
    (x, y), (end_x, end_y) = (across(start), up(start * gb_per_s)), (across(peak / gb_per_s), up(peak))
    count = max(1, math.ceil(max(abs(end_x - x), abs(end_y - y)) / SLOPE_STEP_PX))
    places = [(x + (end_x - x) * part / count, y + (end_y - y) * part / count) for part in range(count + 1)]
    half = SLOPE_STEP_PX / 2
    return [Box(a - half, b - half, a + half, b + half) for a, b in places]


def colour_of(precision: str) -> str:
    """The class of a precision's colour."""
    return f"c{PRECISION_COLOURS.get(precision, OTHER_COLOUR)}"


def _layer_mark(place: Position, mark: Mark) -> str:
    layer = place.layer
    told = f"{layer.name}: {compact(place.reached)} GMAC/s at {compact(place.intensity)} MAC a byte, {layer.ms:.3f} ms"
    title, look = element("title", to_markup(told)), f"{colour_of(layer.precision)} bubble"
    return element("circle", title, cx=mark.x, cy=mark.y, r=mark.radius, class_=look)


def _radius(place: Position, places: Sequence[Position]) -> float:
    """The circle's area is the layer's time, but for the smallest, which have to be seen."""
    return max(3.0, 12 * math.sqrt(place.layer.ms / max(other.layer.ms for other in places)))


def _slowest(places: Sequence[Position]) -> list[Position]:
    return sorted(places, key=lambda place: -place.layer.ms)[:NAMED_LAYERS]


def _layer_names(
    places: Sequence[Position], marks: Sequence[Mark], field: Box, *, roofs: Sequence[Box], slope: Sequence[Box]
) -> str:
    """The names of the layers that take longest, each where it hides neither a mark nor a roof's name.

    A name may cross the slope where nothing else is free: its halo keeps it legible.
    """
    taken = [mark.box for mark in marks] + list(roofs)
    slowest = sorted(zip(places, marks, strict=True), key=lambda pair: -pair[0].layer.ms)[:NAMED_LAYERS]
    parts = []
    for place, mark in slowest:
        words = fit(place.layer.name, MOST_LABEL_PX)
        free = (free_box((width_px(words), 15.0), mark, [*taken, *lines], inside=field) for lines in (slope, []))
        box = next(filter(None, free), None)
        if box is not None:
            taken.append(box.with_gap())
            parts.append(label(words, box, mark, class_="below"))
    return "".join(parts)
