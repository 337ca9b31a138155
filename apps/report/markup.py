"""Pieces of HTML that several sections need. What is called markup here has been escaped already."""

from collections.abc import Iterable, Sequence

from edge_seg.apps.report.svg import element
from edge_seg.apps.report.words import to_markup

Line = tuple[str, Sequence[str]]
"""A class and the cells of a line, as markup."""


def section(name: str, title: str, *content: str, about: str = "") -> str:
    """A section with its heading and a paragraph that says how to read it."""
    told = element("p", to_markup(about), class_="about") if about else ""
    return element("section", element("h2", to_markup(title), id=name), told, *content, aria_labelledby=name)


def scrolling(table: str, label: str, class_: str = "") -> str:
    """A box that a wide table scrolls in, by keyboard too."""
    return element("div", table, class_=f"scroll {class_}".strip(), role="region", aria_label=label, tabindex=0)


def table(headings: Sequence[str], lines: Iterable[Line], numeric: Sequence[bool], *, class_: str = "") -> str:
    """A table: the first cell of each line is its heading. `headings` and cells are markup."""
    sides = ["n" if number else None for number in numeric]
    tops = [
        element("th", head or "&#8203;", scope="col", class_=side) for head, side in zip(headings, sides, strict=True)
    ]
    body = []
    for line_class, cells in lines:
        first = element("th", cells[0], scope="row", class_=sides[0])
        rest = [_cell(cell, side) for cell, side in zip(cells[1:], sides[1:], strict=False)]
        body.append(element("tr", first, *rest, class_=line_class or None))
    parts = element("thead", element("tr", *tops)), element("tbody", *body)
    return element("table", *parts, class_=class_ or None)


def _cell(markup: str, side: str | None) -> str:
    """A cell; one that brings its own element along stays as it is."""
    return markup if markup.startswith("<td") else element("td", markup, class_=side)


def swatch(class_: str) -> str:
    """A square in a colour of the pictures."""
    square = element("rect", x=2, y=2, width=12, height=12, rx=2, class_=class_)
    return element("svg", square, viewBox="0 0 16 16", aria_hidden="true")


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """A line of signs, which are markup, and what they mean."""
    return element("ul", *(element("li", sign, to_markup(words)) for sign, words in entries), class_="legend")


def figure(caption: str, *content: str) -> str:
    """A picture under its caption, which is markup."""
    return element("figure", element("figcaption", caption), *content)


def caption(title: str, words: str = "") -> str:
    """A heading for a picture and, dimmed, what more is to be said."""
    more = f" {element('span', to_markup(words))}" if words else ""
    return element("strong", to_markup(title)) + more
