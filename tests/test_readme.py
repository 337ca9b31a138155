"""The commands of README and docs/own-data.md, run as they stand: blocks marked `sh run` or `python run`."""

import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edge_seg.apps.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MARKED = re.compile(r"^```(sh|python) run\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = MARKED.findall(README)
PROGRAMS = {"sh": ["bash", "-eu", "-c"], "python": [sys.executable, "-c"]}
ENV = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "PYTHONPATH": str(ROOT),
    "DISPLAY": "",
    "WAYLAND_DISPLAY": "",
}


def run(blocks: list[tuple[str, str]], folder: Path) -> None:
    """Run blocks one after the other in a folder, as a reader would type them."""
    for language, text in blocks:
        command = [*PROGRAMS[language], text]
        done = subprocess.run(command, cwd=folder, env=ENV, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


def test_the_blocks_for_the_base_run(tmp_path: Path) -> None:
    run([block for block in BLOCKS if "edge-seg train" not in block[1]], tmp_path)

    assert json.loads((tmp_path / "report.json").read_text())["frames"] == 30
    assert {"drive.mp4", "last.png"} <= {path.name for path in tmp_path.iterdir()}


def test_the_block_that_trains_runs(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    run([block for block in BLOCKS if "edge-seg train" in block[1]], tmp_path)

    assert {"mine.pt", "mine.onnx", "mine.int8.onnx"} <= {path.name for path in tmp_path.iterdir()}


def test_the_walk_with_data_of_ones_own_runs(
    tmp_path: Path, camera: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last command wants a camera and shows a window: it is given one, and none."""
    pytest.importorskip("torch")
    page = (ROOT / "docs/own-data.md").read_text(encoding="utf-8")
    blocks = MARKED.findall(page)
    run(blocks, tmp_path)

    assert [language for language, _ in blocks] == ["python", "sh", "sh", "sh", "sh"]
    assert {"mine.int8.onnx", "worst.png", "last.png"} <= {path.name for path in (tmp_path / "mine").iterdir()}

    (line,) = re.findall(r"^```sh\nedge-seg (.*)\n```$", page, re.MULTILINE)
    capture = camera(5)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*shlex.split(line), "--headless", "--json"], catch_exceptions=False)
    assert (done.exit_code, capture.released) == (0, True), done.output
    assert json.loads(done.stdout)["frames"] > 0


def test_blocks_are_found() -> None:
    """A change of the marks must not leave the commands untested."""
    assert [language for language, _ in BLOCKS] == ["sh", "python", "sh", "sh"]


def test_the_table_of_commands_is_whole() -> None:
    named = re.findall(r"^\| `edge-seg (\w+)` \|", README, re.MULTILINE)
    known = [command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands]
    known += [group.name or "" for group in app.registered_groups]

    assert sorted(named) == sorted(known)


def test_the_table_of_runtimes_is_whole() -> None:
    from edge_seg.runners import RUNTIMES

    assert sorted(re.findall(r"^\| `([\w-]+)` \| `\.", README, re.MULTILINE)) == sorted(RUNTIMES)


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CONTRIBUTING.md",
        *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))),
    ],
)
def test_links_to_files_lead_somewhere(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", path.read_text(encoding="utf-8"))

    assert [link for link in links if not (path.parent / link).is_file()] == []


def test_the_json_page_names_the_keys() -> None:
    from edge_seg.apps.meters import RunReport
    from edge_seg.evaluate import Scores

    page = (ROOT / "docs/json.md").read_text(encoding="utf-8")
    scores = Scores("m", "r", "p", 1, None, {}, {}, None, None, None, None).to_dict()
    run_keys = {field.name for field in dataclasses.fields(RunReport)} - {"skipped"}

    assert [key for key in (*scores, *run_keys) if f"`{key}`" not in page] == []
