"""What `tests/bench/profile_honesty.py` found, as the Markdown of docs/benchmarks.md."""

import statistics
from typing import Any

from compare_spread import CLOSE, rows_table, spread_table, within
from honesty_parts import deviations

Found = dict[str, Any]


def origin(measured: Found) -> str:
    """Where, when the machine did what else, and by which line a part was measured."""
    machine = measured["machine"]
    load = "load average {:.2f} before, {:.2f} after".format(*measured["load"])
    return f"`{measured['command']}` on {machine['cpu']}, cores: {machine['cores']}; {load}."


def repeat(found: Found) -> str:
    """Every number of the three profiles, how far they spread, and which rows were disturbed."""
    disturbed = [
        f"{label} in profile {number}: {reason}."
        for number, rows in enumerate(found["disturbed"], 1)
        for label, reason in rows.items()
    ]
    told = ["Timed under disturbance: " + " ".join(disturbed)] if disturbed else []
    return "\n\n".join([rows_table(found["numbers"]), spread_table(found["numbers"]), *told])


def neighbour(found: Found) -> str:
    """How far ratios between rows move beside a neighbour."""
    lines = [
        "| neighbour | rows timed | ratios between rows within 5 % of the quiet ones | median, largest deviation |"
    ]
    lines.append("|---|---|---|---|")
    for one in found["beside"]:
        off = deviations(found["quiet_p50_ms"], one["p50_ms"])
        told = f"{close(off)} of {len(off)} | {percent(statistics.median(off), 1)}, {percent(max(off), 1)}"
        lines.append(f"| {one['neighbour']} | {one['how']} | {told} |")
    return "\n".join(lines)


def close(deviations: list[float]) -> int:
    """How many are within CLOSE."""
    return sum(value <= CLOSE for value in deviations)


def bare(found: Found) -> str:
    """Our p50 against others' of the same file."""
    lines = ["| file | against | ours, p50 ms | theirs | ours / theirs, median of rounds |", "|---|---|---|---|---|"]
    for pair in found["pairs"]:
        ours, theirs = (statistics.median(pair[key]) for key in ("ours_ms", "theirs_ms"))
        lines.append(f"| {pair['model']} | {pair['against']} | {ours:.2f} | {theirs:.2f} | {ratio(pair):.3f} |")
    return "\n".join(lines)


def ratio(pair: Found) -> float:
    """The median over rounds of ours over theirs."""
    return statistics.median(one / two for one, two in zip(pair["ours_ms"], pair["theirs_ms"], strict=True))


def overhead(found: Found) -> str:
    """The share of a frame that the meters take."""
    lines = ["| a frame of edge-seg-n, inference alone, ms | its meters, ms | share |", "|---|---|---|"]
    return "\n".join([*lines, f"| {found['infer_ms']:.2f} | {found['meters_ms']:.4f} | {_share(found)} |"])


def targets(parts: dict[str, Found]) -> str:
    """What was asked for against what the parts found."""
    p50s = parts["repeat"]["numbers"]["p50 ms"]
    lines = [
        "| | target | measured |",
        "|---|---|---|",
        f"| p50 of three profiles, every row | within 5 % | {within(p50s)} of {len(p50s)} rows |",
        f"| ratios beside a busy core | within 5 % for 90 % of the pairs | {_beside(parts['neighbour'])} |",
        f"| meters of the run loop | < 2 % | {_share(parts['overhead'])} of a frame of edge-seg-n |",
        f"| p50 against bare loops | within 5 % | {_against(parts['bare']['pairs'])} |",
    ]
    return "\n".join(lines)


def _beside(found: Found) -> str:
    """The share of close ratios as `edge-seg profile` times, by neighbour."""
    told = []
    for one in found["beside"]:
        if one["how"] == "in turns, before other processes":
            off = deviations(found["quiet_p50_ms"], one["p50_ms"])
            told.append(f"{percent(close(off) / len(off), 0)} beside {one['neighbour']}")
    return "; ".join(told)


def _share(found: Found) -> str:
    return percent(found["meters_ms"] / found["infer_ms"], 2)


def _against(pairs: list[Found]) -> str:
    told = []
    for against in dict.fromkeys(pair["against"] for pair in pairs):
        longer = [ratio(pair) - 1 for pair in pairs if pair["against"] == against]
        told.append(f"{against}: {percent(min(longer), 1)} to {percent(max(longer), 1)} longer")
    return "; ".join(told)


def percent(share: float, digits: int) -> str:
    """A share in hundredths.

    >>> percent(0.0123, 1)
    '1.2 %'
    """
    return f"{share * 100:.{digits}f} %"
