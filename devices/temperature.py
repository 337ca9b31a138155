"""How hot the machine is."""

import re
from pathlib import Path

from edge_seg.devices.sysfs import NOT_TOLD, read_number, read_word

CHIPS = re.compile(r"cpu|gpu|soc|core|pkg|tj", re.IGNORECASE)
"""Types of thermal zones that lie on the chip that computes; a battery, a radio or a regulator says nothing of it."""

CPU_SENSORS = frozenset({"coretemp", "k10temp", "zenpower", "cpu_thermal"})
"""Names of hwmon drivers of CPUs, for machines without such a zone (AMD's)."""

BELIEVED = range(1_000, 150_000)
"""Thousandths of a degree that a running chip can have: a Jetson's GPU that is off says -256000."""


def read_celsius(root: Path = Path("/")) -> float | None:
    """The hottest of CPU, GPU and SoC in degrees Celsius, from the thermal zones, else from hwmon; None if not told."""
    return max((celsius for _, celsius in _zones(root)), default=None)


def describe_temperature(root: Path = Path("/")) -> str:
    """Which sensors `read_celsius` takes the hottest of, and what it is now."""
    zones = _zones(root)
    names = ", ".join(dict.fromkeys(name for name, _ in zones))
    return f"{max(celsius for _, celsius in zones):.0f} °C ({names})" if zones else NOT_TOLD


def _zones(root: Path) -> list[tuple[str, float]]:
    """Name and degrees of each sensor to believe."""
    zones = sorted(root.glob("sys/class/thermal/thermal_zone*"))
    found = [(read_word(zone / "type") or "", read_number(zone / "temp")) for zone in zones]
    told = [(name, milli / 1e3) for name, milli in found if milli in BELIEVED and CHIPS.search(name) if milli]
    return told or _hwmon(root)


def _hwmon(root: Path) -> list[tuple[str, float]]:
    sensors = [(folder, read_word(folder / "name")) for folder in sorted(root.glob("sys/class/hwmon/hwmon*"))]
    found = [
        (name, read_number(path))
        for folder, name in sensors
        if name in CPU_SENSORS
        for path in sorted(folder.glob("temp*_input"))
    ]
    return [(name, milli / 1e3) for name, milli in found if milli in BELIEVED if name and milli]
