"""Energy of an NVIDIA GPU, through NVML, where nvidia-ml-py is installed; a Jetson's GPU is not told by NVML."""

import importlib
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from edge_seg.devices.power import Energy

DRIVER = "proc/driver/nvidia/version"


def find_nvml(root: Path = Path("/"), number: int = 0) -> Energy | None:
    """The energy counter of a GPU, else its power; None without NVIDIA's driver.

    Counted by the GPU since the driver was loaded, from Volta on: nvmlDeviceGetTotalEnergyConsumption.
    """
    if not (root / DRIVER).exists():
        return None
    try:
        nvml = importlib.import_module("pynvml")
    except ModuleNotFoundError:
        return Energy("GPU not readable: pip install nvidia-ml-py")
    return open_nvml(nvml, number)


def open_nvml(nvml: ModuleType | Any, number: int) -> Energy:  # noqa: ANN401
    """The same through the module `pynvml`; words alone for a GPU that tells nothing."""
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByIndex(number)
        name = f"GPU {number} ({_text(nvml.nvmlDeviceGetName(handle))})"
    except nvml.NVMLError as error:
        return Energy(f"GPU not readable: {error}")
    joules = partial(_milli, nvml, nvml.nvmlDeviceGetTotalEnergyConsumption, handle)
    watts = partial(_milli, nvml, nvml.nvmlDeviceGetPowerUsage, handle)
    if joules() is not None:
        return Energy(f"NVML energy of {name}", joules=joules)
    if watts() is not None:
        return Energy(f"NVML power of {name}", watts=watts)
    return Energy(f"{name} tells neither energy nor power")


def _milli(nvml: ModuleType | Any, ask: Any, handle: Any) -> float | None:  # noqa: ANN401
    """Joules or watts of a call that gives thousandths; None where the GPU does not know."""
    try:
        return float(ask(handle)) / 1e3
    except nvml.NVMLError:
        return None


def _text(name: str | bytes) -> str:
    """A name, which older versions give as bytes."""
    return name.decode(errors="replace") if isinstance(name, bytes) else name
