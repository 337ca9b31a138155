"""Inline SVG without a library: elements, scales and the width of words. Colours are the classes of the style sheet."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_seg.apps.report.words import plain, to_markup

Scale = Callable[[float], float]

NARROW, WIDE = "iljtfrI.,:;'|!()[]/ ", "mwMW@%—"
LETTER_EM, NARROW_EM, WIDE_EM, CAPITAL_EM, FOREIGN_EM = 0.57, 0.34, 0.9, 0.7, 1.0
"""Widths of letters in Arial and its like, rounded up: no browser is asked, and nothing may overlap."""
BOLD_PX = 14.0
"""The size at which plain letters are as wide as bold ones of 12 px."""
GAP_PX = 8.0
"""Between two names: fonts wider than Arial, as many Linux machines have, take some of it."""


def element(name: str, *content: str, **attributes: str | float | None) -> str:
    """An element; `content` is markup, attributes are escaped here. `class_` is class, other `_` in a name a hyphen.

    >>> element("rect", x=1.50, width=3, class_="c0", rx=None)
    '<rect x="1.5" width="3" class="c0"/>'
    """
    told = "".join(f' {_name(key)}="{_value(value)}"' for key, value in attributes.items() if value is not None)
    return f"<{name}{told}>{''.join(content)}</{name}>" if content else f"<{name}{told}/>"


def _name(key: str) -> str:
    return key if key in ("viewBox", "preserveAspectRatio") else key.rstrip("_").replace("_", "-")


def _value(value: str | float) -> str:
    return to_markup(value) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def text(words: str, x: float, y: float, *, anchor: str = "start", class_: str = "", most_px: float = math.inf) -> str:
    """A line of text whose baseline is at `y`, cut where it is longer than `most_px` at 12 px."""
    fitted = fit(words, most_px)
    whole = [element("title", to_markup(words))] if fitted != plain(words) else []
    side = None if anchor == "start" else anchor
    return element("text", to_markup(fitted), *whole, x=x, y=y, text_anchor=side, class_=class_ or None)


def picture(
    width: float,
    height: float,
    *content: str,
    name: str,
    title: str,
    description: str,
    class_: str,
    stretched: bool = False,
) -> str:
    """An SVG picture that scales with its box; `name` is its own in the page, title and description are read aloud.

    A stretched one fills its box in both directions, whatever becomes of its proportions.
    """
    told = element("title", to_markup(title), id=f"{name}-title")
    told += element("desc", to_markup(description), id=f"{name}-desc")
    return element(
        "svg",
        told,
        *content,
        viewBox=f"0 0 {_value(width)} {_value(height)}",
        preserveAspectRatio="none" if stretched else None,
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        class_=class_,
    )


def linear(low: float, high: float, start_px: float, end_px: float) -> Scale:
    """The scale that takes `low` to `start_px` and `high` to `end_px`."""
    span = (high - low) or 1.0
    return lambda value: start_px + (value - low) / span * (end_px - start_px)


def logarithmic(low: float, high: float, start_px: float, end_px: float) -> Scale:
    """The same on a logarithmic axis; `low` and `high` above 0."""
    inner = linear(math.log(low), math.log(high), start_px, end_px)
    return lambda value: inner(math.log(value))


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from `low` to `high`, at most about `most`: multiples of 1, 2 or 5 times a power of ten.

    >>> ticks(0, 10, 5), ticks(0.582, 0.648, 4)
    ([0.0, 2.0, 4.0, 6.0, 8.0, 10.0], [0.6, 0.62, 0.64])
    """
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, -math.floor(math.log10(step)) + 1)
    return [round(index * step, digits) + 0.0 for index in range(first, last + 1)]


def tick_words(values: Sequence[float]) -> list[str]:
    """Round numbers with as many digits as the one that needs most.

    >>> tick_words([0.6, 0.62]), tick_words([5.0, 10.0])
    (['0.60', '0.62'], ['5', '10'])
    """
    digits = max((len(f"{value:.10g}".partition(".")[2]) for value in values), default=0)
    return [f"{value:.{digits}f}" for value in values]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten from `low` to `high`; powers of ten alone where those would be many.

    >>> log_ticks(4, 60), log_ticks(0.5, 20000)
    ([5.0, 10.0, 20.0, 50.0], [1.0, 10.0, 100.0, 1000.0, 10000.0])
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if math.log10(high / low) <= 2.5 else (1,)
    found = [factor * 10.0**power for power in powers for factor in factors]
    return [value for value in found if low * 0.999 <= value <= high * 1.001]


def width_px(words: str, size_px: float = 12.0) -> float:
    """About how wide a text is, rather more than less."""
    return size_px * sum(map(_letter_em, words))


def _letter_em(letter: str) -> float:
    if not letter.isascii():
        return FOREIGN_EM
    if letter in NARROW:
        return NARROW_EM
    return WIDE_EM if letter in WIDE else CAPITAL_EM if letter.isupper() else LETTER_EM


def fit(words: str, most_px: float, size_px: float = 12.0) -> str:
    """A text that is at most about `most_px` wide, cut in its middle: names differ at their ends.

    >>> fit("a name", 100), fit("a_very_long_name_of_a_class", 100)
    ('a name', 'a_very…a_class')
    """
    shown = plain(words)
    if width_px(shown, size_px) <= most_px:
        return shown
    for kept in range(len(shown) - 1, 1, -1):
        cut = f"{shown[: kept // 2]}…{shown[len(shown) - (kept - kept // 2) :]}"
        if width_px(cut, size_px) <= most_px:
            return cut
    return "…"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def with_gap(self) -> "Box":
        """The box of a name with the room beside it that keeps two names from being read as one."""
        return Box(self.left - GAP_PX, self.top, self.right + GAP_PX, self.bottom)

    def meets(self, other: "Box") -> bool:
        """True where the two overlap."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom

    def holds(self, other: "Box") -> bool:
        """True where the other lies within this one."""
        across = self.left <= other.left and other.right <= self.right
        return across and self.top <= other.top and other.bottom <= self.bottom

    def contains(self, x: float, y: float) -> bool:
        """True where the point lies within."""
        return self.left <= x <= self.right and self.top <= y <= self.bottom

    def nearest(self, mark: "Mark") -> tuple[float, float]:
        """The point of the box that is nearest to a mark."""
        return min(max(mark.x, self.left), self.right), min(max(mark.y, self.top), self.bottom)


@dataclass(frozen=True, slots=True)
class Mark:
    """The place of a mark and its radius, in pixels."""

    x: float
    y: float
    radius: float

    @property
    def box(self) -> Box:
        """The square around it."""
        return Box(self.x - self.radius, self.y - self.radius, self.x + self.radius, self.y + self.radius)


def free_box(size: tuple[float, float], mark: Mark, taken: Sequence[Box], *, inside: Box) -> Box | None:
    """A box of `size` near a mark that meets none of `taken`: beside, above, below, then ever further off.

    >>> mark, field = Mark(50, 50, 5), Box(0, 0, 200, 100)
    >>> free_box((60, 10), mark, [mark.box], inside=field)
    Box(left=58, top=45.0, right=118, bottom=55.0)
    >>> free_box((60, 10), mark, [mark.box, field], inside=field)
    """
    (width, height), x, y = size, mark.x, mark.y
    for further in (3, 12, 22, 34):
        away = mark.radius + further
        right, left, middle = x + away, x - away - width, x - width / 2
        corners = [
            (right, y - height / 2),
            (left, y - height / 2),
            (middle, y - away - height),
            (middle, y + away),
            (right - away / 2, y - away - height / 2),
            (right - away / 2, y + away - height / 2),
            (left + away / 2, y - away - height / 2),
            (left + away / 2, y + away - height / 2),
        ]
        for box in (Box(a, b, a + width, b + height) for a, b in corners):
            if inside.holds(box) and not any(_hides(box, mark, other) for other in taken):
                return box
    return None


def _hides(box: Box, mark: Mark, other: Box) -> bool:
    """True where a name in `box`, or the line from there to its mark, would lie on `other`."""
    x, y = box.nearest(mark)
    steps = [(x + (mark.x - x) * part / 8, y + (mark.y - y) * part / 8) for part in range(8)]
    line = [(a, b) for a, b in steps if not mark.box.contains(a, b)]
    return box.meets(other) or (other != mark.box and any(other.contains(a, b) for a, b in line))


def label(words: str, box: Box, mark: Mark, *, class_: str) -> str:
    """A name in its box, with a line to its mark where it stands away from it."""
    near_x, near_y = box.nearest(mark)
    far = math.hypot(near_x - mark.x, near_y - mark.y)
    line = ""
    if far > mark.radius + 8:
        share = mark.radius / far
        start = f"M{mark.x + (near_x - mark.x) * share:.1f} {mark.y + (near_y - mark.y) * share:.1f}"
        line = element("path", d=f"{start}L{near_x:.1f} {near_y:.1f}", class_="leader")
    anchor = "end" if box.right <= mark.x else "start" if box.left >= mark.x else "middle"
    place = {"end": box.right, "start": box.left, "middle": (box.left + box.right) / 2}[anchor]
    return line + text(words, place, box.bottom - 4, anchor=anchor, class_=f"label {class_}")
