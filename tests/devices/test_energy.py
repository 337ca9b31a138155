"""Joules: counters that start over, rails, and a GPU's own."""

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest

from edge_seg.devices import power
from edge_seg.devices.nvml import open_nvml
from edge_seg.devices.power import Energy, measure
from edge_seg.devices.telemetry import describe, find_energy, open_energy

Write = Callable[[Mapping[str, object]], Path]
PACKAGE = "sys/devices/virtual/powercap/intel-rapl:0"
RAM = "sys/devices/virtual/powercap/intel-rapl:0:1"


def test_rapl_adds_the_package_and_its_memory(laptop: Path, write: Write) -> None:
    with open_energy(laptop) as read:
        assert read() == 0.0
        write({f"{PACKAGE}/energy_uj": 4_000_000, f"{RAM}/energy_uj": 2_500_000})
        assert read() == 3.5
        write({f"{PACKAGE}/energy_uj": 5_000_000})
        assert read() == 4.5


def test_a_counter_that_starts_over_goes_on(laptop: Path, write: Write) -> None:
    write({f"{PACKAGE}/energy_uj": 262_143_000_000})
    with open_energy(laptop) as read:
        write({f"{PACKAGE}/energy_uj": 671_150})

        assert read() == pytest.approx(1.0)


def test_a_counter_that_is_gone_gives_no_number(laptop: Path) -> None:
    with open_energy(laptop) as read:
        (laptop / PACKAGE / "energy_uj").unlink()

        assert read() is None


@pytest.fixture
def ordinary_user() -> Iterator[Path]:
    """A folder that this process sees as an ordinary user does, also where root runs the tests."""
    with tempfile.TemporaryDirectory() as name:
        user = os.geteuid()
        os.chmod(name, 0o777)
        if not user:
            os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            os.seteuid(user)


def test_counters_that_only_root_may_read(ordinary_user: Path) -> None:
    zone = ordinary_user / "sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0\n")
    (zone / "energy_uj").write_text("1000\n")
    (zone / "energy_uj").chmod(0)
    told = find_energy(ordinary_user).words

    assert told == f"not readable: RAPL needs root, or: sudo chmod a+r {zone}/energy_uj"
    with open_energy(ordinary_user) as read:
        assert read() is None


def test_a_jetsons_module_is_integrated_while_it_is_open(orin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five volts and 1.2 amperes: joules are six times the seconds between readings."""
    now = [50.0]
    monkeypatch.setattr(power.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(power, "SAMPLE_S", 3600.0)
    with open_energy(orin) as read:
        first = read()
        now[0] += 2.0

        assert (first, read()) == (0.0, 12.0)


def test_a_power_is_sampled_on_a_thread_until_the_end() -> None:
    sampled = threading.Event()
    asked: list[str] = []

    def watts() -> float | None:
        asked.append(threading.current_thread().name)
        if asked.count("power") >= 3:
            sampled.set()
        return None if asked.count("power") == 2 else 6.0  # a sensor that fails once

    with measure(Energy("a rail", watts=watts)) as read:
        assert sampled.wait(30)
        joules = read()

    assert joules is not None and joules > 0
    assert "power" not in [thread.name for thread in threading.enumerate()]


def test_the_older_drivers_rails(write: Write) -> None:
    folder = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    root = write({f"{folder}/rail_name_0": "POM_5V_IN", f"{folder}/in_power0_input": 2875})
    energy = find_energy(root)

    assert energy.words == "INA3221 POM_5V_IN"
    assert energy.watts is not None and energy.watts() == 2.875
    (root / folder / "in_power0_input").unlink()
    assert energy.watts() is None


def test_rails_that_make_up_a_module_together(write: Write) -> None:
    folder = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
    for channel, label in enumerate(("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), 1):
        values = {f"in{channel}_label": label, f"in{channel}_input": 5000, f"curr{channel}_input": 100 * channel}
        root = write({f"{folder}/{name}": value for name, value in values.items()})
    energy = find_energy(root)

    assert energy.words == "INA3221 VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0"
    assert energy.watts is not None and energy.watts() == pytest.approx(3.0)
    (root / folder / "curr2_input").unlink()
    assert energy.watts() is None


def test_rails_of_an_unknown_board_are_not_added_up(write: Write) -> None:
    folder = "sys/bus/i2c/drivers/ina3221/2-0040/hwmon/hwmon1"
    root = write({f"{folder}/in1_label": "VDD_GPU", f"{folder}/in2_label": "VDD_CPU_SOC_MSS"})

    assert "its rails VDD_GPU, VDD_CPU_SOC_MSS are not known to make up the whole" in find_energy(root).words
    with open_energy(root) as read:
        assert read() is None


class NVMLError(Exception):
    """As pynvml's."""


class Nvml:
    """What is used of the module pynvml, for a GPU that tells what it is given; None is not supported."""

    NVMLError = NVMLError

    def __init__(self, *, millijoules: int | None = None, milliwatts: int | None = None, driver: bool = True) -> None:
        self.millijoules, self.milliwatts, self.driver = millijoules, milliwatts, driver

    def nvmlInit(self) -> None:
        """Fails without a driver."""
        if not self.driver:
            raise NVMLError("Driver Not Loaded")

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        """The index."""
        return index

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        """Bytes, as in older versions."""
        return b"NVIDIA L4"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        """Millijoules."""
        return _known(self.millijoules)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        """Milliwatts."""
        return _known(self.milliwatts)


def _known(value: int | None) -> int:
    if value is None:
        raise NVMLError("Not Supported")
    return value


def test_a_gpus_counter_comes_before_its_power() -> None:
    nvml = Nvml(millijoules=5_500, milliwatts=70_000)
    energy = open_nvml(nvml, 0)

    assert energy.words == "NVML energy of GPU 0 (NVIDIA L4)"
    assert energy.joules is not None and energy.joules() == 5.5
    older = open_nvml(Nvml(milliwatts=70_000), 1)
    assert older.words == "NVML power of GPU 1 (NVIDIA L4)"
    assert older.watts is not None and older.watts() == 70.0


def test_a_gpu_that_tells_nothing_says_so() -> None:
    assert open_nvml(Nvml(), 0) == Energy("GPU 0 (NVIDIA L4) tells neither energy nor power")
    assert open_nvml(Nvml(driver=False), 0) == Energy("GPU not readable: Driver Not Loaded")


@pytest.fixture
def driver(laptop: Path, write: Write) -> Path:
    """The laptop with NVIDIA's driver."""
    return write({"proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86"})


def install(monkeypatch: pytest.MonkeyPatch, nvml: Nvml | None) -> None:
    """Make `import pynvml` give this, or fail."""
    module: ModuleType | Nvml | None = nvml
    monkeypatch.setitem(sys.modules, "pynvml", module)  # type: ignore[arg-type]


def test_a_gpus_energy_is_added_where_it_works(driver: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml(millijoules=1_000)
    install(monkeypatch, nvml)
    with open_energy(driver, gpu=True) as read:
        first = read()
        nvml.millijoules = 8_000
        write({f"{PACKAGE}/energy_uj": 3_000_000})

        assert (read() or 0) - (first or 0) == 9.0  # 7 of the GPU, 2 of the CPU
    assert find_energy(driver, gpu=True).words == "RAPL package-0, dram + NVML energy of GPU 0 (NVIDIA L4)"
    assert find_energy(driver).words == "RAPL package-0, dram"
    assert describe(driver)["energy of the GPU"] == "NVML energy of GPU 0 (NVIDIA L4)"


def test_a_gpus_power_stands_alone(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Nvml(milliwatts=70_000))

    assert find_energy(driver, gpu=True).words == "NVML power of GPU 0 (NVIDIA L4)"


def test_without_nvidia_ml_py_the_pip_line_is_told(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, None)

    assert describe(driver)["energy of the GPU"] == "GPU not readable: pip install nvidia-ml-py"
    with open_energy(driver, gpu=True) as read:  # the CPU's joules alone would leave out where the work was done
        assert read() is None


def test_without_a_gpu_the_cpu_is_all(laptop: Path) -> None:
    assert find_energy(laptop, gpu=True).words == "RAPL package-0, dram"
