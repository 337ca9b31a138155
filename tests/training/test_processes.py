"""Several processes or GPUs: together they train the net that one trains, and what cannot work is told."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from edge_seg.errors import DataError
from edge_seg.models import build_model
from edge_seg.models.sync_norms import synchronise_norms
from edge_seg.train import train
from edge_seg.training.options import TrainOptions

ShortRun = Callable[..., TrainOptions]

STEPS_AN_EPOCH = 4
CPU_ONLY = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}


def run_python(*command: object) -> "subprocess.CompletedProcess[str]":
    """A run of Python without a GPU, which ends well."""
    words = [sys.executable, *map(str, command)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, env=CPU_ONLY)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("aux", [0.4, pytest.param(0.0, marks=pytest.mark.slow)])
def test_two_processes_write_one_checkpoint_and_one_report(aux: float, tmp_path: Path) -> None:
    """Lightning starts the second process, which only helps."""
    (tmp_path / "recipe.toml").write_text(f"[loss]\naux = {aux}\n[schedule]\nepochs = 2\nbatch = 4\n")
    command: list[object] = ["-m", "edge_seg.apps", "train", "--data", "drive:frames=16,size=96x72", "--arch"]
    command += ["edge-seg-n", "--test", "drive:seed=3,frames=2,size=96x72", "--size", "96x72", "--json", "--recipe"]
    command += [tmp_path / "recipe.toml", "--workers", "0", "--precision", "fp32", "--devices", "2"]

    done = run_python(*command, "--out", tmp_path / "net.pt")

    assert json.loads(done.stdout)["images"] == 2
    assert done.stderr.count("epoch 2/2") == 1
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 2 * STEPS_AN_EPOCH


def test_two_processes_train_the_net_that_one_trains(tmp_path: Path) -> None:
    """Without exchange of gradients, or with the same samples in both, they would train another."""
    for devices in (1, 2):
        (tmp_path / str(devices)).mkdir()
        run_python(Path(__file__).with_name("shared_run.py"), tmp_path / str(devices), devices)

    files = [tmp_path / name for name in ("1/rank0.pt", "2/rank0.pt", "2/rank1.pt")]
    alone, first, second = (torch.load(file, weights_only=True) for file in files)
    assert [name for name, tensor in first.items() if not torch.equal(tensor, second[name])] == []
    for name, tensor in alone.items():
        torch.testing.assert_close(first[name], tensor, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("arch", ["edge-seg-n", "torchvision:mobilenet_v3_small", "timm:mobilenetv3_small_050"])
def test_a_net_with_synchronised_norms_computes_the_same(arch: str) -> None:
    """timm's BatchNorms hold an activation, which PyTorch's own conversion would leave out."""
    torch.manual_seed(0)
    net, images = build_model(arch, 11), torch.randn(4, 3, 72, 96)
    net.forward_with_aux(images)  # statistics that are not those of a fresh net
    net.eval()
    with torch.no_grad():
        expected, names = net(images), list(net.state_dict())
        synchronise_norms(net)
        found = net(images)

    assert torch.equal(found, expected)
    assert list(net.state_dict()) == names
    norms = [module for module in net.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    assert len(norms) > 10
    assert all(isinstance(norm, torch.nn.SyncBatchNorm) for norm in norms)


class Started(Exception):
    """The training was about to begin."""


def test_two_gpus_share_their_norms_and_keep_the_average_beside_the_net(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Lightning would be handed where there are GPUs."""
    handed: dict[str, Any] = {}

    class Trainer:
        world_size, global_rank = 2, 0

        def __init__(self, **settings: object) -> None:
            handed.update(settings)

        def fit(self, task: torch.nn.Module, *_: object, **__: object) -> None:
            handed["task"] = task
            raise Started

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("edge_seg.train.WeightAveraging", lambda device, **_: ("average on", device))
    monkeypatch.setattr("lightning.Trainer", Trainer)
    with pytest.raises(Started):
        train(short_run(tmp_path, devices=2, arch="timm:mobilenetv3_small_050"))

    assert ("average on", "cuda") in handed["callbacks"]
    assert not handed.get("sync_batchnorm")
    kinds = {type(module).__name__ for module in handed["task"].net.modules()}
    assert {"SyncBatchNorm", "SyncBatchNormAct"} <= kinds
    assert not kinds & {"BatchNorm2d", "BatchNormAct2d"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"devices": 3}, r"batch of 4 cannot be shared by 3 processes evenly\. Choose a --batch"),
        ({"nodes": 2}, "NODE_RANK and MASTER_ADDR must be set on each machine"),
    ],
)
def test_processes_that_cannot_train_together_are_told(
    changes: dict[str, object], message: str, short_run: ShortRun, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        train(short_run(tmp_path, **changes))
