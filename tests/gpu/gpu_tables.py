"""The GPU bench's rows as Markdown; docs/tensorrt.md has the same heads."""

import statistics
from collections.abc import Iterator
from typing import Any

Row = dict[str, Any]

FILES = (
    "| net | engine | mIoU | drop | pixels as on ONNX Runtime | MB | built in s (warm: timings known) | "
    "GPU memory, MB |"
)
TIMES = (
    "| net | engine | N | enqueue, p50 / p95 / p99 ms | infer with copies | pipelined, from batch to batch | "
    "images/s | of the enqueue rate (least) | more than an enqueue, us | infer as a graph | "
    "pipelined as graphs, images/s |"
)
AGAINST = "| net | engine | N | ms | against PyTorch eager FP32 | torch.compile FP16 | CUDA graph FP16 |"


def tables(rows: list[Row]) -> Iterator[str]:
    """Lines of three tables: accuracy and size, times, and how many times as fast as PyTorch.

    What could not be built or measured says why in the first cell behind its name.
    """
    full = {row["net"]: row["judged"]["miou"] for row in rows if row["way"] == "FP32" and "miou" in row["judged"]}
    yield from _table(FILES, [_file_cells(row, full.get(row["net"])) for row in rows])
    engines = [(row, batch) for row in rows for batch in row["batches"]]
    yield ""
    yield from _table(TIMES, [_time_cells(row, batch) for row, batch in engines])
    yield ""
    compared = [(row, batch) for row, batch in engines if "against" in row["batches"][batch]]
    yield from _table(AGAINST, [_against_cells(row, batch) for row, batch in compared])


def _table(head: str, rows: list[list[str]]) -> Iterator[str]:
    width = head.count("|") - 1
    yield head
    yield "|---" * width + "|"
    for cells in rows:
        yield f"| {' | '.join([*cells, *[''] * (width - len(cells))])} |"


def _file_cells(row: Row, full: float | None) -> list[str]:
    """Of the engine for one picture."""
    names, judged, one = [row["net"], row["way"]], row["judged"], next(iter(row["batches"].values()))
    if "error" in one:
        return [*names, one["error"]]
    miou, same = judged.get("miou"), judged.get("agreement")
    told = judged.get("error", "" if miou is None else f"{miou:.4f}")
    drop = "" if miou is None or full is None else f"{full - miou:.4f}"
    cells = [*names, told, drop, "" if same is None else f"{same:.4f}", f"{one['engine_mb']:.1f}"]
    built = f"{one['build_s']:.0f}{' (warm)' if one['timings_known'] else ''}"
    return [*cells, built, f"{one['memory_mb']:.0f}" if "memory_mb" in one else ""]


def _time_cells(row: Row, batch: str) -> list[str]:
    found, names = row["batches"][batch], [row["net"], row["way"], batch]
    if "error" in found:
        return [*names, found["error"]]
    times = [_ms(found[name]) for name in ("enqueue", "infer", "loop")]
    rounds = list(zip(found["loop_rates"], found["enqueue_rates"], strict=True))
    shares = [loop / enqueue for loop, enqueue in rounds]
    more_us = statistics.median(int(batch) * (1e6 / loop - 1e6 / enqueue) for loop, enqueue in rounds)
    rates = [f"{statistics.median(found['loop_rates']):.0f}", f"{statistics.median(shares):.2f} ({min(shares):.2f})"]
    graphs = [_ms(found["graph"]), f"{found['graph_loop_rate']:.0f}"] if "graph" in found else []
    return [*names, *times, *rates, f"{more_us:.0f}", *graphs]


def _ms(percentiles: list[float]) -> str:
    return " / ".join(f"{ms:.3f}" for ms in percentiles)


def _against_cells(row: Row, batch: str) -> list[str]:
    found, names = row["batches"][batch], [row["net"], row["way"], batch]
    against = found["against"].values()
    known = [ways for ways in against if "error" not in ways]
    cells = [ways.get("error") or f"{ways['ratio']:.2f} ({ways['least']:.2f})" for ways in against]
    return [*names, f"{known[0]['ms']:.3f}" if known else "", *cells]
