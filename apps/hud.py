"""The head-up display: speed, age, stage times, accuracy and legend, on panels over the picture."""

import math
import time

from edge_seg.apps.meters import Meters
from edge_seg.apps.panel import ACCENT, DIM, TEXT, Bgr, Layer, Panel, fitting_px, text_width
from edge_seg.metrics import Percentiles
from edge_seg.spec import ModelSpec

REFRESH_S = 0.2
ROOMY = (640, 400)
"""Width and height in pixels from which the console fits; smaller pictures get strips."""

Item = tuple[str, Bgr, Bgr | None]
"""A text, its colour, and the colour of the chip before it."""


class Hud:
    """Makes the panels, anew at most every `refresh_s` seconds: text costs more than laying a panel over a picture."""

    def __init__(self, *, refresh_s: float = REFRESH_S) -> None:
        self._refresh_s = refresh_s
        self._size = (0, 0)
        self._due_s = -math.inf
        self._numbers: Layer | None = None
        self._legend: Layer | None = None

    def layers(self, width: int, height: int, meters: Meters) -> list[Layer]:
        """The panels for a picture of this size in pixels."""
        now_s = time.perf_counter()
        if self._size != (width, height):
            self._size, self._due_s = (width, height), -math.inf
            self._legend = _strip(_legend(meters.spec), width, height, top=False)
        if now_s >= self._due_s:
            self._due_s = now_s + self._refresh_s
            roomy = width >= ROOMY[0] and height >= ROOMY[1]
            self._numbers = _console(height, meters) if roomy else _strip(_items(meters), width, height, top=True)
        return [layer for layer in (self._numbers, self._legend) if layer is not None]


def capital_px(height: int) -> int:
    """Height of capitals that can be read in a picture of this height.

    >>> [capital_px(h) for h in (240, 360, 540, 1080)]
    [7, 8, 10, 20]
    """
    return max(7, min(28, round(height * 0.0185 + (1.5 if height < 500 else 0))))


def _console(height: int, meters: Meters) -> Layer:
    """The large panel: rate and age, stages with bars, accuracy."""
    px = capital_px(height)
    row, pad, width = round(px * 1.95), round(px * 1.3), px * 23
    stages = {name: stats.percentiles().p50 for name, stats in meters.stages.items()}
    panel = Panel(width, pad * 2 + px * 3 + row * (len(stages) + 5))
    panel.box(0, 0, max(2, px // 4), 10_000, bgr=ACCENT)
    y = pad + round(px * 2.2)
    panel.text(pad, y, f"{meters.rate.recent_rate():.1f}", round(px * 2.2), bold=True)
    panel.text_right(width - pad, y, "FPS", px, bgr=DIM)
    y += round(row * 1.2)
    panel.text(pad, y, _model(meters), fitting_px(_model(meters), px, width - 2 * pad), bgr=ACCENT)
    y += round(row * 0.3)
    for name, ms in stages.items():
        y += row
        _stage(panel, (pad, y, width - pad, px), name, ms / max(1e-9, sum(v for v in stages.values() if v == v)))
        panel.text_right(width - pad, y, f"{_ms(ms)} ms", px)
    y += round(row * 0.3)
    for name, value in _facts(meters):
        y += row
        panel.text(pad, y, name, px, bgr=DIM)
        panel.text_right(width - pad, y, value, px)
    return panel.layer(px, px)


def _stage(panel: Panel, place: tuple[int, int, int, int], name: str, share: float) -> None:
    """A stage's name and its share of the sum of all, as a bar."""
    left, y, right, px = place
    panel.text(left, y, name, px, bgr=DIM)
    start, end = left + px * 6, right - px * 6
    panel.box(start, y - px, end - start, px, bgr=(70, 62, 54))
    if share == share:
        panel.box(start, y - px, max(1, round((end - start) * share)), px, bgr=ACCENT)


def _facts(meters: Meters) -> list[tuple[str, str]]:
    age = meters.age.percentiles()
    facts = [("age p50 / p95", f"{_ms(age.p50)} / {_ms(age.p95)} ms"), ("dropped", str(meters.dropped))]
    miou = meters.named_miou()
    return facts if miou is None else [*facts, (miou[0], f"{miou[1]:.3f}")]


def _items(meters: Meters) -> list[Item]:
    """The console's content as short texts, for a strip."""
    age: Percentiles = meters.age.percentiles()
    items: list[Item] = [(f"{meters.rate.recent_rate():.1f} FPS", TEXT, None)]
    items += [(f"age p50 {_ms(age.p50)} p95 {_ms(age.p95)} ms", TEXT, None), (f"dropped {meters.dropped}", TEXT, None)]
    miou = meters.named_miou()
    items += [] if miou is None else [(f"{miou[0]} {miou[1]:.3f}", TEXT, None)]
    items.append((_model(meters), ACCENT, None))
    return items + [(f"{name} {_ms(stats.percentiles().p50)}", DIM, None) for name, stats in meters.stages.items()]


def _legend(spec: ModelSpec) -> list[Item]:
    return [(c.name, TEXT, (c.rgb[2], c.rgb[1], c.rgb[0])) for c in spec.classes]


def _model(meters: Meters) -> str:
    return f"{meters.spec.name}  {meters.spec.precision}  {meters.runtime}"


def _ms(ms: float) -> str:
    if math.isnan(ms):
        return "-"
    return f"{ms:.1f}" if ms < 1000 else f"{ms:.0f}"  # as wide, so that it stays clear of its name


def _strip(items: list[Item], width: int, height: int, *, top: bool) -> Layer:
    """A band over the whole width along the upper or lower edge, with items in lines that fill it."""
    px = capital_px(height)
    lines = _wrap(items, width - 2 * px, px)
    row = round(px * 1.9)
    panel = Panel(width, row * len(lines) + px)
    for number, line in enumerate(lines):
        free = width - sum(_item_width(item, px) for item in line)
        gap = min(px * 3, free // (len(line) + 1))
        x = px if top else (free - gap * (len(line) - 1)) // 2
        for item in line:
            _put_item(panel, (x, round(row * (number + 0.75) + px * 0.4)), item, px)
            x += _item_width(item, px) + gap
    return panel.layer(0, 0 if top else height - row * len(lines) - px)


def _wrap(items: list[Item], width: int, px: int) -> list[list[Item]]:
    lines: list[list[Item]] = [[]]
    for item in items:
        taken = sum(_item_width(i, px) + px for i in lines[-1])
        if lines[-1] and taken + _item_width(item, px) > width:
            lines.append([])
        lines[-1].append(item)
    return lines


def _item_width(item: Item, px: int) -> int:
    return text_width(item[0], px) + (0 if item[2] is None else round(px * 1.6))


def _put_item(panel: Panel, place: tuple[int, int], item: Item, px: int) -> None:
    text, bgr, chip = item
    x, y = place
    if chip is not None:
        panel.box(x, y - px - 1, px + px // 4, px + 2, bgr=DIM)  # a rim, for the classes as dark as the panel
        panel.box(x + 1, y - px, px + px // 4 - 2, px, bgr=chip)
        x += round(px * 1.6)
    panel.text(x, y, text, px, bgr=bgr)
