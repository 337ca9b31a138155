"""The heat map of a sensitivity analysis: layers by classes, red where a layer costs IoU in INT8."""

import io
import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_seg.calib.sensitivity import LayerEffect, Sensitivity, mean_iou
from edge_seg.calib.sensitivity_kept import ClassIou

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

DPI = 100
CELL_PX, NARROW_PX, ROW_PX, LETTER_PX = 44, 14, 24, 8
MOST_NUMBERED = 40
"""Columns that get a number in each cell; where there are more, cells are narrow."""
LEAST_SCALE = 1.0
"""Thousandths of IoU that get the full colour at least: less is noise."""
MOST_SHOWN = 99.0
"""Percent of the cells that the colours tell apart: one that is far off would make all others pale."""
MOST_LETTERS = 48

MEAN = "mIoU"
TITLES = ("lost with this layer alone in INT8", "won back with this layer alone in float")
TITLE_PT, TEXT_PT, SMALL_PT = 13, 10, 8
INK, DIM, EMPTY = "#1f2933", "#66727f", "#e3e7eb"

Cells = NDArray[np.float64]


def draw_heat_map(found: Sensitivity) -> bytes:
    """The content of a PNG file: the layers, worst first, by mIoU and classes, in thousandths of IoU. Needs matplotlib.

    On the left what each layer alone loses in INT8, on the right what it alone wins back in float. Grey is a class that
    the truth never has; a row of an evaluation that was not made says so.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns, names = [MEAN, *map(_cut, found.fp32)], [_row_name(layer) for layer in found.layers]
    sides = [to_cells([layer.class_drop for layer in found.layers], len(found.fp32))]
    sides += [to_cells([layer.class_gain for layer in found.layers], len(found.fp32))]
    scale = full_colour(np.concatenate(sides))
    figure = Figure(_size(names, columns), DPI, facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.08)
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2, sharey=True)
    for axis, cells, title in zip(axes, sides, TITLES, strict=True):
        image = _draw_side(axis, cells, columns, scale=scale)
        axis.set_title(title, size=TEXT_PT, color=INK)
    axes[0].set_yticks(range(len(names)), names, size=TEXT_PT, color=INK, parse_math=False)
    figure.suptitle(_headline(found), x=0.01, ha="left", size=TITLE_PT, weight="bold", color=INK, parse_math=False)
    bar = figure.colorbar(image, ax=axes, location="bottom", aspect=60, fraction=0.02, extend="both")
    bar.set_label("thousandths of IoU; red: the layer costs so much", size=TEXT_PT, color=DIM)
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # of names in all the world's letters
        figure.savefig(content, format="png")
    return content.getvalue()


def to_cells(changes: Sequence[ClassIou | None], classes: int) -> Cells:
    """Thousandths of IoU [layers, 1 + classes], the mean first; NaN where a class or a layer has none.

    >>> to_cells([{"Road": 0.002, "Sky": None}, None], 2).tolist()
    [[2.0, 2.0, nan], [nan, nan, nan]]
    """
    cells = np.full((len(changes), 1 + classes), np.nan)
    for row, change in zip(cells, changes, strict=True):
        if change is not None:
            row[1:] = [np.nan if iou is None else 1e3 * iou for iou in change.values()]
            row[0] = 1e3 * mean_iou(change)
    return cells


def full_colour(cells: Cells) -> float:
    """The thousandths of IoU from which on a cell has the full colour.

    >>> full_colour(np.array([0.1, np.nan])), full_colour(np.array([-4.0, 4.0])), full_colour(np.array([np.nan]))
    (1.0, 4.0, 1.0)
    """
    known = np.abs(cells[~np.isnan(cells)])
    return max(LEAST_SCALE, float(np.percentile(known, MOST_SHOWN))) if len(known) else LEAST_SCALE


def _size(names: list[str], columns: list[str]) -> tuple[float, float]:
    """Inches for all: rows' names, two sides of cells, and above them the columns' names."""
    cell = CELL_PX if len(columns) <= MOST_NUMBERED else NARROW_PX
    width = LETTER_PX * max(map(len, names)) + 2 * cell * len(columns) + 80
    height = ROW_PX * len(names) + LETTER_PX * max(map(len, columns)) + 190
    return max(width, 900) / DPI, height / DPI


def _draw_side(axis: "Axes", cells: Cells, columns: list[str], *, scale: float) -> "AxesImage":
    axis.set_facecolor(EMPTY)
    image = axis.imshow(cells, cmap="RdBu_r", vmin=-scale, vmax=scale, aspect="auto", interpolation="nearest")
    axis.set_xticks(range(len(columns)), columns, size=TEXT_PT, rotation=90, color=INK, parse_math=False)
    axis.tick_params(length=0, top=False, bottom=False, labeltop=True, labelbottom=False)
    axis.spines[:].set_visible(False)
    axis.axvline(0.5, color="white", linewidth=4)
    for row, values in enumerate(cells.tolist()):
        if all(map(math.isnan, values)):
            _write(axis, ((len(columns) - 1) / 2, row), "not measured", DIM)
        elif len(columns) <= MOST_NUMBERED:
            for column, value in enumerate(values):
                _write(axis, (column, row), to_text(value), "white" if abs(value) > 0.6 * scale else INK)
    return image


def _write(axis: "Axes", place: tuple[float, float], text: str, colour: str) -> None:
    # Inside of the cells, so no matter of the layout, which would take seconds over them.
    axis.text(*place, text, size=SMALL_PT, color=colour, ha="center", va="center", in_layout=False)


def to_text(value: float) -> str:
    """A number of few letters, and none for NaN.

    >>> to_text(0.04), to_text(-0.04), to_text(-1.26), to_text(123.4), to_text(math.nan)
    ('0.0', '0.0', '-1.3', '123', '')
    """
    if math.isnan(value):
        return ""
    text = f"{value:.1f}" if abs(value) < 99.95 else f"{value:.0f}"
    return "0.0" if text == "-0.0" else text


def _row_name(layer: LayerEffect) -> str:
    sqnr = "" if layer.sqnr_db is None else f"  {layer.sqnr_db:.0f} dB"
    return _cut(short_name(layer.name)) + sqnr


def short_name(name: str) -> str:
    """An exporter's name of a node without what it says twice.

    >>> short_name("/net/stages.0/stages.0.0/body/body.1/body.1.0/Conv"), short_name("head")
    ('net/stages.0.0/body.1.0/Conv', 'head')
    """
    parts = [part for part in name.split("/") if part]
    pairs = zip(parts, [*parts[1:], ""], strict=True)
    return "/".join(part for part, after in pairs if not after.startswith(f"{part}.")) or name


def _cut(text: str, most: int = MOST_LETTERS) -> str:
    """Text as it can be drawn: of a long one its end, which tells layers apart."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return shown if len(shown) <= most else f"…{shown[1 - most :]}"


def _headline(found: Sensitivity) -> str:
    setup = found.setup
    first = f"{found.model} for {setup.target} ({setup.method}) on {found.data}, {setup.images} images"
    return f"{_cut(first, 100)}\nmIoU {mean_iou(found.fp32):.4f} in FP32, {mean_iou(found.int8):.4f} in INT8"
