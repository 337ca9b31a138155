"""Several processes or GPUs: together they train the net that one trains, and what cannot work is told."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from edge_seg.checkpoint import read_checkpoint
from edge_seg.errors import DataError
from edge_seg.models import build_model
from edge_seg.models.sync_norms import synchronise_norms
from edge_seg.train import MEETING, train
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


@pytest.mark.slow
def test_two_processes_stop_together_and_resume_to_the_same_net(tmp_path: Path) -> None:
    """Ctrl-C comes to both of them, as from a terminal."""
    words = [sys.executable, "-m", "edge_seg.apps", "train", "--data", "drive:frames=16,size=96x72", "--test"]
    words += ["drive:seed=3,frames=2,size=96x72", "--arch", "edge-seg-n", "--size", "96x72", "--epochs", "6", "--batch"]
    words += ["4", "--workers", "0", "--precision", "fp32", "--devices", "2", "--json", "--out"]
    whole, parts = tmp_path / "whole" / "net.pt", tmp_path / "parts" / "net.pt"
    run_python(*words[1:], whole)

    with subprocess.Popen(
        [*words, parts], env=CPU_ONLY, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as processes:
        assert processes.stderr is not None
        too_long = threading.Timer(300, os.killpg, (processes.pid, signal.SIGKILL))
        too_long.start()
        assert any("epoch 2/6" in line for line in processes.stderr)
        os.killpg(processes.pid, signal.SIGINT)
        told = processes.stderr.read()
        too_long.cancel()
    assert processes.returncode == 1 and told.count("Stopping after this step") == 1
    assert 2 * STEPS_AN_EPOCH <= torch.load(parts.parent / "last.ckpt", weights_only=True)["global_step"] < 24
    done = run_python(*words[1:], parts, "--resume")

    assert "epoch 2/6" not in done.stderr and "epoch 6/6" in done.stderr
    nets = [read_checkpoint(path)[2].state_dict() for path in (whole, parts)]
    assert [name for name, tensor in nets[0].items() if not torch.equal(tensor, nets[1][name])] == []


@pytest.mark.slow
def test_two_machines_train_one_net(tmp_path: Path, tiny_checkpoint: Path) -> None:
    """Two commands on this one, which meet at its port and share the run's folder; --init begins both alike."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = ["train", "--data", "drive:frames=16,size=96x72", "--test", "drive:seed=3,frames=2,size=96x72", "--json"]
    words += ["--arch", "edge-seg-n", "--size", "96x72", "--epochs", "2", "--batch", "4", "--workers", "0", "--nodes"]
    words += ["2", "--precision", "fp32", "--init", str(tiny_checkpoint), "--out", str(tmp_path / "run" / "net.pt")]
    machines = [
        subprocess.Popen(
            [sys.executable, "-m", "edge_seg.apps", *words],
            env=CPU_ONLY | dict(zip(MEETING, (rank, "127.0.0.1", port), strict=True)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("1", "0")  # the one that may not write begins
    ]
    try:
        second, first = (machine.communicate(timeout=600) for machine in machines)
    finally:
        for machine in machines:
            machine.kill()

    assert [machine.returncode for machine in machines] == [0, 0], second[1] + first[1]
    assert json.loads(first[0])["images"] == 2 and second[0] == ""
    assert (first[1].count("epoch 2/2"), second[1].count("epoch 2/2")) == (1, 0)
    saved = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 2 * STEPS_AN_EPOCH


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
    ("changes", "given", "message"),
    [
        ({"devices": 3}, (), r"batch of 4 cannot be shared by 3 processes evenly\. Choose a --batch"),
        ({"nodes": 2}, (), "NODE_RANK and MASTER_ADDR and MASTER_PORT must be set on each machine"),
        ({"nodes": 2}, ("NODE_RANK", "MASTER_ADDR"), r"--nodes 2: MASTER_PORT must be set .*MASTER_PORT=29500"),
    ],
)
def test_processes_that_cannot_train_together_are_told(
    changes: dict[str, object],
    given: tuple[str, ...],
    message: str,
    short_run: ShortRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in MEETING:
        monkeypatch.delenv(name, raising=False)
    for name in given:
        monkeypatch.setenv(name, "0")
    with pytest.raises(DataError, match=message):
        train(short_run(tmp_path, **changes))
