"""Machines as trees of files, laid out as Linux documents it and as the vendors' kernels do."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Write = Callable[[Mapping[str, object]], Path]

STAT = """cpu  900 100 300 50000 20 30 40 60 5 0
cpu0 400 50 100 25000 10 10 20 20 5 0
cpu1 500 50 200 25000 10 20 20 40 0 0"""
MEMINFO = "MemTotal:        8000000 kB\nMemFree:         1000000 kB\nMemAvailable:    5000000 kB\n"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A function that writes files below a root, which it returns."""

    def write_files(files: Mapping[str, object]) -> Path:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{content}\n")
        return tmp_path

    return write_files


@pytest.fixture
def vm(write: Write) -> Path:
    """A virtual machine: load and memory, a clock in /proc/cpuinfo, and no sensor."""
    cpu = "processor\t: {}\nmodel name\t: AMD EPYC\ncpu MHz\t\t: 2596.136\n"
    return write(
        {
            "proc/stat": STAT,
            "proc/meminfo": MEMINFO,
            "proc/loadavg": "0.42 0.30 0.20 1/99 1234",
            "proc/cpuinfo": cpu.format(0) + "\n" + cpu.format(1),
            "proc/sys/kernel/osrelease": "6.8.0-generic",
            "proc/7/stat": "7 (a (b) c) S " + " ".join(str(n) for n in range(4, 14)) + " 150 50 9 9 20 0 3 0 77 0 0",
        }
    )


@pytest.fixture
def laptop(vm: Path, write: Write) -> Path:
    """An Intel laptop: RAPL with its parts, as links into one tree, throttle counters, and zones of all kinds."""
    zones = {
        "intel-rapl:0": ("package-0", 262_143_328_850, 1_000_000),
        "intel-rapl:0:0": ("core", 262_143_328_850, 700_000),
        "intel-rapl:0:1": ("dram", 65_712_999_613, 2_000_000),
        "intel-rapl:1": ("psys", 262_143_328_850, 9_000_000),
        "intel-rapl-mmio:0": ("package-0", 262_143_328_850, 1_000_000),
    }
    for zone, (name, most, now) in zones.items():
        folder = f"sys/devices/virtual/powercap/{zone}"
        write({f"{folder}/name": name, f"{folder}/max_energy_range_uj": most, f"{folder}/energy_uj": now})
        link(vm / "sys/class/powercap" / zone, vm / folder)
    heat = {"acpitz": 27_800, "x86_pkg_temp": 71_000, "iwlwifi_1": 99_000, "INT3400 Thermal": 20_000, "TCPU": 68_050}
    for number, (kind, milli) in enumerate(heat.items()):
        write_zone(write, number, kind, milli)
    for core in (0, 1):
        folder = f"sys/devices/system/cpu/cpu{core}"
        counts = {"core_throttle_count": 3 + core, "package_throttle_count": 9, "package_throttle_total_time_ms": 400}
        write({f"{folder}/thermal_throttle/{name}": count for name, count in counts.items()})
        write({f"{folder}/cpufreq/scaling_cur_freq": 2_900_000 - 1_500_000 * core})
    return write(
        {
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave",
            "sys/class/thermal/cooling_device0/type": "Processor",
            "sys/class/thermal/cooling_device0/cur_state": 0,
            "sys/class/thermal/cooling_device1/type": "intel_powerclamp",
            "sys/class/thermal/cooling_device1/cur_state": -1,
        }
    )


@pytest.fixture
def pi5(vm: Path, write: Write) -> Path:
    """A Raspberry Pi 5: a zone and the firmware's flags; /proc/cpuinfo names no clock, and nothing tells energy."""
    write_zone(write, 0, "cpu-thermal", 61_750)
    for core in range(4):
        write({f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq": 2_400_000})
    (vm / "proc/device-tree").mkdir()
    (vm / "proc/device-tree/model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    firmware = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware"
    return write(
        {
            "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 108.00\nCPU part\t: 0xd0b\n",
            f"{firmware}/get_throttled": "0",
            "sys/class/thermal/cooling_device0/type": "pwm-fan",
            "sys/class/thermal/cooling_device0/cur_state": 2,
        }
    )


@pytest.fixture
def orin(vm: Path, write: Write) -> Path:
    """A Jetson Orin Nano: rails, a GPU zone that is off, over-current counters, throttle alerts, nvpmodel."""
    for number, (kind, milli) in enumerate(
        {"cpu-thermal": 55_125, "gpu-thermal": -256_000, "tj-thermal": 57_500}.items()
    ):
        write_zone(write, number, kind, milli)
    monitor = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
    rails = {"VDD_IN": (5_000, 1_200), "VDD_CPU_GPU_CV": (5_000, 300), "VDD_SOC": (5_000, 250)}
    for channel, (label, (volts, amperes)) in enumerate(rails.items(), 1):
        values = {f"in{channel}_label": label, f"in{channel}_input": volts, f"curr{channel}_input": amperes}
        write({f"{monitor}/{name}": value for name, value in values.items()})
    for number, kind in enumerate(("pwm-fan", "cpu-throttle-alert", "cpufreq-cpu0")):
        folder = f"sys/class/thermal/cooling_device{number}"
        write({f"{folder}/type": kind, f"{folder}/cur_state": int(kind == "pwm-fan")})
    write(
        {f"sys/class/hwmon/hwmon3/oc{n}_event_cnt": n for n in (1, 2, 3)} | {"sys/class/hwmon/hwmon3/oc1_throt_en": 1}
    )
    root = write({"usr/sbin/nvpmodel": '#!/bin/sh\n[ "$1" = -q ] && printf "NV Power Mode: 15W\\n0\\n"'})
    (root / "usr/sbin/nvpmodel").chmod(0o755)
    return root


def write_zone(write: Write, number: int, kind: str, milli: int) -> None:
    """A thermal zone, where the kernel has it: in one tree, with a link from the class."""
    folder = f"sys/devices/virtual/thermal/thermal_zone{number}"
    root = write({f"{folder}/type": kind, f"{folder}/temp": milli})
    link(root / f"sys/class/thermal/thermal_zone{number}", root / folder)


def link(path: Path, target: Path) -> None:
    """A link, with the folder that it stands in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
