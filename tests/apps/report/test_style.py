"""The colours of the HTML report, by day and by night."""

import re

import pytest

from edge_seg.apps.report.style import DARK, LIGHT, STYLE


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_contrast_suffices(colours: dict[str, str]) -> None:
    def contrast(one: str, other: str) -> float:
        low, high = sorted((luminance(colours[one]), luminance(colours[other])))
        return (high + 0.05) / (low + 0.05)

    for ground in ("page", "panel"):
        assert all(contrast(text, ground) >= 4.5 for text in ("ink", "dim", "accent", "lost"))
        assert all(contrast(mark, ground) >= 3 for mark in ("won", *(f"c{i}" for i in range(8))))
    assert LIGHT.keys() == DARK.keys()
    assert set(re.findall(r"var\(--(\w+)\)", STYLE)) - {"c"} <= LIGHT.keys()
