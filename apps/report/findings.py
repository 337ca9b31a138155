"""What a profile says, before it is drawn or printed: the answer, what INT8 costs, and where the layers' time goes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_seg.apps.profile.pareto import SAME_MIOU, front
from edge_seg.apps.profile.rows import Layer, Layers, Roof, Row
from edge_seg.apps.report.words import percent

TOP_LAYERS = 10
FLOATS = ("f32", "f16", "bf16")


@dataclass(frozen=True, slots=True)
class Ends:
    """The ends of the front, the most accurate row and the fastest: one and the same where that is both.

    Rows within SAME_MIOU of the highest mIoU count as equally accurate, as for `pick`: the fastest of them stands here.
    """

    accurate: Row
    fast: Row


def ends(rows: Sequence[Row]) -> Ends | None:
    """The ends of the front of mIoU and p95; None where there is no front."""
    on_front = [rows[index] for index in sorted(front(rows))]
    if not on_front:
        return None
    highest = max(row.miou or 0.0 for row in on_front)
    accurate = [row for row in on_front if (row.miou or 0.0) >= highest - SAME_MIOU]
    return Ends(min(accurate, key=p95_of), min(on_front, key=p95_of))


def p95_of(row: Row) -> float:
    """p95 of a row that has one, in milliseconds; infinite for another."""
    return float("inf") if row.latency_ms is None else row.latency_ms.p95


def answer(rows: Sequence[Row]) -> str:
    """The profile in one sentence."""
    found = ends(rows)
    if found is None:
        timed = [row for row in rows if row.latency_ms is not None and row.batch == 1]
        if not timed:
            return "No combination gave a latency: the table says why."
        fast = min(timed, key=p95_of)
        return f"Fastest is {fast.label} with p95 {p95_of(fast):.2f} ms{_doubt(fast)}; accuracy was not measured."
    accurate, fast = found.accurate, found.fast
    if accurate is fast:
        return f"{fast.label} is both the most accurate and the fastest: {_point(fast)}{_doubt(fast)}."
    lost, saved = (accurate.miou or 0.0) - (fast.miou or 0.0), p95_of(accurate) - p95_of(fast)
    return (
        f"Most accurate, within {SAME_MIOU} of the highest mIoU, is {accurate.label} with "
        f"{_point(accurate)}{_doubt(accurate)}; fastest on the front is {fast.label} with "
        f"{_point(fast)}{_doubt(fast)}, {saved:.2f} ms less for {lost:.4f} mIoU."
    )


def _point(row: Row) -> str:
    return f"mIoU {row.miou:.4f} at p95 {p95_of(row):.2f} ms"


def _doubt(row: Row) -> str:
    return "" if row.disturbed is None else " (timed under disturbance)"


@dataclass(frozen=True, slots=True)
class Drop:
    """An INT8 row beside the FP32 row of the same net, and the IoU lost by class: FP32 less INT8.

    A class that has no IoU in one of them is left out.
    """

    int8: Row
    fp32: Row
    lost: Mapping[str, float]

    @property
    def mean(self) -> float | None:
        """mIoU lost."""
        return None if self.fp32.miou is None or self.int8.miou is None else self.fp32.miou - self.int8.miou

    @property
    def title(self) -> str:
        """The INT8 file and its run-time."""
        return f"{self.int8.model}, {self.int8.runtime}"

    @property
    def against(self) -> str:
        """What the row is compared with: on another run-time the loss is not that of INT8's numbers alone."""
        other = "" if self.fp32.runtime == self.int8.runtime else ", another run-time"
        return f"against {self.fp32.model}, {self.fp32.runtime}{other}"


def int8_drops(rows: Sequence[Row]) -> list[Drop]:
    """What INT8 costs: for each INT8 file on each run-time, beside FP32 of the same name, size, and data.

    FP32 is taken on the same run-time where it was profiled there, else from the first row that has it.
    """
    found: dict[tuple[str, str], Drop] = {}
    for row in rows:
        key = row.sha256, row.runtime
        if row.precision == "INT8" and row.accuracy is not None and key not in found:
            twin = _fp32_of(row, rows)
            if twin is not None:
                found[key] = Drop(row, twin, _lost(twin, row))
    return list(found.values())


def _fp32_of(int8: Row, rows: Sequence[Row]) -> Row | None:
    alike = [row for row in rows if row.precision == "FP32" and _judged_as(row) == _judged_as(int8)]
    return min(alike, key=lambda row: row.runtime != int8.runtime, default=None)


def _judged_as(row: Row) -> tuple[object, ...] | None:
    """What two rows have to share before their accuracies are compared; None without accuracy."""
    found = row.accuracy
    return None if found is None else (row.name, row.width, row.height, found.data, found.images)


def _lost(fp32: Row, int8: Row) -> dict[str, float]:
    assert fp32.accuracy is not None and int8.accuracy is not None
    before, after = fp32.accuracy.class_iou, int8.accuracy.class_iou
    pairs = {name: (iou, after.get(name)) for name, iou in before.items()}
    return {name: iou - left for name, (iou, left) in pairs.items() if iou is not None and left is not None}


@dataclass(frozen=True, slots=True)
class Shares:
    """Where the time of a run goes: shares of 1, by what layers do and in what; and the float islands.

    An island is a run of float layers between INT8 ones: each costs a conversion there and one back. Float layers at
    the two ends are none, and what only moves bytes neither makes an island nor ends one.
    """

    int8: float
    floats: float
    other: float
    reformat: float
    quantize: float
    islands: int
    island: float

    def words(self) -> str:
        """The shares in a sentence."""
        named = {
            "INT8": self.int8,
            "float": self.floats,
            "other types": self.other,
            "reformat": self.reformat,
            "quantize": self.quantize,
        }
        told = ", ".join(f"{name} {percent(share)}" for name, share in named.items() if share)
        return f"Of the time: {told}. {self.island_words()}" if told else self.island_words()

    def island_words(self) -> str:
        """How many float islands there are, and what they take; where nothing is INT8, there can be none."""
        if not self.int8:
            return "No layer computes in INT8."
        count = f"{self.islands or 'No'} float island{'' if self.islands == 1 else 's'} between INT8 layers"
        return count + (f", {percent(self.island)} of the time." if self.islands else ".")


def shares(layers: Layers) -> Shares:
    """The shares of all layers' time."""
    whole = sum(layer.ms for layer in layers.layers) or 1.0
    compute = [layer for layer in layers.layers if layer.role == "compute"]
    islands = float_islands(layers.layers)
    by_kind = {
        "int8": sum(layer.ms for layer in compute if layer.precision == "int8"),
        "floats": sum(layer.ms for layer in compute if layer.precision in FLOATS),
        "other": sum(layer.ms for layer in compute if layer.precision not in ("int8", *FLOATS)),
        "reformat": sum(layer.ms for layer in layers.layers if layer.role == "reformat"),
        "quantize": sum(layer.ms for layer in layers.layers if layer.role == "quantize"),
    }
    in_islands = sum(layer.ms for island in islands for layer in island)
    parts = {kind: ms / whole for kind, ms in by_kind.items()}
    return Shares(**parts, islands=len(islands), island=in_islands / whole)


def float_islands(layers: Sequence[Layer]) -> list[list[Layer]]:
    """The runs of float layers that lie between INT8 ones, in order.

    >>> run = [Layer(str(i), "Conv", p, "compute", 1.0) for i, p in enumerate(["f32", "int8", "f32", "f32", "int8"])]
    >>> [[layer.name for layer in island] for island in float_islands(run)]
    [['2', '3']]
    """
    islands: list[list[Layer]] = []
    run: list[Layer] = []
    inside = False
    for layer in layers:
        if layer.role != "compute":
            continue
        if layer.precision == "int8":
            islands += [run] if inside and run else []
            run, inside = [], True
        elif layer.precision in FLOATS:
            run.append(layer)
    return islands


def top_layers(layers: Layers) -> list[Layer]:
    """The layers that take longest."""
    return sorted(layers.layers, key=lambda layer: -layer.ms)[:TOP_LAYERS]


@dataclass(frozen=True, slots=True)
class Position:
    """A layer under the roof: MAC a byte moved, GMAC a second reached, and what the roof allows at that intensity.

    Williams, Waterman, Patterson: Roofline (CACM 2009). `allowed` is None where the precision has no roof.
    """

    layer: Layer
    intensity: float
    reached: float
    allowed: float | None
    memory_bound: bool

    @property
    def share(self) -> float | None:
        """Reached of what is allowed."""
        return None if self.allowed is None else self.reached / self.allowed


def position(layer: Layer, roof: Roof) -> Position | None:
    """Where a layer stands; None for one that computes nothing or whose numbers are not known.

    >>> position(Layer("a", "Conv", "int8", "compute", 1.0, 0.4, 4.0), Roof({"int8": 2500.0}, 20.0)).share
    0.2
    """
    if not layer.gmacs or not layer.mb or not layer.ms or not roof.gb_per_s:
        return None
    intensity, peak = layer.gmacs / layer.mb * 1e3, roof.gmacs_per_s.get(layer.precision) or None
    slope = intensity * roof.gb_per_s
    allowed = None if peak is None else min(peak, slope)
    return Position(layer, intensity, layer.gmacs / layer.ms * 1e3, allowed, peak is not None and slope < peak)
