"""Power of a Jetson's supply rails, from its INA3221 monitors."""

from functools import partial
from pathlib import Path

from edge_seg.devices.power import Energy, Read, total
from edge_seg.devices.sysfs import read_number, read_word

MODULE = (
    ("VDD_IN",),  # Orin Nano, Orin NX, Xavier NX, TX2
    ("POM_5V_IN",),  # Nano
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),  # AGX Orin: its memory hangs on the last
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),  # AGX Xavier
)
"""Rails that make up the whole module; others are parts of them. NVIDIA's developer guide names them by module."""


def find_rails(root: Path = Path("/")) -> Energy | None:
    """The power of the whole module; None without INA3221, and words alone where its rails are of an unknown board."""
    rails = _hwmon_rails(root) | _iio_rails(root)
    for names in MODULE:
        if all(name in rails for name in names):
            return Energy(f"INA3221 {' + '.join(names)}", watts=total([rails[name] for name in names]))
    if not rails:
        return None
    return Energy(f"not told by this machine: its rails {', '.join(rails)} are not known to make up the whole")


def _hwmon_rails(root: Path) -> dict[str, Read]:
    """Of the kernel's own driver (JetPack 5 and later): mV and mA. Documentation/hwmon/ina3221.rst."""
    return {
        label: partial(_hwmon_watts, folder, channel)
        for folder in sorted(root.glob("sys/bus/i2c/drivers/ina3221*/*/hwmon/hwmon*"))
        for channel in (1, 2, 3)
        if (label := read_word(folder / f"in{channel}_label"))
    }


def _hwmon_watts(folder: Path, channel: int) -> float | None:
    volts, amperes = read_number(folder / f"in{channel}_input"), read_number(folder / f"curr{channel}_input")
    return None if volts is None or amperes is None else volts * amperes / 1e6


def _iio_rails(root: Path) -> dict[str, Read]:
    """Of NVIDIA's older driver (JetPack 4): mW."""
    return {
        label: partial(_iio_watts, folder / f"in_power{channel}_input")
        for folder in sorted(root.glob("sys/bus/i2c/drivers/ina3221*/*/iio*device*"))
        for channel in (0, 1, 2)
        if (label := read_word(folder / f"rail_name_{channel}"))
    }


def _iio_watts(path: Path) -> float | None:
    milliwatts = read_number(path)
    return None if milliwatts is None else milliwatts / 1e3
