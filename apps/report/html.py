"""A profile as one HTML file that needs nothing else: no script, no font, no address."""

from collections.abc import Sequence

from edge_seg.apps.profile.pareto import run_line
from edge_seg.apps.profile.rows import Profile, Row
from edge_seg.apps.report.columns import shown
from edge_seg.apps.report.findings import answer, ends, p95_of
from edge_seg.apps.report.html_classes import classes_section, drop_section
from edge_seg.apps.report.html_details import layers_section, soak_section
from edge_seg.apps.report.html_rows import front_section, loop_section, rows_section
from edge_seg.apps.report.markup import section
from edge_seg.apps.report.style import STYLE
from edge_seg.apps.report.svg import element
from edge_seg.apps.report.words import plain, to_markup

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may load for the page: nothing. Script does not run either, whatever stands in a name."""


def to_html(profile: Profile) -> str:
    """The report: one page, to be opened offline, by day and by night, printed, and read on a phone.

    Sections stand where there is data for them. Names and reasons are escaped wherever they stand.
    """
    sections = {
        "front": ("Front", front_section(profile.rows)),
        "rows": ("All rows", rows_section(profile.rows) if profile.rows else ""),
        "loop": ("Loop", loop_section(profile.rows)),
        "classes": ("Classes", classes_section(profile.rows)),
        "int8": ("INT8", drop_section(profile.rows)),
        "layers": ("Layers", layers_section(profile.layers)),
        "soak": ("Soak", soak_section(profile.soak)),
        "machine": ("Machine", _machine_section(profile)),
    }
    known = {name: (link, content) for name, (link, content) in sections.items() if content}
    links = [element("li", element("a", link, href=f"#{name}")) for name, (link, _) in known.items()]
    body = _header(profile, element("nav", element("ul", *links), aria_label="Sections"))
    body += element("main", *(content for _, content in known.values()))
    return f"<!doctype html>\n{element('html', _head(profile), element('body', body), lang='en')}\n"


def _head(profile: Profile) -> str:
    nets = ", ".join(dict.fromkeys(row.name for row in profile.rows))
    return element(
        "head",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="color-scheme" content="light dark">',
        element("title", to_markup(f"edge-seg profile: {nets}" if nets else "edge-seg profile")),
        element("style", STYLE),
    )


def _header(profile: Profile, navigation: str) -> str:
    return element(
        "header",
        element("p", "edge-seg profile", class_="eyebrow"),
        element("h1", "Accuracy against latency"),
        element("p", to_markup(answer(profile.rows)), class_="lead"),
        _cards(profile.rows),
        navigation,
    )


def _cards(rows: Sequence[Row]) -> str:
    """The two ends of the front with the commands that run them; one card where they are one row."""
    found = ends(rows)
    if found is None:
        return ""
    cards = {"Most accurate on the front": found.accurate, "Fastest on the front": found.fast}
    if found.accurate is found.fast:
        cards = {"Most accurate and fastest": found.fast}
    return element("div", *(_card(title, row) for title, row in cards.items()), class_="cards")


def _card(title: str, row: Row) -> str:
    known = [("mIoU", shown(row.miou, 4), ""), ("p95", shown(p95_of(row), 2), "ms"), ("loop", shown(row.fps, 1), "FPS")]
    known += [("energy", shown(row.joules, 3), "J"), ("file", shown(row.size_mb, 2), "MB")]
    figures = [
        element("div", element("dt", name), element("dd", value, element("small", f" {unit}") if unit else ""))
        for name, value, unit in known
        if value
    ]
    return element(
        "article",
        element("h2", title),
        element("p", to_markup(row.label), class_="name"),
        element("dl", *figures, class_="figures"),
        _command(run_line(row)),
        class_="card",
    )


def _machine_section(profile: Profile) -> str:
    """What the numbers were measured on, and the command that did it."""
    pairs = [element("dt", to_markup(k)) + element("dd", to_markup(v)) for k, v in profile.machine.items()]
    machine = element("dl", *pairs, class_="machine") if pairs else ""
    return section("machine", "Machine and command", machine, _command(profile.command))


def _command(line: str) -> str:
    """A command that breaks between its words only, since a break after a hyphen would be read as two of them."""
    words = (element("span", to_markup(word), class_="word") for word in plain(line).split(" "))
    return element("pre", element("code", " ".join(words)))
