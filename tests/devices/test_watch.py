"""What disturbed a block of work."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from edge_seg.devices.watch import Watch, take_reading, told

Write = Callable[[Mapping[str, object]], Path]
TICK = 1 / os.sysconf("SC_CLK_TCK")


def stat(user: int) -> str:
    """/proc/stat with so many ticks of user time on CPU 0."""
    return f"cpu  {user} 0 0 9 0 0 0 0 0 0\ncpu0 {user} 0 0 9 0 0 0 0 0 0\n"


def process(user: int) -> str:
    """/proc/PID/stat with so many ticks of user time."""
    return f"7 (python) R 1 7 7 0 -1 4194304 1 0 0 0 {user} 0 0 0 20 0 1 0 99 0 0"


def test_time_that_is_not_our_processes_is_others(vm: Path, write: Write) -> None:
    write({"proc/stat": stat(1000), "proc/7/stat": process(500)})
    with Watch(vm, pids=[7], cpus={0}) as watch:
        write({"proc/stat": stat(1150), "proc/7/stat": process(540)})

    assert watch.others_cpu is not None and watch.others_cpu * watch.seconds == pytest.approx(110 * TICK)
    assert watch.load1 == 0.42
    assert (watch.joules, watch.throttled, watch.mhz) == (None, None, 2596.136)


def test_roundings_do_not_make_others_negative(vm: Path, write: Write) -> None:
    write({"proc/stat": stat(1000), "proc/7/stat": process(500)})
    with Watch(vm, pids=[7], cpus={0}) as watch:
        write({"proc/stat": stat(1100), "proc/7/stat": process(601)})

    assert watch.others_cpu == 0.0
    assert told(watch) is None


def test_a_process_that_ends_leaves_others_unknown(vm: Path) -> None:
    with Watch(vm, pids=[7], cpus={0}) as watch:
        (vm / "proc/7/stat").unlink()

    assert watch.others_cpu is None
    assert told(watch) is None


def test_a_laptop_that_gets_hot(laptop: Path, write: Write) -> None:
    cpu0 = "sys/devices/system/cpu/cpu0"
    with Watch(laptop, pids=[7], cpus={0, 1}) as watch:
        write(
            {
                f"{cpu0}/cpufreq/scaling_cur_freq": 1_800_000,
                f"{cpu0}/thermal_throttle/core_throttle_count": 5,
                f"{cpu0}/thermal_throttle/package_throttle_count": 12,
                "sys/devices/virtual/powercap/intel-rapl:0/energy_uj": 3_000_000,
            }
        )

    assert (watch.mhz, watch.throttled, watch.joules) == (1800.0, 3, 2.0)
    assert told(watch) == "the clock fell from 2.9 to 1.8 GHz, the CPU throttled 3 times"


def test_a_clock_that_was_low_from_the_start_has_fallen_from_the_usual_one(laptop: Path) -> None:
    with Watch(laptop, pids=[7], cpus={0, 1}) as watch:
        pass

    assert told(watch) is None
    assert told(watch, usual_mhz=4200.0) == "the clock fell from 4.2 to 2.9 GHz"


def test_a_pi_that_is_braked_tells_so_without_a_counter(pi5: Path) -> None:
    with Watch(pi5, pids=[7], cpus={0}) as watch:
        next(pi5.glob("sys/devices/platform/soc*/*firmware/get_throttled")).write_text("50005\n")

    assert told(watch) == "the CPU throttled 1 time"


def test_a_jetson_tells_joules_of_its_rails(orin: Path) -> None:
    with Watch(orin, pids=[7], cpus={0}) as watch:
        pass

    assert watch.joules is not None and watch.joules >= 6.0 * watch.seconds > 0  # the readings of energy are outside
    assert watch.throttled == 0


def test_this_process_at_work_is_no_other() -> None:
    """Of two readings around the work, our own CPU time explains what the work took."""
    before = take_reading()
    assert sum(number * number for number in range(300_000))
    after = take_reading()

    assert before.own_s is not None and after.own_s is not None and after.own_s >= before.own_s
    assert before.busy_s is not None and after.busy_s is not None and after.busy_s >= before.busy_s


def test_an_error_within_passes() -> None:
    with pytest.raises(ZeroDivisionError), Watch() as watch:
        _ = 1 / 0

    assert watch.seconds > 0
