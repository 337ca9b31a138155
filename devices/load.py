"""Who uses the CPU and the memory."""

import os
from collections.abc import Collection
from pathlib import Path

from edge_seg.devices.sysfs import read_word

TICKS = os.sysconf("SC_CLK_TCK")
"""Ticks a second in /proc: what it tells of CPU time is right to 1 / TICKS seconds, usually 0.01."""

BUSY = (0, 1, 2, 5, 6, 7)
"""user, nice, system, irq, softirq and steal of a line of /proc/stat; guest is a part of user, iowait is idle."""


def read_busy_s(root: Path = Path("/"), cpus: Collection[int] | None = None) -> float | None:
    """CPU seconds since the start that these CPUs, or all of them, were busy or taken by a hypervisor.

    proc(5), "/proc/stat". None where one of the CPUs is not there.
    """
    wanted = {"cpu"} if cpus is None else {f"cpu{number}" for number in cpus}
    lines = [line.split() for line in (read_word(root / "proc/stat") or "").splitlines()]
    found = [sum(int(fields[1 + column]) for column in BUSY) for fields in lines if fields and fields[0] in wanted]
    return sum(found) / TICKS if len(found) == len(wanted) else None


def read_process_s(root: Path, pids: Collection[int]) -> float | None:
    """CPU seconds of processes with all their threads, ended ones too, without their children; None if one is gone.

    proc(5), "/proc/pid/stat", fields 14 and 15. The name in field 2 may hold blanks and brackets.
    """
    told = [read_word(root / f"proc/{pid}/stat") for pid in pids]
    if not all(told):
        return None
    fields = [text.rpartition(")")[2].split() for text in told if text]
    return sum(int(user) + int(system) for user, system in (field[11:13] for field in fields)) / TICKS


def read_load(root: Path = Path("/")) -> float | None:
    """The load average of the last minute."""
    told = read_word(root / "proc/loadavg")
    return float(told.split()[0]) if told else None


def read_memory_mb(root: Path = Path("/"), key: str = "MemAvailable") -> float | None:
    """Megabytes of a line of /proc/meminfo: what new programs could use, or `MemTotal`."""
    return _line_mb(root / "proc/meminfo", key)


def read_resident_mb(root: Path = Path("/"), pid: int | str = "self") -> float | None:
    """Megabytes of a process that lie in memory (VmRSS)."""
    return _line_mb(root / f"proc/{pid}/status", "VmRSS")


def _line_mb(path: Path, key: str) -> float | None:
    for line in (read_word(path) or "").splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024 / 1e6
    return None
