"""NVIDIA's driver, as far as messages tell of it: which one is there, and which one is needed."""

import re
from importlib.metadata import distributions
from pathlib import Path

LOADED = Path("/proc/driver/nvidia/version")
"""What the loaded kernel module says of itself; a Jetson has no such file."""

LEAST = {11: 450, 12: 525, 13: 580}
"""The least driver by CUDA's major version (NVIDIA, CUDA Compatibility, "Minor Version Compatibility", table 1)."""

UPDATE = "Update the driver: on a Jetson with JetPack, elsewhere from the distribution or nvidia.com."

TOO_OLD = ("driver version is insufficient", "unsupported toolchain", "error: 35", "error 35")
"""Words of pycuda and TensorRT where the driver is older than the CUDA that they use."""
LACKING = "undefined symbol: cu"
"""The linker's words where pycuda asks for a function of CUDA that the driver's library has not."""
MISMATCH = ("unsupported display driver / cuda driver combination", "error: 803", "error 803")
"""Words where the driver's library and its kernel module are of two versions."""


def advice(error: str, *, goes_to: str = "") -> str:
    """What a driver's `error` means and what to do: the driver found, and the one needed; "" where it tells neither.

    `goes_to` is the CUDA version that the driver goes up to, such as "12.6".
    """
    words = error.lower()
    if any(text in words for text in MISMATCH):
        return (
            f"The driver's library and its kernel module ({found(goes_to)}) are of two versions, as after an update. "
            "Restart the machine; in a container, take libcuda.so from the host alone."
        )
    if LACKING in words:
        return (
            f"pycuda was compiled with a newer CUDA than the driver has: found {found(goes_to)}. {UPDATE} Or compile "
            "it with that CUDA's headers: pip install --no-cache-dir --force-reinstall pycuda"
        )
    if any(text in words for text in TOO_OLD):
        return f"The driver is too old: found {found(goes_to)}; needed: {needed()}. {UPDATE}"
    return ""


def found(goes_to: str = "") -> str:
    """The driver that is loaded, in words, and the CUDA version that it goes up to where that is known."""
    version = loaded_version()
    name = f"driver {version}" if version else "a driver that does not tell its version"
    return f"{name}, for CUDA up to {goes_to}" if goes_to else name


def loaded_version() -> str | None:
    """The version of the loaded kernel module, such as 535.54.03; None where the system does not tell."""
    try:
        version = re.search(r"\b\d{3}\.\d+(?:\.\d+)?\b", LOADED.read_text(errors="replace"))
    except OSError:
        return None
    return version and version[0]


def needed() -> str:
    """The drivers that the installed TensorRT's CUDA needs, in words; those of all, where its package names none."""
    names = [str(package.metadata["Name"]) for package in distributions()]
    of = {int(match[1]) for name in names if (match := re.match(r"tensorrt[-_]cu(\d+)", name))} & LEAST.keys()
    return ", ".join(f"{LEAST[cuda]} or newer for CUDA {cuda}" for cuda in sorted(of or LEAST))
