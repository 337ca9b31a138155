"""A soak of tiny models, in intervals of fractions of a second."""

import itertools
import math
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from edge_seg.apps.profile import soak as soak_module
from edge_seg.apps.profile.from_json import from_json
from edge_seg.apps.profile.rows import Minute, Profile, Soak
from edge_seg.apps.profile.soak import WARM_UP, Endless, Minutes, choose_interval, parse_seconds, soak
from edge_seg.apps.profile.verdict import cause, memory_growth, soak_verdict
from edge_seg.apps.sources import open_pictures
from edge_seg.errors import ModelError, SourceError
from edge_seg.types import Frame

DRIVE = "drive:seed=1,frames=4,size=96x72"
ORT = "onnxruntime"
SHORT = 0.05


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    """Whatever happens in a test, the loop's threads end, and Ctrl-C is what it was."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    assert not [t.name for t in threading.enumerate() if t.name in ("capture", "infer", "power")]
    assert signal.getsignal(signal.SIGINT) is handler


def test_six_intervals_of_a_source_that_starts_again(tiny_model: Path) -> None:
    told: list[Soak] = []

    found = soak(
        tiny_model,
        "onnxruntime",
        label="tiny",
        source=DRIVE,
        seconds=6 * SHORT,
        interval_s=SHORT,
        on_minute=told.append,
    )

    assert [minute.minute for minute in found.minutes] == [1, 2, 3, 4, 5, 6]
    assert [one.minutes for one in told] == [found.minutes[:count] for count in range(1, 7)]
    assert told[1].verdict.endswith("It ended early, with 2 of 6.")  # as it is kept where the process is killed then
    assert told[-1] == found
    assert all(minute.fps > 0 and 0 < minute.p50_ms <= minute.p99_ms for minute in found.minutes)
    assert all(minute.memory_mb > 10 for minute in found.minutes)
    assert all(minute.others_cpu is not None and minute.others_cpu >= 0 for minute in found.minutes)
    assert (found.label, found.source, found.interval_s) == ("tiny", "drive seed 1", SHORT)
    assert "FPS in the first 0.05 s" in found.verdict
    profile = Profile("soak", {}, (), soak=found)
    assert from_json(Profile, profile.to_dict()) == profile


def test_a_short_soak_has_six_intervals_and_a_long_one_minutes() -> None:
    assert [choose_interval(seconds) for seconds in (30.0, 120.0, 1800.0)] == [5.0, 60.0, 60.0]


@pytest.mark.parametrize("text", ["30", "m", "-1m", "1.5.2m", "0s", "30 m", "∞h", "1e9h"])
def test_what_is_no_duration(text: str) -> None:
    assert parse_seconds(text) is None


def test_a_film_starts_again_too(tiny_model: Path, clip: Path) -> None:
    found = soak(
        tiny_model, "onnxruntime", label="tiny", source=str(clip), seconds=2 * SHORT, interval_s=SHORT, threads=1
    )

    assert len(found.minutes) == 2
    assert (found.label, found.source) == ("tiny", "clip.mp4")


class Camera:
    """A live source: frames that come as fast as they are taken, until `enough` is set or there are `most`."""

    name, live, fps, length, class_names, skipped = "camera 0", True, None, None, None, 0

    def __init__(self, enough: threading.Event, most: int = 10**9) -> None:
        self.enough, self.most = enough, most

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while not self.enough.is_set() and index < self.most:
            yield Frame(np.zeros((72, 96, 3), np.uint8), index, time.perf_counter())
            index += 1


def plug_in(monkeypatch: pytest.MonkeyPatch, camera: Camera) -> None:
    """Make this the source that is opened, since no machine that tests has a camera."""
    monkeypatch.setattr(soak_module, "open_pictures", lambda uri: nullcontext(camera))


def test_a_live_source_is_not_started_again_and_its_drops_are_told(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enough = threading.Event()
    plug_in(monkeypatch, Camera(enough))

    found = soak(
        tiny_model,
        "onnxruntime",
        source="camera:0",
        seconds=3600.0,
        interval_s=SHORT,
        label="mine",
        on_minute=lambda so_far: enough.set(),
    )

    assert found.label == "mine"
    assert re.search(r" [1-9]\d* of \d+ frames were dropped\. It ended early, with \d+ of 72000\.$", found.verdict)


def test_frames_too_few_to_measure_are_told(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, Camera(threading.Event(), most=1))

    with pytest.raises(SourceError, match="camera 0 gave 1 frame, too few for a soak"):
        soak(tiny_model, ORT, label="tiny", source="camera:0", seconds=1.0)


def test_watts_are_joules_by_time() -> None:
    """Each interval is one frame long here, and the meter counts 5 J a reading."""
    told: list[Minute] = []
    joules = (5.0 * n for n in itertools.count())
    sink = Minutes(0.0, lambda: next(joules), told.append)
    image = np.zeros((6, 8, 3), np.uint8)
    for index in range(WARM_UP + 2):
        sink.write(image, Frame(image, index, time.perf_counter()))

    assert [minute.minute for minute in told] == [1, 2]
    assert all(minute.watts is not None and minute.watts > 0 for minute in told)


def test_ctrl_c_ends_early_with_what_was_measured(tiny_model: Path) -> None:
    def interrupt(so_far: Soak) -> None:
        if len(so_far.minutes) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    found = soak(
        tiny_model, "onnxruntime", label="tiny", source=DRIVE, seconds=3600.0, interval_s=SHORT, on_minute=interrupt
    )

    assert len(found.minutes) == 2
    assert found.verdict.endswith("It ended early, with 2 of 72000.")


def test_a_part_of_the_first_interval_is_better_than_nothing(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def read() -> float | None:
        nonlocal looks
        looks += 1
        if looks == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return None

    monkeypatch.setattr(soak_module, "SAMPLE_S", 0.0)
    monkeypatch.setattr(soak_module, "read_mhz", read)

    found = soak(tiny_model, ORT, label="tiny", source=DRIVE, seconds=3600.0)

    assert len(found.minutes) == 1
    assert found.verdict.startswith("Too short to compare: ")
    assert found.minutes[0].mhz is None


def test_a_source_without_frames_is_told(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")

    with pytest.raises(SourceError, match=r"gives no frame \(1 skipped\)\. Give another source"):
        soak(tiny_model, ORT, label="tiny", source=str(tmp_path), seconds=1.0)


def test_a_model_that_is_missing_is_told() -> None:
    with pytest.raises(ModelError, match=r"No model 'nowhere\.onnx'"):
        soak(Path("nowhere.onnx"), "onnxruntime", label="tiny", source=DRIVE, seconds=1.0)


def test_an_endless_source_counts_what_it_skips_in_all_rounds(
    tmp_path: Path, write_png: Callable[[Path], None]
) -> None:
    write_png(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    with open_pictures(str(tmp_path)) as source:
        endless = Endless(source, str(tmp_path))
        frames = iter(endless)
        for _ in range(3):
            frame = next(frames)

    assert frame.truth is None
    assert endless.skipped == 2  # the third round is not over


@pytest.fixture
def write_png() -> Callable[[Path], None]:
    """A function that writes a grey picture."""
    import cv2

    def write(path: Path) -> None:
        cv2.imwrite(str(path), np.full((8, 8, 3), 128, np.uint8))

    return write


def minutes(*rates: float, grows_mb: float = 0.0, **last: float) -> list[Minute]:
    """Minutes of these rates; what the last one has besides."""
    some = [Minute(n, fps, 15.0, 18.0, 300.0 + n * grows_mb, 60.0, 1500.0, None, 0) for n, fps in enumerate(rates, 1)]
    return [*some[:-1], Minute(**{**asdict(some[-1]), **last})]


def test_a_leak_is_told_and_small_growth_is_not() -> None:
    assert soak_verdict(minutes(*[30.0] * 5, grows_mb=12.0)).startswith("Grows: 30.0 FPS")
    assert soak_verdict(minutes(*[30.0] * 5, grows_mb=0.9)).startswith("Steady: ")
    assert soak_verdict(minutes(*[30.0] * 4, grows_mb=3.0)).startswith("Steady: ")  # 6 MB in all: too few minutes
    assert soak_verdict(minutes(30.0, 30.0, 30.0, 20.0, grows_mb=12.0)).startswith("Slows down and grows: ")


def test_growth_is_by_the_minute_whatever_the_interval() -> None:
    some = minutes(*[30.0] * 5, grows_mb=12.0)

    assert memory_growth(some, interval_s=30.0) == pytest.approx(24.0)
    assert memory_growth(some[:2]) is None
    assert memory_growth(some, interval_s=14.0) is None  # four later ones: less than a minute
    assert memory_growth([*some, Minute(6, 30.0, 15.0, 18.0, math.nan)]) is None


def test_a_slower_run_is_laid_to_what_the_machine_tells() -> None:
    assert cause(minutes(30.0, 20.0)) == ", and the machine does not tell why"
    clock = ", while the clock fell from 1.5 to 1.1 GHz at 60 °C"
    assert cause(minutes(30.0, 20.0, mhz=1100.0, others_cpu=0.02)) == clock
    assert cause(minutes(30.0, 20.0, mhz=1100.0, celsius=86.0, throttled=3, others_cpu=0.8)) == (
        ", while the clock fell from 1.5 to 1.1 GHz at 86 °C and the CPU throttled 3 times"
        " and other work took 0.8 cores: throttled by heat"
    )
    assert cause(minutes(30.0, 20.0, throttled=1)) == ", while the CPU throttled 1 time"


def test_other_work_is_a_cause_only_where_it_grew_and_is_told_of_an_even_run_too() -> None:
    busy = [replace(minute, others_cpu=0.8) for minute in minutes(30.0, 20.0)]

    assert cause(busy) == ", beside other work all along"
    assert cause([replace(busy[0], others_cpu=0.6), busy[1]]) == ", while other work took 0.8 cores"
    told = "other work took up to 0.8 cores, and more than 0.1 in 2 of 2"
    assert told + " minutes; p99" in soak_verdict(busy)
    assert told + " intervals; p99" in soak_verdict([busy[0], replace(busy[0], minute=2)], interval_s=15.0)
    assert "other work" not in soak_verdict([replace(minute, others_cpu=0.1) for minute in busy])


def test_throttling_is_told_of_an_even_run_too() -> None:
    verdict = soak_verdict(minutes(30.0, 30.0, throttled=4))

    assert verdict.startswith(
        "Steady: 30.0 FPS in the first minute, 30.0 in the last (+0.0 %); the CPU throttled 4 times;"
    )


def test_a_faster_run_is_told() -> None:
    assert soak_verdict(minutes(20.0, 30.0)).startswith("Speeds up: 20.0 FPS")
