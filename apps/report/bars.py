"""The pictures made of bars: the stages of the loop, IoU by class, and what INT8 takes from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_seg.apps.profile.rows import Accuracy, LoopSpeed
from edge_seg.apps.report.findings import Drop
from edge_seg.apps.report.svg import Scale, element, linear, picture, text, ticks
from edge_seg.apps.report.words import percent, signed, to_markup
from edge_seg.metrics import Percentiles

WIDTH_PX = 340.0
LINE_PX, BAR_PX = 19.0, 12.0
LEAST_DROP = 0.005
"""Of IoU, to which the axis of a drop reaches at least: nothing does not look like much."""


def span_ms(loops: Sequence[LoopSpeed]) -> float:
    """Up to where the longest of the waterfalls reaches, in milliseconds: one scale for all."""
    return max(start + stage.p95 for loop in loops for start, stage in _falling(loop.stages_ms).values())


def _falling(stages: Mapping[str, Percentiles]) -> dict[str, tuple[float, Percentiles]]:
    """Stages with the start of each, which is the end of the p50 of the one before."""
    found, start = {}, 0.0
    for name, stage in stages.items():
        found[name] = (start, stage)
        start += stage.p50
    return found


def waterfall(loop: LoopSpeed, most_ms: float, *, name: str, title: str) -> str:
    """A line a stage, its bar starting where the one above ends: p50 solid, up to p95 shaded, as in a run's summary."""
    left, right, top = 58.0, 246.0, 20.0
    bottom = top + LINE_PX * len(loop.stages_ms)
    across = linear(0.0, most_ms, left, right)
    parts = [_ticks(across, most_ms, (top, bottom))]
    parts += [text("p50", 290, 12, anchor="end"), text("p95 ms", WIDTH_PX, 12, anchor="end")]
    for line, (stage, (start, times)) in enumerate(_falling(loop.stages_ms).items()):
        y = top + LINE_PX * line + (LINE_PX - BAR_PX) / 2
        parts.append(text(stage, 0, y + 10, class_="name"))
        parts.append(_bar(across, start, start + times.p95, y, class_="c0 shaded"))
        parts.append(_bar(across, start, start + times.p50, y, class_="c0 solid"))
        parts.append(text(f"{times.p50:.2f}", 290, y + 10, anchor="end", class_="name"))
        parts.append(text(f"{times.p95:.2f}", WIDTH_PX, y + 10, anchor="end"))
    told = "; ".join(f"{stage} {t.p50:.2f} and {t.p95:.2f}" for stage, t in loop.stages_ms.items())
    description = f"Milliseconds at the 50th and the 95th percentile: {told}."
    return picture(WIDTH_PX, bottom + 22, *parts, name=name, title=title, description=description, class_="panel")


def _ticks(across: Scale, most: float, ends: tuple[float, float]) -> str:
    """Thin lines at round numbers, which stand below them."""
    top, bottom = ends
    lines = [element("path", d=f"M{across(v):.1f} {top:.1f}V{bottom:.1f}", class_="grid") for v in ticks(0, most, 4)]
    return "".join([*lines, *(text(f"{v:g}", across(v), bottom + 15, anchor="middle") for v in ticks(0, most, 4))])


def _bar(across: Scale, start: float, end: float, y: float, *, class_: str, height: float = BAR_PX) -> str:
    """A bar between two values, in whichever order; never thinner than can be seen."""
    left, right = sorted((across(start), across(end)))
    return element("rect", x=left, y=y, width=max(1.0, right - left), height=height, rx=1.5, class_=class_)


@dataclass(frozen=True, slots=True)
class Series:
    """The bars of one file: what they are called, whose accuracy they show, and the number of their colour."""

    label: str
    accuracy: Accuracy
    colour: int


def class_bars(series: Sequence[Series], classes: Sequence[str], *, name: str, title: str) -> str:
    """IoU of `classes`, a bar for each file; a class without IoU says so."""
    left, right, pitch = 104.0, 296.0, 12.0
    block = pitch * len(series) + 7
    across = linear(0.0, 1.0, left, right)
    bottom = 4 + block * len(classes)
    parts = [_ticks(across, 1.0, (0.0, bottom))]
    for line, class_name in enumerate(classes):
        top = 4 + block * line
        parts.append(text(class_name, 0, top + pitch * len(series) / 2 + 4, class_="name", most_px=left - 8))
        for index, one in enumerate(series):
            parts.append(_class_bar(one, class_name, across, top + pitch * index))
    description = ". ".join(f"{one.label}: {_told(one.accuracy, classes)}" for one in series)
    return picture(WIDTH_PX, bottom + 20, *parts, name=name, title=title, description=description, class_="panel")


def _class_bar(one: Series, class_name: str, across: Scale, y: float) -> str:
    """A bar and its number behind it."""
    iou = one.accuracy.class_iou.get(class_name)
    bar = "" if iou is None else _bar(across, 0.0, iou, y + 1, class_=f"c{one.colour} solid", height=10)
    words = "absent" if iou is None else f"{iou:.3f}"
    return bar + text(words, across(iou or 0.0) + 4, y + 10, class_="value")


def _told(accuracy: Accuracy, classes: Sequence[str]) -> str:
    ious = {name: accuracy.class_iou.get(name) for name in classes}
    return ", ".join(f"{name} {'absent' if iou is None else f'{iou:.3f}'}" for name, iou in ious.items())


def drop_span(drops: Sequence[Drop]) -> tuple[float, float]:
    """From the most won to the most lost, with 0 between them: one scale for all."""
    lost = [value for drop in drops for value in drop.lost.values()]
    return min(0.0, *lost, 0.0), max(LEAST_DROP, *lost, LEAST_DROP)


def drop_bars(drop: Drop, classes: Sequence[str], span: tuple[float, float], *, name: str, title: str) -> str:
    """IoU lost by class: a bar to the right is lost, one to the left won; the mean stands first."""
    left, right, top = 104.0, 278.0, 4.0
    across = linear(*span, left, right)
    named = {"mIoU": drop.mean, **{class_name: drop.lost.get(class_name) for class_name in classes}}
    bottom = top + LINE_PX * len(named)
    parts = [element("path", d=f"M{across(0):.1f} {top:.1f}V{bottom:.1f}", class_="axis")]
    for line, (class_name, lost) in enumerate(named.items()):
        y = top + LINE_PX * line + (LINE_PX - BAR_PX) / 2
        strong = " strong" if not line else ""
        parts.append(text(class_name, 0, y + 10, class_=f"name{strong}", most_px=left - 8))
        if lost is not None:
            parts.append(_bar(across, 0.0, lost, y, class_="lost" if lost > 0 else "won"))
        words = "absent" if lost is None else signed(lost)
        parts.append(text(words, WIDTH_PX, y + 10, anchor="end", class_=f"name{strong}"))
    told = ", ".join(f"{key} {'absent' if lost is None else signed(lost)}" for key, lost in named.items())
    description = f"IoU of FP32 less IoU of INT8: {told}."
    return picture(WIDTH_PX, bottom + 4, *parts, name=name, title=title, description=description, class_="panel")


def share_bar(parts: Mapping[str, tuple[float, str]], *, name: str, title: str) -> str:
    """Shares of a whole side by side in one bar; each is (share of 1, class)."""
    bars, start = [], 0.0
    for key, (share, class_) in parts.items():
        label = element("title", to_markup(f"{key} {percent(share)}"))
        bars.append(element("rect", label, x=start * 1000, y=0, width=share * 1000, height=22, class_=class_))
        start += share
    told = ", ".join(f"{key} {percent(share)}" for key, (share, _) in parts.items())
    return picture(1000, 22, *bars, name=name, title=title, description=f"{told}.", class_="share-bar", stretched=True)
