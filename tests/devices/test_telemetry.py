"""What a machine tells, and the words for what it does not tell."""

import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from edge_seg.devices.clocks import is_held, read_mhz, read_throttles
from edge_seg.devices.load import read_busy_s, read_load, read_memory_mb, read_process_s, read_resident_mb
from edge_seg.devices.sysfs import NOT_TOLD, read_number, read_word
from edge_seg.devices.telemetry import describe, installed_versions
from edge_seg.devices.temperature import read_celsius

Write = Callable[[Mapping[str, object]], Path]


def test_a_bare_virtual_machine_says_what_it_does_not_tell(vm: Path) -> None:
    told = describe(vm)

    assert [told[key] for key in ("energy", "temperature", "throttling", "power mode")] == [NOT_TOLD] * 4
    assert told["cpu"] == "AMD EPYC"
    assert told["cores"] == f"{len(os.sched_getaffinity(0))} usable of 2"
    assert told["memory"] == "8.2 GB, 5.1 GB available"
    assert told["clock"] == "2596 MHz by /proc/cpuinfo, which may not follow the true clock"
    assert (told["load"], told["kernel"], told["python"]) == ("0.42", "6.8.0-generic", platform.python_version())
    assert "energy of the GPU" not in told


def test_a_machine_without_any_file_is_described_too(tmp_path: Path) -> None:
    told = describe(tmp_path)

    assert {told[key] for key in ("memory", "kernel", "clock", "load", "energy", "temperature")} == {NOT_TOLD}
    assert told["cpu"] == platform.machine()
    assert told["cores"].endswith("of an unknown number")


def test_a_laptop(laptop: Path) -> None:
    told = describe(laptop)

    assert told["energy"] == "RAPL package-0, dram"
    assert told["temperature"] == "71 °C (x86_pkg_temp, TCPU)"
    assert told["clock"] == "2900 MHz"
    assert told["throttling"] == "9 events since the start, not held down now"
    assert told["power mode"] == "governor powersave"


def test_a_raspberry_pi(pi5: Path) -> None:
    told = describe(pi5)

    assert told["cpu"] == f"Raspberry Pi 5 Model B Rev 1.0, {platform.machine()}"
    assert (told["energy"], told["temperature"], told["clock"]) == (NOT_TOLD, "62 °C (cpu-thermal)", "2400 MHz")
    assert told["throttling"] == "not held down now"


def test_a_jetson(orin: Path) -> None:
    told = describe(orin)

    assert (told["energy"], told["power mode"]) == ("INA3221 VDD_IN", "15W")
    assert told["temperature"] == "58 °C (cpu-thermal, tj-thermal)"
    assert told["throttling"] == "3 events since the start, not held down now"


def test_this_machine_is_described() -> None:
    told = describe()

    assert all(isinstance(value, str) and value for value in told.values())
    assert told["kernel"] == platform.release()
    assert told["memory"] != NOT_TOLD


def test_versions_are_those_of_the_installed_packages() -> None:
    versions = installed_versions()

    assert versions["numpy"] == np.__version__
    assert "tensorrt" not in versions or versions["tensorrt"][0].isdigit()


def test_the_hottest_part_of_the_chip_counts(laptop: Path) -> None:
    assert read_celsius(laptop) == 71.0  # not the radio's 99 °C


@pytest.mark.parametrize("milli", [-256_000, 0, 200_000])
def test_nonsense_is_no_temperature(write: Write, milli: int) -> None:
    root = write({"sys/class/thermal/thermal_zone0/type": "gpu-thermal", "sys/class/thermal/thermal_zone0/temp": milli})

    assert read_celsius(root) is None


def test_without_a_zone_the_cpus_own_sensor_is_read(write: Write) -> None:
    root = write(
        {
            "sys/class/hwmon/hwmon0/name": "nvme",
            "sys/class/hwmon/hwmon0/temp1_input": 80_000,
            "sys/class/hwmon/hwmon1/name": "k10temp",
            "sys/class/hwmon/hwmon1/temp1_input": 64_250,
            "sys/class/hwmon/hwmon1/temp3_input": 61_000,
        }
    )

    assert read_celsius(root) == 64.25


def test_the_clock_is_the_fastest_cores(laptop: Path, vm: Path) -> None:
    assert read_mhz(laptop) == 2900.0
    for path in laptop.glob("sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq"):
        path.unlink()
    assert read_mhz(vm) == 2596.136


def test_throttle_counters_are_found_by_file(laptop: Path, write: Write) -> None:
    write({"sys/class/hwmon/hwmon3/oc3_event_cnt": 27390, "sys/class/hwmon/hwmon3/oc3_throt_en": 1})
    counts = {path.partition("/sys/")[2]: count for path, count in read_throttles(laptop).items()}

    assert counts == {
        "devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": 3,
        "devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": 9,
        "devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": 4,
        "devices/system/cpu/cpu1/thermal_throttle/package_throttle_count": 9,
        "class/hwmon/hwmon3/oc3_event_cnt": 27390,
    }


@pytest.mark.parametrize(
    ("flags", "held"),
    [
        ("0", False),
        ("none", None),
        ("50000", False),
        ("50005", True),
        ("e0008", True),
        ("1", False),
    ],  # 1: a weak supply, not yet braked
)
def test_the_pis_firmware_says_whether_it_brakes_now(pi5: Path, flags: str, held: bool | None) -> None:
    next(pi5.glob("sys/devices/platform/soc*/*firmware/get_throttled")).write_text(f"{flags}\n")

    assert is_held(pi5) is held


def test_a_brake_of_the_kernel_holds_the_clock_and_a_fan_does_not(orin: Path, write: Write, vm: Path) -> None:
    assert is_held(orin) is False
    write({"sys/class/thermal/cooling_device1/cur_state": 1})
    assert is_held(orin) is True


def test_nothing_that_brakes_is_not_told(vm: Path) -> None:
    assert is_held(vm) is None


def test_a_power_mode_that_is_not_answered_is_not_told(orin: Path) -> None:
    (orin / "usr/sbin/nvpmodel").write_text("#!/bin/sh\necho NVPM ERROR >&2\nexit 1\n")

    assert describe(orin)["power mode"] == NOT_TOLD


def test_busy_is_what_the_kernel_and_the_hypervisor_took(vm: Path) -> None:
    """The sums of user, nice, system, irq, softirq and steal, in ticks: guest time is in user already."""
    tick = 1 / os.sysconf("SC_CLK_TCK")

    assert read_busy_s(vm) == pytest.approx(1430 * tick)
    assert read_busy_s(vm, {0}) == pytest.approx(600 * tick)
    assert read_busy_s(vm, {0, 1}) == pytest.approx(1430 * tick)
    assert read_busy_s(vm, {0, 9}) is None


def test_a_process_with_brackets_in_its_name(vm: Path) -> None:
    assert read_process_s(vm, [7]) == pytest.approx(200 / os.sysconf("SC_CLK_TCK"))
    assert read_process_s(vm, [7, 8]) is None


def test_load_and_memory(vm: Path, tmp_path: Path) -> None:
    assert (read_load(vm), read_memory_mb(vm), read_memory_mb(vm, "SwapTotal")) == (0.42, 5120.0, None)


def test_this_process_lies_in_memory() -> None:
    resident = read_resident_mb()

    assert resident is not None and 10 < resident < (read_memory_mb(key="MemTotal") or 0)
    assert read_resident_mb(pid=os.getpid()) == pytest.approx(resident, rel=0.5)


def test_what_cannot_be_read_is_no_word_and_no_number(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("soon\n")

    assert [read_word(tmp_path / name) for name in ("folder", "empty", "missing", "text")] == [None, None, None, "soon"]
    assert read_number(tmp_path / "text") is None
