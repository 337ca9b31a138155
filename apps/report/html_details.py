"""The sections of the HTML report about what was looked at more closely: layers and soak."""

from collections.abc import Sequence

from edge_seg.apps.profile.rows import Layer, Layers, Soak
from edge_seg.apps.report.bars import share_bar
from edge_seg.apps.report.columns import shown
from edge_seg.apps.report.findings import Position, Shares, position, shares, top_layers
from edge_seg.apps.report.lines import (
    ROOF_NARROW_PX,
    ROOF_WIDE_PX,
    colour_of,
    curve,
    known_measures,
    placed_layers,
    roofline,
)
from edge_seg.apps.report.markup import caption, figure, legend, scrolling, section, swatch, table
from edge_seg.apps.report.svg import element
from edge_seg.apps.report.words import compact, interval, percent, to_markup

BAR_PX = 90.0


def layers_section(found: Sequence[Layers]) -> str:
    """Where the time of a run goes, for each combination whose layers were timed."""
    parts = [part for number, layers in enumerate(found, 1) if layers.layers for part in _layers_parts(number, layers)]
    about = (
        "Times of the run-time's own profiler. Reformat moves bytes and computes nothing; a float island is a run of "
        "float layers between INT8 ones, and costs a conversion at both ends."
    )
    return section("layers", "Layers", *parts, about=about) if parts else ""


def _layers_parts(number: int, layers: Layers) -> list[str]:
    split = shares(layers)
    parts = _share_parts(split)
    bar = share_bar(parts, name=f"share-{number}", title=f"Shares of the time: {layers.label}")
    entries = [(swatch(class_), f"{key} {percent(share)}") for key, (share, class_) in parts.items()]
    content = [element("h3", to_markup(layers.label)), element("p", to_markup(split.island_words()))]
    content += [element("figure", bar, legend(entries)), _top_table(layers)]
    places = placed_layers(layers)
    if places and layers.roof is not None:
        words = f"memory {compact(layers.roof.gb_per_s)} GB/s; the larger a circle, the longer its layer takes"
        title = f"Layers under the roof: {layers.label}"
        pictures = [
            roofline(places, layers.roof, size, name=f"roof-{number}-{class_}", title=title, class_=class_)
            for class_, size in (("wide", ROOF_WIDE_PX), ("narrow", ROOF_NARROW_PX))
        ]
        content.append(figure(caption("Roofline", words) + _precision_legend(places), *pictures))
    return content


def _share_parts(split: Shares) -> dict[str, tuple[float, str]]:
    named = {
        "INT8": (split.int8, f"{colour_of('int8')} solid"),
        "float": (split.floats, f"{colour_of('f32')} solid"),
        "other types": (split.other, "c5 solid"),
        "quantize": (split.quantize, "c1 solid"),
        "reformat": (split.reformat, "c7 solid"),
    }
    return {key: part for key, part in named.items() if part[0] > 0}


def _precision_legend(places: Sequence[Position]) -> str:
    precisions = dict.fromkeys(place.layer.precision for place in places)
    return legend((swatch(f"{colour_of(name)} solid"), name) for name in precisions)


def _top_table(layers: Layers) -> str:
    """The layers that take longest, with a bar for their share; where there is a roof, how near each comes to it."""
    whole = sum(layer.ms for layer in layers.layers) or 1.0
    top = top_layers(layers)
    heads = ["layer", "kind", "precision", "role", "time <small>ms</small>", "share", "GMAC", "moved <small>MB</small>"]
    numeric = [False] * 4 + [True, False, True, True]
    if layers.roof is not None:
        heads, numeric = (
            [*heads, "reached <small>GMAC/s</small>", "of the roof", "bound by"],
            [*numeric, True, True, False],
        )
    lines = [("", [*_layer_cells(layer, whole, top[0].ms), *_roof_cells(layer, layers)]) for layer in top]
    count = f"The {len(top)} of {len(layers.layers)} layers that take longest"
    return scrolling(table(heads, lines, numeric), f"{count}: {layers.label}")


def _layer_cells(layer: Layer, whole: float, longest: float) -> list[str]:
    bar = element(
        "rect", x=0, y=0, width=BAR_PX * layer.ms / (longest or 1.0), height=10, rx=1.5, class_=_role_class(layer)
    )
    drawn = element("svg", bar, viewBox=f"0 0 {BAR_PX:.0f} 10", class_="inline-bar", aria_hidden="true")
    name = element("span", to_markup(layer.name), class_="long")
    words = [to_markup(word) for word in (layer.kind, layer.precision, layer.role)]
    share = element("span", percent(layer.ms / whole), class_="share") + drawn
    return [name, *words, f"{layer.ms:.3f}", share, shown(layer.gmacs, 3), shown(layer.mb, 2)]


def _role_class(layer: Layer) -> str:
    if layer.role == "compute":
        return f"{colour_of(layer.precision)} solid"
    return "c1 solid" if layer.role == "quantize" else "c7 solid"


def _roof_cells(layer: Layer, layers: Layers) -> list[str]:
    if layers.roof is None:
        return []
    place = position(layer, layers.roof)
    if place is None:
        return ["", "", ""]
    share = "" if place.share is None else percent(place.share)
    bound = "" if place.allowed is None else "memory" if place.memory_bound else "arithmetic"
    return [compact(place.reached), share, bound]


def soak_section(soak: Soak | None) -> str:
    """The curves of a soak and its verdict; empty where there was none."""
    if soak is None or not soak.minutes:
        return ""
    panels = []
    for measure in known_measures(soak.minutes):
        values = list(measure.values(soak.minutes).values())
        words = f"{values[0]:.{measure.digits}f} → {measure.words(values[-1])}"
        panels.append(figure(caption(measure.heading, words), curve(soak, measure, name=f"soak-{measure.field}")))
    count = len(soak.minutes)
    where = f"{soak.label} on {soak.source}, {count} {interval(soak.interval_s, many=count > 1)}."
    if any(minute.throttled for minute in soak.minutes):
        where += f" Shaded {interval(soak.interval_s, many=True)}: the machine throttled."
    verdict = element("p", to_markup(soak.verdict), class_="lead")
    return section("soak", "Soak", verdict, element("div", *panels, class_="panels"), about=where)
