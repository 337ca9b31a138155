"""What the CPU can do, as far as labels depend on it."""

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
"""Linux's description of the CPUs."""

VNNI = frozenset({"avx512_vnni", "avx_vnni"})
"""Flags of x86 CPUs that sum products of bytes in 32 bits; the other ones add two of them in 16 bits first."""


def lacks_vnni() -> bool:
    """True for an x86 CPU without VNNI; False for others, and where the system does not tell.

    x86 has its features in lines "flags" of /proc/cpuinfo, Arm in "Features".
    """
    try:
        lines = CPUINFO.read_text(errors="replace").splitlines()
    except OSError:
        return False
    flags = [set(value.split()) for key, _, value in (line.partition(":") for line in lines) if key.strip() == "flags"]
    return not all(VNNI & cpu for cpu in flags)
