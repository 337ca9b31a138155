"""Energy counters of x86 CPUs (RAPL), as the powercap driver shows them."""

from pathlib import Path

from edge_seg.devices.power import Energy, total
from edge_seg.devices.sysfs import read_number, read_word

ZONES = "sys/class/powercap/intel-rapl:*"
"""AMD's CPUs are here too. intel-rapl-mmio shows the same counters once more, and is left out."""


def find_rapl(root: Path = Path("/")) -> Energy | None:
    """The counters of all packages, and of their memory where it has its own; None without RAPL.

    Cores and graphics are parts of a package and not counted twice. `psys`, of the whole platform, is left out: what it
    covers differs between boards.
    """
    names = {path: read_word(path / "name") or "" for path in sorted(root.glob(ZONES))}
    zones = {path: name for path, name in names.items() if name.startswith("package") or name == "dram"}
    if not zones:
        return None
    closed = [str(path / "energy_uj") for path in zones if read_number(path / "energy_uj") is None]
    if closed:
        return Energy(f"not readable: RAPL needs root, or: sudo chmod a+r {' '.join(closed)}")
    return Energy(f"RAPL {', '.join(zones.values())}", joules=total([_Zone(path).read_joules for path in zones]))


class _Zone:
    """A counter of microjoules that starts over at its range; read it at least once each time round, so by the hour."""

    def __init__(self, zone: Path) -> None:
        self._path = zone / "energy_uj"
        self._range_uj = read_number(zone / "max_energy_range_uj") or 2**32
        self._last_uj = read_number(self._path) or 0
        self._sum_uj = 0

    def read_joules(self) -> float | None:
        """Joules since this object was made."""
        now_uj = read_number(self._path)
        if now_uj is None:
            return None
        self._sum_uj += (now_uj - self._last_uj) % self._range_uj
        self._last_uj = now_uj
        return self._sum_uj / 1e6
