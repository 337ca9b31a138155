"""What is not installed: the base works without any extra, and what needs one says the exact pip line."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXTRAS = (
    "torch",
    "torchvision",
    "safetensors",
    "timm",
    "lightning",
    "torchmetrics",
    "onnxscript",
    "matplotlib",
    "tensorboard",
    "tensorrt",
    "pycuda",
)
DRIVE = "drive:seed=1,size=96x72,frames=4"
TRAIN_LINE = "Type: pip install 'edge-seg[train]'\n"

PROGRAM = """
import sys
blocked, *arguments = sys.argv[1:]
sys.modules.update(dict.fromkeys(blocked.split(",")))  # None there makes an import fail as for a missing package
from edge_seg.apps.cli import main
main(arguments)
"""


def edge_seg(blocked: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own in which the packages `blocked` cannot be imported."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, ",".join(blocked), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "DISPLAY": "", "WAYLAND_DISPLAY": ""},
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("--version",),
        ("models",),
        ("eval", "edge-seg-s", "--data", DRIVE),
        ("run", "--source", DRIVE, "--headless"),
        ("quantize", "edge-seg-s-fp32", "--data", "drive:frames=8", "--images", "8", "--out", "{folder}/int8.onnx"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_the_base_works_without_extras(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = edge_seg(EXTRAS, *(argument.format(folder=tmp_path) for argument in arguments))

    assert done.returncode == 0, done.stderr


def test_without_openvino_auto_takes_onnx_runtime() -> None:
    done = edge_seg((*EXTRAS, "openvino"), "run", "--source", DRIVE, "--headless", "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runtime"] == "onnxruntime"


@pytest.mark.parametrize("missing", ["torch", "safetensors", "lightning", "tensorboard", "matplotlib"])
def test_train_says_what_to_install(tmp_path: Path, missing: str) -> None:
    if missing != "torch":  # which is asked for first
        pytest.importorskip("torch")
    done = edge_seg((missing,), "train", "--data", "drive:frames=8", "--out", f"{tmp_path}/a.pt")

    assert done.returncode == 1
    assert done.stderr == f"edge-seg: This needs {missing}, which is not installed. {TRAIN_LINE}"
    assert not list(tmp_path.iterdir())


def test_an_encoder_of_timm_says_what_to_install(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    where = ("--data", "drive:frames=8", "--workers", "0", "--out", f"{tmp_path}/a.pt")
    done = edge_seg(("timm",), "train", *where, "--arch", "timm:resnet18")

    assert done.returncode == 1
    assert done.stderr.endswith(f"edge-seg: This needs timm, which is not installed. {TRAIN_LINE}")


def test_export_says_what_to_install() -> None:
    done = edge_seg(("torch",), "export", "a.pt")

    assert done.returncode == 1
    assert done.stderr == f"edge-seg: This needs torch, which is not installed. {TRAIN_LINE}"


def test_a_checkpoint_without_pytorch_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"never read")
    done = edge_seg(("torch",), "eval", f"{tmp_path}/a.pt", "--data", DRIVE)

    assert done.returncode == 1
    assert done.stderr == f"edge-seg: The run-time torch is not installed. {TRAIN_LINE}"


def test_a_runtime_that_is_missing_says_what_to_install() -> None:
    done = edge_seg(("openvino",), "eval", "edge-seg-s", "--data", DRIVE, "--runtime", "openvino")

    assert done.returncode == 1
    assert done.stderr == "edge-seg: The run-time openvino is not installed. Type: pip install 'openvino'\n"


def test_the_list_of_extras_is_whole() -> None:
    """A package that gets into an extra gets into these tests."""
    tomllib = pytest.importorskip("tomllib")
    pyproject = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    extras = pyproject["project"]["optional-dependencies"]
    named = {re.split(r"[>=\[;]", line)[0] for name, lines in extras.items() if name != "dev" for line in lines}

    assert named - {"edge-seg"} == set(EXTRAS)
