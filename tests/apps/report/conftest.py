"""Made-up profiles: what the reports are tested on."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from edge_seg.apps.profile.rows import (
    Accuracy,
    Latency,
    Layer,
    Layers,
    LoopSpeed,
    Minute,
    Profile,
    Roof,
    Row,
    Soak,
)
from edge_seg.metrics import Percentiles
from edge_seg.spec import CAMVID_CLASSES

IOUS = (0.91, 0.80, 0.36, 0.93, 0.78, 0.74, 0.42, 0.35, 0.80, 0.52, 0.51)
STAGES = {"capture": 2.9, "pre": 0.8, "infer": 0.0, "post": 0.4, "draw": 1.2, "sink": 2.6}
"""Milliseconds of the stages, but for `infer`, which is the row's own p50."""

MakeRow = Callable[..., Row]


def build_row(
    model: str = "edge-seg-s",
    runtime: str = "openvino",
    *,
    p95: float = 8.4,
    miou: float | None = 0.6431,
    **own: object,
) -> Row:
    """A row of a net that takes `p95` ms; what is `own` replaces what it would have."""
    scale = p95 / 8.4
    batch = own.get("batch", 1)
    assert isinstance(batch, int)
    given: dict[str, Any] = {
        "path": f"/models/{model}.onnx",
        "sha256": f"sha of {model}",
        "name": model.removesuffix("-fp32"),
        "precision": "FP32" if model.endswith("-fp32") else "INT8",
        "width": 480,
        "height": 360,
        "version": "2026.4.1",
        "batch": batch,
        "threads": 0,
        "size_mb": 1.9,
        "gmacs": 2.21,
        "accuracy": None if miou is None else build_accuracy(miou),
        "latency_ms": Latency(5.9 * scale, 6.7 * scale, p95, 8.9 * scale, (6.6 * scale, 6.7 * scale, 6.9 * scale)),
        "images_per_s": batch * 1000 / (6.9 * scale),
        "loop": build_loop(6.7 * scale),
        "load_ms": 153.0,
        "memory_mb": 212.0,
        "joules": 0.21 * scale,
    }
    return Row(model=model, runtime=runtime, **(given | own))


def build_accuracy(miou: float, names: tuple[str, ...] = tuple(c.name for c in CAMVID_CLASSES)) -> Accuracy:
    """Accuracy whose mean is `miou`, with CamVid's spread between the classes."""
    off = miou - sum(IOUS) / len(IOUS)
    ripple = [round(miou * 1e4) * (7 * i + 3) % 13 / 6 - 1 for i in range(len(names))]  # +-1, by mIoU and class
    ious = {name: IOUS[i % len(IOUS)] + off + 0.0015 * ripple[i] for i, name in enumerate(names)}
    return Accuracy("CamVid test", 233, miou, ious)


def build_loop(infer_ms: float) -> LoopSpeed:
    """The run loop around a net of `infer_ms`."""
    times = STAGES | {"infer": infer_ms}
    stages = {name: Percentiles(ms, ms * 1.4 + 0.1, ms * 1.8 + 0.2) for name, ms in times.items()}
    whole = sum(times.values())
    return LoopSpeed("drive seed 1", 1000 / (infer_ms + 5.2), Percentiles(whole, whole * 1.2, whole * 1.5), stages)


def build_error(model: str, runtime: str, error: str) -> Row:
    """A row without numbers."""
    nothing = dict.fromkeys(["accuracy", "latency_ms", "images_per_s", "loop", "load_ms", "memory_mb", "joules"])
    return build_row(model, runtime, error=error, **nothing)


@pytest.fixture
def make_row() -> MakeRow:
    """`build_row`, for tests that need rows of their own."""
    return build_row


@pytest.fixture
def make_accuracy() -> Callable[..., Accuracy]:
    """`build_accuracy`, for tests that need classes of their own."""
    return build_accuracy


@pytest.fixture
def table_rows() -> Callable[[str, str], list[str]]:
    """A function that gives the lines of the first table of a section of a page, as markup."""

    def find(text: str, section: str) -> list[str]:
        part = text.partition(f'aria-labelledby="{section}"')[2].partition("</table>")[0]
        return re.findall("<tr.*?</tr>", part.partition("<tbody>")[2])

    return find


@pytest.fixture(scope="session")
def profile() -> Profile:
    """A profile in which there is something of everything."""
    return build_profile()


def build_profile() -> Profile:
    """Two nets in two precisions on several run-times, layers of one, and a soak that throttles."""
    return Profile(
        "edge-seg profile edge-seg-s-fp32 edge-seg-s --runtimes all --data camvid:CamVid/test --out out/profile",
        {
            "CPU": "AMD EPYC 9R14, 2 cores, AVX512-VNNI, no AMX",
            "memory": "7.8 GB",
            "system": "Linux 6.1, Python 3.11.7",
            "run-times": "onnxruntime 1.31.1, openvino 2026.4.1",
            "clock": "3.70 GHz, governor performance",
            "load before": "0.12 0.08 0.05",
        },
        build_rows(),
        (build_layers(), Layers("edge-seg-n, onnxruntime", build_layers().layers[:4])),
        build_soak(30),
    )


def build_rows() -> tuple[Row, ...]:
    """Rows of each kind: one thread, a batch, a disturbed one, and one that failed."""
    return (
        build_row("edge-seg-s-fp32", "onnxruntime", p95=25.0, miou=0.6435, size_mb=7.4),
        build_row("edge-seg-s-fp32", "openvino", p95=22.5, miou=0.6435, size_mb=7.4),
        build_row("edge-seg-s-fp32", "openvino-bf16", p95=13.1, miou=0.6433, size_mb=7.4),
        build_row("edge-seg-s", "onnxruntime", p95=10.5, miou=0.6432),
        build_row("edge-seg-s", "openvino", p95=8.4, miou=0.6431),
        build_row("edge-seg-s", "openvino", p95=14.2, miou=0.6431, threads=1),
        build_row("edge-seg-s", "openvino", p95=29.8, miou=0.6431, batch=4, loop=None, joules=None),
        build_row("edge-seg-n-fp32", "onnxruntime", p95=14.0, miou=0.5896, gmacs=1.1, size_mb=3.1),
        build_row("edge-seg-n-fp32", "openvino", p95=15.6, miou=0.5896, gmacs=1.1, size_mb=3.1),
        build_row(
            "edge-seg-n",
            "onnxruntime",
            p95=6.4,
            miou=0.5890,
            gmacs=1.1,
            size_mb=0.9,
            disturbed="load average 5.1 on 2 cores, after 3 repeats",
        ),
        build_row("edge-seg-n", "openvino", p95=5.1, miou=0.5892, gmacs=1.1, size_mb=0.9),
        build_error("edge-seg-s", "tensorrt", "TensorRT is not installed. Type: pip install 'edge-seg[tensorrt]'"),
    )


def build_layers() -> Layers:
    """Layers with a float island, a reformat, and more of them than a table of ten shows."""
    convolutions = [
        Layer(f"/encoder/stage{i}/conv", "Convolution", "int8", "compute", 0.55 - 0.04 * i, 0.18, 0.5 + 0.2 * i * i)
        for i in range(9)
    ]
    layers = (
        Layer("image", "Reorder", "uint8", "reformat", 0.12, None, 1.0),
        *convolutions[:5],
        Layer("/neck/gate", "Sigmoid", "f32", "compute", 0.21, 0.002, 2.0),
        Layer("/neck/mul", "Multiply", "f32", "compute", 0.11, 0.001, 1.5),
        Layer("/neck/quantize", "QuantizeLinear", "int8", "quantize", 0.09, None, 1.0),
        *convolutions[5:],
        Layer("/head/resize", "Interpolate", "f32", "compute", 1.1, 0.02, 8.0),
        Layer("/head/argmax", "TopK", "f32", "compute", 0.6, 0.01, 7.6),
    )
    return Layers("edge-seg-s, openvino", layers, Roof({"int8": 900.0, "f32": 210.0}, 41.0))


def build_soak(minutes: int) -> Soak:
    """A machine that gets warm, slows down at minute 18, and keeps its memory."""
    found = []
    for minute in range(minutes):
        slow = 1.0 if minute < 18 else 0.82
        wave = (minute * 7 % 5 - 2) * 0.006
        heat = 45 + 38 * (1 - 0.9**minute)
        fps = 84.0 * slow * (1 + wave)
        found.append(
            Minute(
                minute + 1,
                fps,
                7.1 / slow,
                9.2 / slow * (1 - wave),
                212.0 + 0.02 * minute,
                heat,
                3700 * slow,
                18.5 * slow,
                0 if slow == 1.0 else 41,
            )
        )
    verdict = "FPS fell by 18 % from the first minutes to the last: the clock fell from 3700 to 3034 MHz at 83 °C."
    return Soak("edge-seg-s, openvino", "drive seed 1", tuple(found), verdict)


EVIL = "<script>document.title='broken in'</script>"
ODD_NAMES = (EVIL, "a\"b'c&d|e,f", "[bold]道路標識[/bold]", "*x*\udce9\x00\nline two")


@pytest.fixture(scope="session")
def evil_profile() -> Profile:
    """Names of files, classes, layers and machines that would break a report which took them as they are."""
    names = ODD_NAMES + tuple(f"a_long_name_of_class_number_{i}" for i in range(42))
    rows = []
    for number, name in enumerate([*ODD_NAMES, *(f"runs/2026-11/experiment-{i}-of-a-long-series" for i in range(4))]):
        for runtime in ("openvino", "onnxruntime-tensorrt"):
            own = {"name": f"net {number // 2} {EVIL}", "precision": "INT8" if number % 2 else "FP32"}
            p95, miou = 4.0 * 1.3 ** (number * 7 % 12), 0.4 + 0.02 * number
            rows.append(build_row(name, runtime, p95=p95, accuracy=build_accuracy(miou, names), **own))
    rows[3] = build_row(EVIL, disturbed=f"{EVIL} twice", accuracy=build_accuracy(0.4, names))
    rows.append(build_error(EVIL, "torch", f"It crashed: {EVIL} {'x' * 300}"))
    layers = build_layers()
    odd_layers = tuple(replace(layer, name=layer.name * 5 + EVIL, kind=EVIL) for layer in layers.layers)
    soak = replace(build_soak(1), label=EVIL, source=EVIL, verdict=f"{EVIL} {'w' * 200}")
    command = f"edge-seg profile {' '.join(f'/models/{i}.onnx' for i in range(40))} '{EVIL}' ``` --out x"
    machine = {EVIL: EVIL, "long": "y" * 300}
    return Profile(command, machine, tuple(rows), (Layers(EVIL, odd_layers, layers.roof),), soak)
