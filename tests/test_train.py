"""Training: it learns, it resumes to the same net, it refuses what cannot work."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from lightning import LightningModule, Trainer

from edge_seg.checkpoint import read_checkpoint, write_checkpoint
from edge_seg.data.camvid import CAMVID_LICENCE
from edge_seg.errors import DataError, SinkError
from edge_seg.models import build_model
from edge_seg.recipe import Recipe, Samples, Schedule
from edge_seg.spec import CAMVID_CLASSES, ModelSpec
from edge_seg.train import EpochLines, train, train_and_evaluate
from edge_seg.training.options import TrainOptions
from edge_seg.training.task import SegmentationTask

TINY_CAMVID = ModelSpec("first", CAMVID_CLASSES, 96, 72, "CamVid train", licence=CAMVID_LICENCE)
CPU_ONLY = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}


def options(folder: Path, **changes: object) -> TrainOptions:
    """A short training on drive frames of 96x72."""
    schedule = {key: changes.pop(key) for key in ("epochs", "batch", "lr", "weight_decay", "ema") if key in changes}
    samples = {key: changes.pop(key) for key in ("drive_share", "rare", "elastic") if key in changes}
    planned: dict[str, object] = {"epochs": 2, "batch": 4, **schedule}
    recipe = Recipe(samples=Samples(**samples), schedule=Schedule(**planned))  # type: ignore[arg-type]
    base = TrainOptions(
        data="drive:frames=16,size=96x72",
        out=folder / "net.pt",
        run_dir=folder,
        arch="edge-seg-n",
        width=96,
        height=72,
        recipe=recipe,
        workers=0,
        precision="fp32",
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def test_a_run_ends_in_a_checkpoint_with_its_score(tmp_path: Path) -> None:
    scores = train_and_evaluate(options(tmp_path), "drive:seed=3,frames=3,size=96x72")

    arch, spec, _ = read_checkpoint(tmp_path / "net.pt")
    assert arch == spec.name == "edge-seg-n"
    assert (spec.width, spec.height, spec.licence) == (96, 72, "Apache-2.0")
    assert scores.images == 3
    assert spec.scores == {"drive seed 3 mIoU": scores.miou}


def test_training_lowers_the_loss(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(options(tmp_path, epochs=6, lr=5e-3))

    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    losses = [float(line.split("'loss': '")[1].split("'")[0]) for line in lines]
    assert len(losses) == 6
    assert losses[-1] < losses[0]


def test_an_output_that_cannot_be_written_is_told_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(SinkError, match=r"file cannot be written: .*Choose another --out"):
        train(options(tmp_path, out=tmp_path / "file" / "net.pt"))
    assert "epoch" not in capsys.readouterr().err


def interrupt_in_third_epoch(self: EpochLines, trainer: Trainer, pl_module: LightningModule) -> None:
    """What Ctrl-C does."""
    if trainer.current_epoch == 2:
        raise KeyboardInterrupt


@pytest.mark.parametrize(("val", "workers"), [(None, 0), ("drive:seed=9,frames=2,size=96x72", 0), (None, 1)])
def test_an_interrupted_run_resumes_to_the_same_net(
    val: str | None, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    train(options(whole, epochs=3, val=val, workers=workers))
    with monkeypatch.context() as patch:
        patch.setattr(EpochLines, "on_train_epoch_end", interrupt_in_third_epoch)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train(options(halves, epochs=3, val=val, workers=workers))
    train(options(halves, epochs=3, val=val, workers=workers, resume=True))

    nets = [read_checkpoint(folder / "net.pt")[2].state_dict() for folder in (whole, halves)]
    assert all(torch.equal(tensor, nets[1][name]) for name, tensor in nets[0].items())


@pytest.mark.parametrize("step", [1, 3, 4, 7, 9])
def test_a_run_resumes_from_any_step_to_the_same_net(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four steps an epoch: inside one, at its end, in a later one; with every augmentation."""
    changes: dict[str, object] = {"drive_share": 0.0, "epochs": 3, "rare": 0.5, "elastic": 0.5}

    def stop_at_step(self: SegmentationTask, batch: object, index: int) -> torch.Tensor:
        if self.global_step == step:
            raise KeyboardInterrupt
        return whole_step(self, batch, index)  # type: ignore[arg-type]

    train(options(tmp_path / "whole", **changes))
    whole_step = SegmentationTask.training_step
    with monkeypatch.context() as patch:
        patch.setattr(SegmentationTask, "training_step", stop_at_step)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train(options(tmp_path / "halves", **changes))
    saved = torch.load(tmp_path / "halves" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == step
    train(options(tmp_path / "halves", resume=True, **changes))

    nets = [read_checkpoint(tmp_path / name / "net.pt")[2].state_dict() for name in ("whole", "halves")]
    assert all(torch.equal(tensor, nets[1][name]) for name, tensor in nets[0].items())


def test_a_finished_run_resumed_gives_the_same_net(tmp_path: Path) -> None:
    train(options(tmp_path))
    first = (tmp_path / "net.pt").read_bytes()
    (tmp_path / "net.pt").unlink()

    train(options(tmp_path, resume=True))

    assert (tmp_path / "net.pt").read_bytes() == first


def test_a_run_that_cannot_be_resumed_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run to resume"):
        train(options(tmp_path, resume=True))
    train(options(tmp_path, epochs=1))
    with pytest.raises(DataError, match="is of another net than edge-seg-s"):
        train(options(tmp_path, resume=True, arch="edge-seg-s"))
    (tmp_path / "last.ckpt").write_bytes(b"PK")
    with pytest.raises(DataError, match="is damaged"):
        train(options(tmp_path, resume=True))


def test_first_weights_keep_their_licence(tmp_path: Path) -> None:
    arch, spec, net = "edge-seg-n", TINY_CAMVID, build_model("edge-seg-n", 11)
    write_checkpoint(tmp_path / "first.pt", arch, spec, net)

    trained = train(options(tmp_path / "next", init=tmp_path / "first.pt", epochs=1))

    assert (trained.dataset, trained.licence) == ("drive frames and CamVid train", CAMVID_LICENCE)


def test_a_run_starts_from_a_checkpoint(tmp_path: Path, tiny_checkpoint: Path) -> None:
    train(options(tmp_path, init=tiny_checkpoint, lr=0.0, weight_decay=0.0, ema=0.5))

    before, after = (read_checkpoint(path)[2].state_dict() for path in (tiny_checkpoint, tmp_path / "net.pt"))
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before if name.endswith("weight"))
    with pytest.raises(DataError, match=r"(?s)holds edge-seg-n and does not fit edge-seg-s.*Choose --arch edge-seg-n"):
        train(options(tmp_path / "other", init=tiny_checkpoint, arch="edge-seg-s"))


def test_a_whole_net_is_taken_but_for_its_output(tmp_path: Path, tiny_checkpoint: Path, two_classes: Path) -> None:
    trained = train(options(tmp_path / "run", data=f"folder:{two_classes}", init=tiny_checkpoint, epochs=1))

    lines = (tmp_path / "run" / "init.txt").read_text().splitlines()
    assert lines[0].startswith("--init tiny.pt: 125 of 131 tensors taken; head.weight is [11, 48, 1, 1] there")
    assert "anew      head.bias [2]: [11] in the file" in lines
    assert (trained.dataset, trained.licence) == ("mine and nothing", "")


def test_weights_of_elsewhere_are_named_in_the_spec(tmp_path: Path) -> None:
    torch.save(build_model("edge-seg-n", 11).state_dict(), tmp_path / "theirs.pth")

    trained = train(options(tmp_path / "run", init=tmp_path / "theirs.pth", epochs=1))

    assert trained.dataset == "drive frames and weights of theirs.pth"
    assert trained.licence == "Unknown: see where the weights of theirs.pth came from"


def test_a_run_starts_from_an_export(tmp_path: Path, tiny_model: Path, tiny_checkpoint: Path) -> None:
    quiet = {"lr": 0.0, "weight_decay": 0.0, "ema_decay": 0.5, "epochs": 1}
    train(options(tmp_path, init=tiny_model, **quiet))

    before, after = (read_checkpoint(path)[2].state_dict() for path in (tiny_checkpoint, tmp_path / "net.pt"))
    assert torch.equal(before["head.weight"], after["head.weight"])
    assert not torch.equal(after["stem.0.1.running_var"], torch.ones(16))


@pytest.mark.parametrize("arch", ["edge-seg-n", "torchvision:mobilenet_v3_small", "timm:mobilenetv3_small_050"])
def test_a_frozen_encoder_stays_bit_for_bit(arch: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = build_model(arch, 11)
    net.forward_with_aux(torch.randn(4, 3, 72, 96))  # statistics that are not those of a fresh net
    write_checkpoint(tmp_path / "first.pt", arch, dataclasses.replace(TINY_CAMVID, name=arch), net)
    val = "drive:seed=9,frames=2,size=96x72"

    train(
        options(
            tmp_path / "run",
            arch=arch,
            init=tmp_path / "first.pt",
            freeze="encoder",
            data="drive:frames=8,size=96x72",
            val=val,
            epochs=10,
        )
    )

    before, after = (read_checkpoint(path)[2] for path in (tmp_path / "first.pt", tmp_path / "run" / "net.pt"))
    kept = {id(t) for part in before.encoder_parts() for t in part.state_dict(keep_vars=True).values()}
    encoder = {name for name, tensor in before.state_dict(keep_vars=True).items() if id(tensor) in kept}
    assert 40 < len(encoder) < len(before.state_dict())
    now = after.state_dict()
    changed = {name for name, tensor in before.state_dict().items() if not torch.equal(tensor, now[name])}
    assert changed == set(now) - encoder


def test_a_frozen_run_resumes_to_the_same_net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"epochs": 3, "freeze": "encoder", "arch": "timm:mobilenetv3_small_050"}
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    train(options(whole, **changes))
    with monkeypatch.context() as patch:
        patch.setattr(EpochLines, "on_train_epoch_end", interrupt_in_third_epoch)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train(options(halves, **changes))
    train(options(halves, resume=True, **changes))

    nets = [read_checkpoint(folder / "net.pt")[2].state_dict() for folder in (whole, halves)]
    assert all(torch.equal(tensor, nets[1][name]) for name, tensor in nets[0].items())


def test_published_weights_are_named_in_the_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import get_model, get_model_weights

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    url = get_model_weights("mobilenet_v3_small").DEFAULT.url
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(get_model("mobilenet_v3_small").state_dict(), tmp_path / "hub" / "checkpoints" / Path(url).name)

    trained = train(
        options(tmp_path / "run", arch="torchvision:mobilenet_v3_small", encoder_weights="published", epochs=1)
    )

    assert trained.dataset == "drive frames and ImageNet"
    assert trained.licence.startswith("Encoder weights trained on ImageNet")


def test_an_old_run_is_not_overwritten(tmp_path: Path) -> None:
    train(options(tmp_path, epochs=1))

    with pytest.raises(DataError, match=r"of an earlier run. Type --resume"):
        train(options(tmp_path, epochs=1))


def test_validation_is_watched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(options(tmp_path, epochs=10, data="drive:frames=4,size=96x72", val="drive:seed=9,frames=2,size=96x72"))

    assert "val_miou" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "drive:frames=3,size=96x72"}, "gives 3 samples, fewer than one batch of 4"),
        ({"data": "nothing"}, "No data set 'nothing'"),
    ],
)
def test_what_cannot_work_is_told(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        train(options(tmp_path, **changes))
    assert not (tmp_path / "net.pt").exists()


@pytest.fixture
def two_classes(tmp_path: Path) -> Path:
    """A folder of pictures of 60x40, dark on the left and bright on the right, and a table of the two halves."""
    rng = np.random.default_rng(0)
    labels = np.zeros((40, 60), np.uint8)
    labels[:, 30:] = 1
    for name in ("images", "labels"):
        (tmp_path / "mine" / name).mkdir(parents=True)
    for number in range(8):
        image = (labels * 150 + rng.integers(0, 60, labels.shape)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "mine" / "images" / f"{number}.png"), cv2.merge([image] * 3))
        cv2.imwrite(str(tmp_path / "mine" / "labels" / f"{number}.png"), labels)
    (tmp_path / "mine" / "classes.csv").write_text("dark,0,0,0\nbright,255,255,255\n")
    return tmp_path / "mine"


def test_a_net_learns_classes_of_ones_own_from_pictures_of_another_size(tmp_path: Path, two_classes: Path) -> None:
    data = f"folder:{two_classes}"
    scores = train_and_evaluate(options(tmp_path, data=data, val=data, epochs=12, lr=5e-3, ema=0.5), data)

    _, spec, _ = read_checkpoint(tmp_path / "net.pt")
    assert (spec.class_names, spec.dataset, spec.licence) == (("dark", "bright"), "mine", "")
    assert (spec.width, spec.height) == (96, 72)
    assert scores.miou is not None and scores.miou > 0.7


@pytest.mark.parametrize(
    ("changes", "test", "message"),
    [
        ({}, "drive:frames=2", r"drive seed 1 has other classes than the model: label 0 is Sky there"),
        ({"val": "drive:frames=2"}, "", r"drive seed 1 has other classes"),
        ({"drive_share": 0.5}, "", r"the drive frames that --drive-share asks for has other classes"),
    ],
)
def test_other_classes_are_told_before_training(
    changes: dict[str, object], test: str, message: str, tmp_path: Path, two_classes: Path
) -> None:
    data = f"folder:{two_classes}"
    with pytest.raises(DataError, match=message):
        train_and_evaluate(options(tmp_path, data=data, **changes), test or data)

    assert not (tmp_path / "net.pt").exists()


def test_two_processes_train_one_net(tmp_path: Path) -> None:
    """Lightning starts the second process, which only helps: one checkpoint, one line of scores, every sample used."""
    command = [sys.executable, "-m", "edge_seg.apps", "train", "--data", "drive:frames=16,size=96x72"]
    command += ["--test", "drive:seed=3,frames=2,size=96x72", "--size", "96x72", "--arch", "edge-seg-n", "--json"]
    command += ["--epochs", "2", "--batch", "4", "--workers", "0", "--precision", "fp32", "--devices", "2"]

    done = subprocess.run(
        [*command, "--out", str(tmp_path / "net.pt")], capture_output=True, text=True, timeout=300, env=CPU_ONLY
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == 2
    assert done.stderr.count("epoch 2/2") == 1
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 2 * 16 // 4


def test_a_batch_that_processes_cannot_share_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"batch of 4 cannot be shared by 3 processes evenly\. Choose a --batch"):
        train(options(tmp_path, devices=3))


@pytest.mark.slow
def test_a_compiled_net_learns_the_same(tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("compiling for a CPU needs g++")
    for name, compiled in (("plain", False), ("compiled", True)):
        train(options(tmp_path / name, epochs=1, compile=compiled))

    plain, compiled_net = (read_checkpoint(tmp_path / name / "net.pt")[2] for name in ("plain", "compiled"))
    for (name, expected), found in zip(plain.state_dict().items(), compiled_net.state_dict().values(), strict=True):
        torch.testing.assert_close(found, expected, atol=2e-2, rtol=2e-2, msg=name)


@pytest.mark.parametrize(("optimizer", "decay"), [("sgd", "cosine"), ("adamw", "poly")])
def test_optimisers_and_schedules_lower_the_loss(
    optimizer: str, decay: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = options(tmp_path, epochs=6, lr=5e-3 if optimizer == "adamw" else 2e-2)
    schedule = dataclasses.replace(base.recipe.schedule, optimizer=optimizer, decay=decay)
    train(dataclasses.replace(base, recipe=dataclasses.replace(base.recipe, schedule=schedule)))

    losses = [float(line.split("'loss': '")[1].split("'")[0]) for line in capsys.readouterr().err.splitlines()]
    assert losses[-1] < losses[0]
