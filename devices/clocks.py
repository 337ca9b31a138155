"""How fast the CPU runs, what held it back, and the power mode that it was given."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from edge_seg.devices.sysfs import NOT_TOLD, read_number, read_word

COUNTERS = (
    "sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count",  # x86: heat, of a core and of the package
    "sys/class/hwmon/hwmon*/oc*_event_cnt",  # Jetson Orin: too little voltage, too much current
)
"""Files that count throttling since the machine was started."""

BRAKES = re.compile(r"cpufreq|devfreq|throttle-alert|^Processor$")
"""Types of cooling devices that cool by computing more slowly; a fan is none of them."""

PI_FIRMWARE = "sys/devices/platform/soc*/*firmware/get_throttled"
PI_HELD = 0b1110
"""Bits of that number, in hexadecimal: capped, throttled, or at the soft limit of temperature, now."""


def read_mhz(root: Path = Path("/")) -> float | None:
    """The clock of the fastest core now, in MHz: the others may be idle. A virtual machine often tells a fixed one."""
    khz = map(read_number, root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"))
    told = [number / 1e3 for number in khz if number]
    if not told:
        cpuinfo = read_word(root / "proc/cpuinfo") or ""
        told = [float(mhz) for mhz in re.findall(r"^cpu MHz\s*:\s*([\d.]+)$", cpuinfo, re.MULTILINE)]
    return max(told, default=None)


def read_throttles(root: Path = Path("/")) -> dict[str, int]:
    """The machine's counters of throttling by file; empty where it has none."""
    found = {str(path): read_number(path) for pattern in COUNTERS for path in root.glob(pattern)}
    return {path: number for path, number in found.items() if number is not None}


def risen(before: Mapping[str, int], after: Mapping[str, int]) -> int | None:
    """By how much the counter rose that rose most, since cores count one event each; None without a counter.

    >>> risen({"cpu0": 3, "cpu1": 3}, {"cpu0": 5, "cpu1": 4}), risen({}, {})
    (2, None)
    """
    return max((number - before[path] for path, number in after.items() if path in before), default=None)


def is_held(root: Path = Path("/")) -> bool | None:
    """Whether heat or a weak supply holds the clock down now; None where neither brakes nor firmware tell."""
    devices = root.glob("sys/class/thermal/cooling_device*")
    states = [read_number(d / "cur_state") for d in devices if BRAKES.search(read_word(d / "type") or "")]
    flags = [read_number(path, 16) for path in root.glob(PI_FIRMWARE)]
    told = [state for state in states if state is not None] + [flag & PI_HELD for flag in flags if flag is not None]
    return any(state > 0 for state in told) if told else None


def describe_clock(root: Path = Path("/")) -> str:
    """The clock now, and whether it is the CPU's own word or that of /proc/cpuinfo."""
    mhz = read_mhz(root)
    if mhz is None:
        return NOT_TOLD
    scaling = any(root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"))
    return f"{mhz:.0f} MHz" if scaling else f"{mhz:.0f} MHz by /proc/cpuinfo, which may not follow the true clock"


def describe_throttling(root: Path = Path("/")) -> str:
    """What tells of throttling, and what it says now."""
    counts, held = read_throttles(root), is_held(root)
    parts = [f"{max(counts.values())} events since the start"] if counts else []
    if held is not None:
        parts.append("held down now" if held else "not held down now")
    return ", ".join(parts) or NOT_TOLD


def describe_power_mode(root: Path = Path("/")) -> str:
    """The mode of `nvpmodel -q` on a Jetson, and the CPU's frequency governor."""
    governor = read_word(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    parts = [_nvpmodel(root), f"governor {governor}" if governor else None]
    return ", ".join(part for part in parts if part) or NOT_TOLD


def _nvpmodel(root: Path) -> str | None:
    """The name of the power mode; None where there is no such command, or it gives no answer."""
    try:
        asked = subprocess.run([root / "usr/sbin/nvpmodel", "-q"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    mode = re.search(r"NV Power Mode: *(\S+)", asked.stdout)
    return mode and mode[1]
