"""The Pareto front, and the row that is picked."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_seg.apps.profile.pareto import (
    COSTS,
    FIELDS,
    PickError,
    dominated_by,
    front,
    parse_conditions,
    pick,
    picked_text,
    run_line,
)
from edge_seg.apps.profile.rows import Accuracy, Latency, LoopSpeed, Row
from edge_seg.errors import EdgeSegError
from edge_seg.metrics import Percentiles
from edge_seg.weights import FOLDER


def row(
    model: str = "net",
    miou: float | None = 0.6,
    p95: float | None = 10.0,
    *,
    fps: float | None = None,
    joules: float | None = None,
    batch: int = 1,
    threads: int = 0,
    error: str | None = None,
    disturbed: str | None = None,
) -> Row:
    """A row with what these tests need."""
    accuracy = None if miou is None else Accuracy("set", 1, miou, {})
    latency = None if p95 is None else Latency(p95 / 2, p95 * 0.8, p95, p95 * 1.2, (p95,))
    age = Percentiles(1.0, 2.0, 3.0)
    return Row(
        model,
        f"/models/{model}.onnx",
        "openvino",
        batch,
        threads,
        name=model,
        precision="INT8",
        size_mb=2.0,
        accuracy=accuracy,
        latency_ms=latency,
        loop=None if fps is None else LoopSpeed("drive", fps, age, {}),
        joules=joules,
        error=error,
        disturbed=disturbed,
    )


def test_the_front_is_what_nothing_beats() -> None:
    rows = [row(miou=0.5, p95=5), row(miou=0.6, p95=8), row(miou=0.55, p95=9), row(miou=0.65, p95=20)]

    assert front(rows) == {0, 1, 3}
    assert dominated_by(rows) == {2: 1}


def test_equal_rows_are_on_the_front_together_and_ties_in_one_number_are_not() -> None:
    rows = [row(miou=0.6, p95=8), row(miou=0.6, p95=8), row(miou=0.6, p95=9), row(miou=0.5, p95=8)]

    assert front(rows) == {0, 1}
    assert dominated_by(rows).keys() == {2, 3}


def test_rows_that_take_no_part_neither_dominate_nor_are_dominated() -> None:
    rows = [
        row(miou=0.5, p95=9),
        row(miou=0.9, p95=1, batch=4),
        row(miou=None, p95=1),
        row(miou=0.9, p95=None),
        row(miou=0.9, p95=1, error="crashed"),
    ]

    assert front(rows) == {0}
    assert dominated_by(rows) == {}


def test_the_front_of_energy_is_another_one() -> None:
    rows = [row(miou=0.6, p95=5, joules=3.0), row(miou=0.6, p95=9, joules=1.0), row(miou=0.7, p95=9)]

    assert front(rows) == {0, 2}
    assert front(rows, cost="joules") == {1}
    assert dominated_by(rows, cost="joules") == {0: 1}


@given(
    st.lists(
        st.tuples(st.sampled_from([0.5, 0.55, 0.6]), st.sampled_from([1.0, 2.0, 3.0, 4.0]), st.sampled_from([1, 1, 4])),
        max_size=9,
    )
)
def test_the_front_is_that_of_the_definition(points: list[tuple[float, float, int]]) -> None:
    rows = [row(miou=miou, p95=p95, batch=batch) for miou, p95, batch in points]
    able = {index for index, (_, _, batch) in enumerate(points) if batch == 1}

    def beats(one: int, other: int) -> bool:
        a, b = points[one], points[other]
        return (a[0] > b[0] and a[1] <= b[1]) or (a[0] >= b[0] and a[1] < b[1])

    expected = {index for index in able if not any(beats(other, index) for other in able)}
    beaten = dominated_by(rows)

    assert front(rows) == expected
    assert beaten.keys() == able - expected
    assert all(by in expected and beats(by, index) for index, by in beaten.items())


ROWS = [
    row("small", 0.59, 5.0, fps=108.0),
    row("large", 0.6431, 8.4, fps=84.0),
    row("large-fp32", 0.6435, 22.5, fps=43.0),
    row("large-in-fours", 0.6436, 4.0, batch=4),
    row("broken", 0.9, 1.0, error="crashed"),
]


@pytest.mark.parametrize(
    ("conditions", "model"),
    [
        ("miou>=0.55", "large"),  # not large-fp32: within a thousandth, and slower
        ("fps>=100", "small"),
        ("miou >= 0.55 , fps>90", "small"),
        ("p95<8", "small"),
        ("p95<=8.4", "large"),
        ("p50>10", "large-fp32"),
        ("jitter<1e3,min>0", "large"),
    ],
)
def test_the_most_accurate_row_wins_and_of_equals_the_fastest(conditions: str, model: str) -> None:
    assert pick(ROWS, conditions).model == model


def test_a_thousandth_and_no_more_counts_as_equal() -> None:
    rows = [row("a", 0.6, 20.0), row("b", 0.5990, 9.0), row("c", 0.5989, 1.0)]

    assert pick(rows, "p95>0").model == "b"


def test_without_accuracy_the_fastest_row_wins() -> None:
    assert pick([row("a", None, 9.0), row("b", None, 7.0)], "p95<20").model == "b"
    assert pick([row("a", None, 1.0), row("b", 0.3, 7.0)], "p95<20").model == "b"


def test_every_field_can_be_asked_for_and_every_cost_is_one_of_a_row() -> None:
    known = row(fps=50.0, joules=0.2)

    for field in FIELDS:
        value = FIELDS[field](known)
        found = pick([known], f"{field}>=0") if value is not None else None
        assert (found is known) == (value is not None)
    assert {cost: value(known) for cost, value in COSTS.items()} == {"p95": 10.0, "joules": 0.2}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "speed>=3",
            r"No field 'speed' in 'speed>=3'. There are: miou, fps, min, p50, p95, p99, jitter, images",
        ),
        ("", r"No field ''"),
        ("miou>=0.5,", r"No field ''"),
        ("fps=30", r"No operator '=' in 'fps=30'. There are: >=  <=  >  <. Type for example: fps>=30"),
        ("fps=>30", r"No operator '=>'"),
        ("fps 30", r"No operator ''"),
        ("fps", r"No operator ''"),
        ("fps>=fast", r"No number 'fast' in 'fps>=fast'"),
        ("fps>=", r"No number ''"),
        ("fps>=nan", r"No number 'nan'"),
        ("miou>=65", r"mIoU is a share between 0 and 1, not '65'"),
        ("images/s>3", r"No field 'images'"),
    ],
)
def test_a_bad_condition_is_named(text: str, told: str) -> None:
    with pytest.raises(PickError, match=told):
        parse_conditions(text)
    assert issubclass(PickError, EdgeSegError)


def test_numbers_may_be_negative_or_have_exponents() -> None:
    assert [c.number for c in parse_conditions("jitter>-1, size<1e3, load<.5")] == [-1.0, 1000.0, 0.5]


def test_without_a_row_the_nearest_ones_say_what_they_miss() -> None:
    with pytest.raises(PickError) as caught:
        pick([*ROWS, row("other", 0.1, 50.0)], "miou>=0.64, fps>=90")

    assert str(caught.value).splitlines() == [
        "No row of batch 1 meets miou>=0.64, fps>=90. Nearest:",
        "  large, openvino misses fps>=90 (has 84)",
        "  small, openvino misses miou>=0.64 (has 0.59)",
        "  large-fp32, openvino misses fps>=90 (has 43)",
    ]


def test_what_was_not_measured_is_said() -> None:
    with pytest.raises(PickError, match=r"The only one:\n  net, openvino misses joules<1 \(not measured\)"):
        pick([row()], "joules<1, miou>0")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([row(batch=4), row(batch=8), row(error="crashed")], r"all 2 with numbers are of batch > 1.*--batch 1"),
        ([row(error="crashed")], "none has numbers"),
        ([], "none has numbers"),
    ],
)
def test_where_no_row_can_be_run_that_is_said(rows: list[Row], told: str) -> None:
    with pytest.raises(PickError, match=told):
        pick(rows, "miou>0")


def test_the_line_runs_the_artefact_as_it_was_measured() -> None:
    odd = row("it's mine; rm -rf $HOME", threads=2)

    assert shlex.split(run_line(odd)) == [
        *("edge-seg", "run", "--model", "/models/it's mine; rm -rf $HOME.onnx"),
        *("--runtime", "openvino", "--threads", "2"),
    ]
    assert run_line(row()) == "edge-seg run --model /models/net.onnx --runtime openvino"


def test_a_bundled_model_is_run_by_its_name() -> None:
    bundled = replace(row("edge-seg-s"), path=str(FOLDER / "edge-seg-s.int8.onnx"))
    own = replace(bundled, path=str(Path("runs") / "edge-seg-s.onnx"))

    assert "--model edge-seg-s --runtime" in run_line(bundled)
    assert "--model runs/edge-seg-s.onnx" in run_line(own)


def test_what_was_picked_is_told_with_its_doubts() -> None:
    assert picked_text(row(fps=84.0, disturbed="load 5.1")).splitlines() == [
        "net, openvino: mIoU 0.6000, p95 10.00 ms, 84.0 FPS",
        "Its times were taken under disturbance: load 5.1",
        "edge-seg run --model /models/net.onnx --runtime openvino",
    ]
    assert picked_text(row(miou=None, p95=None)).splitlines()[0] == "net, openvino"
