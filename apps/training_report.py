"""The report of a training run: a picture of its curves, its class IoU and what the net makes of some frames."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edge_seg.apps.overlay import Overlay
from edge_seg.apps.sinks import encode_png
from edge_seg.apps.training_curves import LOSS, RATE, VAL, Curves, read_curves
from edge_seg.data import open_dataset
from edge_seg.evaluate import Scores
from edge_seg.files import write_whole
from edge_seg.metrics import ConfusionMatrix
from edge_seg.segmenter import open_segmenter
from edge_seg.spec import ModelSpec
from edge_seg.types import Frame, UInt8Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

Sample = tuple[Frame, UInt8Array]
"""A frame with truth, and the labels found."""

WIDTH_PX, DPI = 1600, 100
CURVES_PX, BARS_PX, TITLE_PX, MOST_PICTURE_PX = 430, 330, 34, 420
COLUMN_PX, LINE_PX, LETTER_PX = WIDTH_PX // 3 - 20, 25, 9
SAMPLES = 3
BARS_IN_A_ROW = 32
MOST_LETTERS = 24

TITLE_PT, TEXT_PT, SMALL_PT = 13, 11, 9
INK, DIM, GRID = "#1f2933", "#66727f", "#e3e7eb"
BLUE, GREEN, RED = "#2563eb", "#0f8a5f", "#d1293d"
MEAN_LINE: dict[str, Any] = {"color": RED, "linewidth": 1, "linestyle": (0, (5, 4)), "zorder": 0.6}


def write_training_report(path: Path, run_dir: Path, scores: Scores, *, model: Path, test: str) -> None:
    """Write a PNG of the run in `run_dir`, whose checkpoint or ONNX `model` has `scores` on the data set `test`.

    SinkError where it cannot be written.
    """
    dataset = open_dataset(test)
    with open_segmenter(model, "onnxruntime" if model.suffix == ".onnx" else "torch") as segment:
        frames = [dataset[index] for index in spread(len(dataset), SAMPLES)]
        samples = [(frame, segment(frame.image).labels) for frame in frames]
        spec = segment.spec
    write_whole(path, draw_report(spec, scores, read_curves(run_dir), test_name=dataset.name, samples=samples))


def spread(count: int, wanted: int) -> list[int]:
    """The indices of `wanted` items, or of all where there are fewer, each from the middle of its share of `count`.

    >>> spread(12, 3), spread(2, 3)
    ([2, 6, 10], [0, 1])
    """
    return sorted({(2 * i + 1) * count // (2 * wanted) for i in range(wanted)})


def draw_report(spec: ModelSpec, scores: Scores, curves: Curves, *, test_name: str, samples: Sequence[Sample]) -> bytes:
    """The report as a PNG file's content: WIDTH_PX wide, as high as classes and samples ask for."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = _heights(spec, samples)
    figure = Figure((WIDTH_PX / DPI, sum(heights) / DPI), DPI, facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.08, wspace=0, hspace=0)
    curves_part, bars_part, samples_part = figure.subfigures(3, 1, squeeze=False, height_ratios=heights)[:, 0]
    for part in (curves_part, bars_part, samples_part):
        part.set_facecolor("white")
    headline = f"{spec.name}, {spec.width}x{spec.height}, trained on {spec.dataset}"
    curves_part.suptitle(_plain(headline, 100), x=0.012, ha="left", size=18, weight="bold", color=INK)
    _draw_curves(curves_part, curves, scores.miou)
    _draw_bars(bars_part, spec, scores, test_name)
    _draw_samples(samples_part, spec, samples)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # of class names in all the world's letters
        canvas = FigureCanvasAgg(figure)
        canvas.draw()  # type: ignore[no-untyped-call]
    rgba = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return encode_png(np.asarray(cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGR), np.uint8))


def _heights(spec: ModelSpec, samples: Sequence[Sample]) -> tuple[int, int, int]:
    """Pixels for curves, bars and samples; each a multiple of 25, which is a whole number of pixels in inches too."""
    classes = len(spec.classes)
    picture = max(_fitting_size(frame.image)[1] for frame, _ in samples)
    legend = LINE_PX * math.ceil((classes + 1) / _legend_columns(spec)) + 40
    exact = (CURVES_PX, BARS_PX * math.ceil(classes / BARS_IN_A_ROW), len(samples) * (picture + TITLE_PX) + legend)
    first, second, third = (25 * math.ceil(height / 25) for height in exact)
    return first, second, third


def _draw_curves(part: "SubFigure", curves: Curves, test_miou: float | None) -> None:
    """Loss over learning rate, and beside them mIoU where it was watched."""
    rows = [LOSS] * 3 + [RATE] * (RATE in curves)
    axes = part.subplot_mosaic([[row, VAL] if VAL in curves else [row] for row in rows])
    if LOSS not in curves:
        axes[LOSS].set_axis_off()
        _title(axes[LOSS], "Training loss: no logs were found")
        return
    epochs = max(curves[LOSS])
    for axis in axes.values():
        _style(axis)
        axis.set_xlim(0.5, epochs + max(0.5, 0.02 * epochs))
        axis.locator_params("x", integer=True, min_n_ticks=1)
    _draw_curve(axes[LOSS], curves[LOSS], BLUE)
    _title(axes[LOSS], f"Training loss, {curves[LOSS][epochs]:.4g} after {_count(epochs, 'epoch')}")
    if RATE in curves:
        _draw_rate(axes[RATE], curves[RATE])
        axes[LOSS].tick_params(labelbottom=False)
    axes[rows[-1]].set_xlabel("epoch", size=TEXT_PT, color=DIM)
    if VAL in curves:
        _draw_watched(axes[VAL], curves[VAL], test_miou, epochs=epochs)


def _draw_rate(axis: "Axes", rates: dict[int, float]) -> None:
    _draw_curve(axis, rates, DIM)
    _title(axis, "Learning rate, mean of each epoch", size=TEXT_PT)
    axis.set_ylim(bottom=0)
    axis.locator_params("y", nbins=3)
    axis.yaxis.set_major_formatter("{x:g}")


def _draw_watched(axis: "Axes", watched: dict[int, float], test_miou: float | None, *, epochs: int) -> None:
    """The mIoU on val, and that on test as a point at the run's end with a line to it."""
    _draw_curve(axis, watched, GREEN, label=f"val, watched: {list(watched.values())[-1]:.4f}")
    if test_miou is not None:
        label = f"test, at the end: {test_miou:.4f}"
        axis.axhline(test_miou, **MEAN_LINE)
        axis.plot([epochs], [test_miou], "D", color=RED, markersize=8, label=label, clip_on=False)
    highest = max(value for value in (*watched.values(), test_miou or 0) if not math.isnan(value))
    axis.set_ylim(0, min(1.02, 1.2 * highest) or 1)
    axis.set_xlabel("epoch", size=TEXT_PT, color=DIM)
    _title(axis, "mIoU")
    axis.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=TEXT_PT, borderaxespad=0.2)


def _draw_curve(axis: "Axes", values: dict[int, float], colour: str, *, label: str | None = None) -> None:
    marker = "o" if len(values) <= 30 else ""  # more are a band
    axis.plot(list(values), list(values.values()), color=colour, linewidth=2, marker=marker, markersize=5, label=label)


def _draw_bars(part: "SubFigure", spec: ModelSpec, scores: Scores, test_name: str) -> None:
    """IoU by class in the classes' order and colours, over several rows where they are many."""
    rows = math.ceil(len(spec.classes) / BARS_IN_A_ROW)
    size = math.ceil(len(spec.classes) / rows)
    axes = part.subplots(rows, 1, squeeze=False)[:, 0]
    for row, axis in enumerate(axes):
        chosen = spec.classes[row * size : (row + 1) * size]
        ious = [scores.class_iou[c.name] for c in chosen]
        colours = [_colour(c.rgb) for c in chosen]
        _style(axis)
        bars = axis.bar(range(len(chosen)), [iou or 0 for iou in ious], color=colours, edgecolor=DIM, linewidth=0.6)
        values = ["absent" if iou is None else f"{iou:.2f}" for iou in ious]
        above_the_mean = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
        axis.bar_label(bars, values, size=SMALL_PT, color=INK, padding=3, bbox=above_the_mean)
        if scores.miou is not None:
            axis.axhline(scores.miou, **MEAN_LINE)
        axis.set_xlim(-0.6, size - 0.4)
        axis.set_ylim(0, 1.08)
        _name_bars(axis, [_plain(c.name) for c in chosen], WIDTH_PX * 0.95 / size)
    mean = "not defined" if scores.miou is None else f"{scores.miou:.4f} (dashed)"
    _title(axes[0], f"Class IoU on {_plain(test_name, 60)}, {_count(scores.images, 'image')}: mIoU {mean}")


def _name_bars(axis: "Axes", names: list[str], room_px: float) -> None:
    """Class names under the bars, slanted where they would touch."""
    axis.set_xticks(range(len(names)), names, size=TEXT_PT)
    axis.tick_params("x", length=0, labelcolor=INK)
    if max(map(len, names)) * LETTER_PX > room_px - 8:
        axis.set_xticks(range(len(names)), names, size=TEXT_PT, rotation=40, ha="right", rotation_mode="anchor")


def _draw_samples(part: "SubFigure", spec: ModelSpec, samples: Sequence[Sample]) -> None:
    """A row for each frame: picture, truth and prediction; and the classes' colours below."""
    overlay = Overlay(spec, alpha=1.0, borders=False)
    for axes, (frame, labels) in zip(part.subplots(len(samples), 3, squeeze=False), samples, strict=True):
        assert frame.truth is not None
        matrix = ConfusionMatrix(len(spec.classes))
        matrix.update(labels, frame.truth)
        miou = matrix.miou()
        named = {
            _plain(frame.name or f"frame {frame.index}", 50): frame.image,
            "truth": overlay.draw(frame.image, frame.truth),
            "prediction" + ("" if math.isnan(miou) else f", mIoU {miou:.2f}"): overlay.draw(frame.image, labels),
        }
        for axis, (title, image) in zip(axes, named.items(), strict=True):
            axis.imshow(cv2.cvtColor(_small(image), cv2.COLOR_BGR2RGB))
            axis.set_axis_off()
            _title(axis, title, size=TEXT_PT)
    _draw_legend(part, spec)


def _draw_legend(part: "SubFigure", spec: ModelSpec) -> None:
    """The classes' colours in rows."""
    from matplotlib.patches import Patch

    columns = _legend_columns(spec)
    entries = [(f" {_plain(c.name)}", c.rgb) for c in spec.classes] + [(" no truth", (0, 0, 0))]
    entries = [entry for column in range(columns) for entry in entries[column::columns]]  # Matplotlib fills columns
    names, patches = [], []
    for name, rgb in entries:
        names.append(name)  # with the space before it: a name that begins with _ would be left out
        patches.append(Patch(facecolor=_colour(rgb), edgecolor=DIM, linewidth=0.6))
    part.legend(patches, names, loc="outside lower center", ncols=columns, frameon=False, fontsize=TEXT_PT)


def _small(image: UInt8Array) -> UInt8Array:
    return np.asarray(cv2.resize(image, _fitting_size(image), interpolation=cv2.INTER_AREA), np.uint8)


def _fitting_size(image: UInt8Array) -> tuple[int, int]:
    """Width and height of a picture that fits into its column."""
    height, width = image.shape[:2]
    scale = min(COLUMN_PX / width, MOST_PICTURE_PX / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _legend_columns(spec: ModelSpec) -> int:
    longest = max(len(_plain(name)) for name in spec.class_names)
    entries, most = len(spec.classes) + 1, int(WIDTH_PX * 0.95 / (70 + LETTER_PX * longest))
    return math.ceil(entries / math.ceil(entries / most))


def _style(axis: "Axes") -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(DIM)
    axis.grid(axis="y", color=GRID)
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=TEXT_PT, labelcolor=DIM, color=DIM)


def _title(axis: "Axes", text: str, *, size: int = TITLE_PT) -> None:
    axis.set_title(text, loc="left", size=size, color=INK, weight="bold" if size == TITLE_PT else "normal")


def _plain(text: str, most: int = MOST_LETTERS) -> str:
    r"""A text of the user's as Matplotlib shows it letter by letter, cut where it is long.

    >>> _plain("cost $1 or $2"), _plain("a" * 40, 5)
    ('cost \\$1 or \\$2', 'aaaa…')
    """
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    cut = shown if len(shown) <= most else f"{shown[: most - 1]}…"
    return cut.replace("$", r"\$")


def _colour(rgb: tuple[int, int, int]) -> str:
    return f"#{bytes(rgb).hex()}"


def _count(number: int, noun: str) -> str:
    """A number with its noun.

    >>> _count(1, "epoch"), _count(12, "epoch")
    ('1 epoch', '12 epochs')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
