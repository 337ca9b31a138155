"""What this machine tells of itself: energy, temperature, clock, throttling, load. Nothing is told that is not read.

Readers take the `root` of a file system and give None where it does not tell; `describe` says in words what there is,
and why something is not.
"""

import importlib.metadata
import os
import platform
import re
from contextlib import AbstractContextManager
from pathlib import Path

from edge_seg.devices.clocks import describe_clock, describe_power_mode, describe_throttling
from edge_seg.devices.load import read_load, read_memory_mb
from edge_seg.devices.nvml import find_nvml
from edge_seg.devices.power import Energy, Read, measure, total
from edge_seg.devices.rails import find_rails
from edge_seg.devices.rapl import find_rapl
from edge_seg.devices.sysfs import NOT_TOLD, read_word
from edge_seg.devices.temperature import describe_temperature

PACKAGES = ("onnxruntime", "onnxruntime-gpu", "openvino", "torch", "tensorrt", "numpy", "opencv-python")
"""Installed packages whose version a number depends on."""


def find_energy(root: Path = Path("/"), *, gpu: bool = False) -> Energy:
    """What tells of energy: the whole module of a Jetson, else the CPU's packages.

    With `gpu`, for a run-time that works there, an NVIDIA GPU's energy is added; it alone where the CPU tells none.
    """
    module = find_rails(root)
    if module is not None:
        return module
    cpu = find_rapl(root) or Energy(NOT_TOLD)
    card = find_nvml(root) if gpu else None
    if card is None or not card.told or not cpu.told:
        return cpu if card is None else card
    return _both(cpu, card)


def _both(cpu: Energy, card: Energy) -> Energy:
    """Two counters as one; a GPU that tells power alone stands for itself, since a CPU's counter is no power."""
    if cpu.joules is None or card.joules is None:
        return card
    return Energy(f"{cpu.words} + {card.words}", joules=total([cpu.joules, card.joules]))


def open_energy(root: Path = Path("/"), *, gpu: bool = False) -> AbstractContextManager[Read]:
    """A context with a reading of joules so far: None where the machine does not tell, see `find_energy`."""
    return measure(find_energy(root, gpu=gpu))


def describe(root: Path = Path("/")) -> dict[str, str]:
    """The machine in words, for the head of a report: what it is, what it tells, and the versions installed."""
    card = find_nvml(root)
    load = read_load(root)
    return {
        "cpu": describe_cpu(root),
        "cores": describe_cores(root),
        "memory": describe_memory(root),
        "kernel": read_word(root / "proc/sys/kernel/osrelease") or NOT_TOLD,
        "python": platform.python_version(),
        "power mode": describe_power_mode(root),
        "energy": find_energy(root).words,
        **({} if card is None else {"energy of the GPU": card.words}),
        "temperature": describe_temperature(root),
        "clock": describe_clock(root),
        "throttling": describe_throttling(root),
        "load": NOT_TOLD if load is None else f"{load:.2f}",
        **installed_versions(),
    }


def describe_cpu(root: Path = Path("/")) -> str:
    """The board, where a device tree names it, and the CPU's model as Linux knows it, else its architecture."""
    cpuinfo = read_word(root / "proc/cpuinfo") or ""
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    board = read_word(root / "proc/device-tree/model")
    return ", ".join(part for part in (board, model[1] if model else platform.machine()) if part)


def describe_cores(root: Path = Path("/")) -> str:
    """The cores that this process may use, of those that there are."""
    there = len(re.findall(r"^cpu\d+ ", read_word(root / "proc/stat") or "", re.MULTILINE))
    return f"{len(os.sched_getaffinity(0))} usable of {there or 'an unknown number'}"


def describe_memory(root: Path = Path("/")) -> str:
    """How much there is, and how much is free for programs now."""
    whole, free = read_memory_mb(root, "MemTotal"), read_memory_mb(root)
    return NOT_TOLD if whole is None or free is None else f"{whole / 1e3:.1f} GB, {free / 1e3:.1f} GB available"


def installed_versions() -> dict[str, str]:
    """Package to version of those in PACKAGES that are installed; none is imported."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
