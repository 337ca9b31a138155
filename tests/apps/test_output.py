"""Reports that stdout does not take."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

DRIVE = "drive:seed=1,size=96x72,frames=3"
COMMANDS = {
    "models": ["models"],
    "models --json": ["models", "--json"],
    "eval --json": ["eval", "TINY", "--data", DRIVE, "--json"],
    "run --json": ["run", "--model", "TINY", "--source", DRIVE, "--headless", "--json"],
}
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
FULL = Path("/dev/full")


def ended(name: str, tiny_model: Path, stdout: int) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, with `stdout`."""
    arguments = [str(tiny_model) if part == "TINY" else part for part in COMMANDS[name]]
    command = [sys.executable, "-m", "edge_seg.apps", *arguments]
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=120, check=False, env=BUFFERED
    )


@pytest.fixture
def full() -> Iterator[int]:
    """A disk without room."""
    if not FULL.exists():
        pytest.skip(f"no {FULL} here")
    with FULL.open("w") as disk:
        yield disk.fileno()


@pytest.fixture
def closed() -> Iterator[int]:
    """A pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_a_line_and_exit_code_1(name: str, tiny_model: Path, full: int) -> None:
    done = ended(name, tiny_model, full)

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "edge-seg: The report cannot be written to stdout: No space left on device. Direct it elsewhere."
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_closed_pipe_ends_quietly(name: str, tiny_model: Path, closed: int) -> None:
    done = ended(name, tiny_model, closed)

    assert (done.returncode, done.stderr) == (1, "")


def test_a_stdout_that_is_closed_from_the_start_ends_without_a_traceback(tiny_model: Path) -> None:
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "edge_seg.apps", "models"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=120, check=False, env=BUFFERED)

    assert "Traceback" not in done.stderr
