"""The sections of the HTML report about layers and soak."""

import itertools
import re
from collections.abc import Callable
from dataclasses import replace

from edge_seg.apps.profile.rows import Profile, Roof
from edge_seg.apps.report.html import to_html


def test_layers_under_the_roof_say_what_binds_them(
    profile: Profile, table_rows: Callable[[str, str], list[str]]
) -> None:
    rows = table_rows(to_html(profile), "layers")

    assert len(rows) == 10
    assert "/head/resize" in rows[0] and rows[0].endswith(
        '<td class="n">18.2</td><td class="n">18 %</td><td>memory</td></tr>'
    )
    assert rows[2].endswith("<td>arithmetic</td></tr>")


def test_roofs_that_are_near_each_other_have_names_apart(profile: Profile) -> None:
    (layers, *_) = profile.layers
    roof = Roof({"int8": 900.0, "bf16": 880.0, "f32": 870.0, "f16": 0.0}, 41.0)
    text = to_html(replace(profile, layers=(replace(layers, roof=roof),)))
    heights = [
        float(y) for y in re.findall(r'y="([\d.]+)" text-anchor="end" class="label on-front">\w+ \d+ GMAC/s', text)
    ]

    assert len(heights) == 6
    assert all(
        below - above >= 15 for above, below in [*itertools.pairwise(heights[:3]), *itertools.pairwise(heights[3:])]
    )
    nothing = to_html(replace(profile, layers=(replace(layers, roof=Roof({}, 0.0)),)))
    assert "Roofline" not in nothing and "/head/resize" in nothing


def test_a_soak_is_shaded_where_the_machine_throttled(profile: Profile) -> None:
    text = to_html(profile)

    assert text.count('class="throttled"') == 6
    assert "Shaded minutes: the machine throttled." in text
    assert "83.0 → 69.3" in text
    assert profile.soak
    cool = tuple(replace(m, throttled=0, celsius=None) for m in profile.soak.minutes)
    cold = to_html(replace(profile, soak=replace(profile.soak, minutes=cool)))
    assert 'class="throttled"' not in cold and "Temperature" not in cold


def test_a_short_soak_has_intervals_and_no_minutes(profile: Profile) -> None:
    assert profile.soak
    short = replace(profile.soak, interval_s=15.0, minutes=profile.soak.minutes[-6:], verdict="Steady.")
    text = to_html(replace(profile, soak=short)).partition('aria-labelledby="soak"')[2].partition("</section>")[0]

    assert "edge-seg-s, openvino on drive seed 1, 6 intervals of 15 s." in text
    assert "Shaded intervals of 15 s: the machine throttled." in text
    assert "FPS by interval of 15 s" in text and "in the first interval of 15 s" in text
    assert "minute" not in text


def test_layers_that_are_all_float_say_so(profile: Profile) -> None:
    (layers, *_) = profile.layers
    floats = tuple(replace(layer, precision="f32") for layer in layers.layers)

    text = to_html(replace(profile, layers=(replace(layers, layers=floats),)))

    assert "<p>No layer computes in INT8.</p>" in text
    assert "float islands" not in text.partition("<p>No layer computes")[2]


def test_a_soak_shows_what_other_work_took(profile: Profile) -> None:
    assert profile.soak
    busy = tuple(replace(minute, others_cpu=0.05 * minute.minute) for minute in profile.soak.minutes)
    text = to_html(replace(profile, soak=replace(profile.soak, minutes=busy)))

    assert "Others' work" in text or "Others&#x27; work" in text
    assert "0.05 → 1.50 cores" in text
    assert "cores in the first minute" not in to_html(profile)
