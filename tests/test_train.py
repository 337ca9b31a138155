"""Training: it learns, it resumes to the same net, it refuses what cannot work."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from torch.utils.data import DataLoader

from edge_seg.checkpoint import read_checkpoint, write_checkpoint
from edge_seg.data.camvid import CAMVID_LICENCE
from edge_seg.errors import DataError, SinkError
from edge_seg.models import build_model
from edge_seg.spec import CAMVID_CLASSES, ModelSpec
from edge_seg.train import train, train_and_evaluate
from edge_seg.training.batches import training_loader
from edge_seg.training.options import TrainOptions
from edge_seg.training.samples import Drawn
from edge_seg.training.task import DivergedError

ShortRun = Callable[..., TrainOptions]

TINY_CAMVID = ModelSpec("first", CAMVID_CLASSES, 96, 72, "CamVid train", licence=CAMVID_LICENCE)


def trained_spec(run: TrainOptions) -> ModelSpec:
    """The spec of the net that a run ends in."""
    spec = train(run)
    assert spec is not None
    return spec


def test_a_run_ends_in_a_checkpoint_with_its_score(short_run: ShortRun, tmp_path: Path) -> None:
    scores = train_and_evaluate(short_run(tmp_path), "drive:seed=3,frames=3,size=96x72")

    arch, spec, _ = read_checkpoint(tmp_path / "net.pt")
    assert arch == spec.name == "edge-seg-n"
    assert (spec.width, spec.height, spec.licence) == (96, 72, "Apache-2.0")
    assert scores.images == 3
    assert spec.scores == {"drive seed 3 mIoU": scores.miou}


def test_training_lowers_the_loss(short_run: ShortRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(short_run(tmp_path, epochs=6, lr=5e-3))

    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    losses = [float(line.split("'loss': '")[1].split("'")[0]) for line in lines]
    assert len(losses) == 6
    assert losses[-1] < losses[0]


def test_a_loss_that_is_no_number_ends_the_run(short_run: ShortRun, tmp_path: Path, tiny_checkpoint: Path) -> None:
    arch, spec, net = read_checkpoint(tiny_checkpoint)
    with torch.no_grad():
        net.head.bias.fill_(1e38)  # times a temperature or a weight: beyond float32
        net.head.weight.fill_(1e38)
    write_checkpoint(tmp_path / "huge.pt", arch, spec, net)

    with pytest.raises(DivergedError, match=r"no number any more at step 0: .* --precision fp32, or with a lower --lr"):
        train(short_run(tmp_path, init=tmp_path / "huge.pt"))
    assert not (tmp_path / "net.pt").exists()


def test_an_output_that_cannot_be_written_is_told_before_training(
    short_run: ShortRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(SinkError, match=r"file cannot be written: .*Choose another --out"):
        train(short_run(tmp_path, out=tmp_path / "file" / "net.pt"))
    assert "epoch" not in capsys.readouterr().err


def test_first_weights_keep_their_licence(short_run: ShortRun, tmp_path: Path) -> None:
    arch, spec, net = "edge-seg-n", TINY_CAMVID, build_model("edge-seg-n", 11)
    write_checkpoint(tmp_path / "first.pt", arch, spec, net)

    trained = trained_spec(short_run(tmp_path / "next", init=tmp_path / "first.pt", epochs=1))

    assert (trained.dataset, trained.licence) == ("drive frames and CamVid train", CAMVID_LICENCE)


def test_a_run_starts_from_a_checkpoint(short_run: ShortRun, tmp_path: Path, tiny_checkpoint: Path) -> None:
    train(short_run(tmp_path, init=tiny_checkpoint, lr=0.0, weight_decay=0.0, ema=0.5))

    before, after = (read_checkpoint(path)[2].state_dict() for path in (tiny_checkpoint, tmp_path / "net.pt"))
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before if name.endswith("weight"))
    with pytest.raises(DataError, match=r"(?s)holds edge-seg-n and does not fit edge-seg-s.*Choose --arch edge-seg-n"):
        train(short_run(tmp_path / "other", init=tiny_checkpoint, arch="edge-seg-s"))


def test_weights_of_elsewhere_are_named_in_the_spec(short_run: ShortRun, tmp_path: Path) -> None:
    torch.save(build_model("edge-seg-n", 11).state_dict(), tmp_path / "theirs.pth")

    trained = trained_spec(short_run(tmp_path / "run", init=tmp_path / "theirs.pth", epochs=1))

    assert trained.dataset == "drive frames and weights of theirs.pth"
    assert trained.licence == "Unknown: see where the weights of theirs.pth came from"


def test_a_run_starts_from_an_export(
    short_run: ShortRun, tmp_path: Path, tiny_model: Path, tiny_checkpoint: Path
) -> None:
    quiet = {"lr": 0.0, "weight_decay": 0.0, "ema": 0.5, "epochs": 1}
    train(short_run(tmp_path, init=tiny_model, **quiet))

    before, after = (read_checkpoint(path)[2].state_dict() for path in (tiny_checkpoint, tmp_path / "net.pt"))
    assert torch.equal(before["head.weight"], after["head.weight"])
    assert not torch.equal(after["stem.0.1.running_var"], torch.ones(16))


@pytest.mark.parametrize("arch", ["edge-seg-n", "torchvision:mobilenet_v3_small", "timm:mobilenetv3_small_050"])
def test_a_frozen_encoder_stays_bit_for_bit(short_run: ShortRun, arch: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = build_model(arch, 11)
    net.forward_with_aux(torch.randn(4, 3, 72, 96))  # statistics that are not those of a fresh net
    write_checkpoint(tmp_path / "first.pt", arch, dataclasses.replace(TINY_CAMVID, name=arch), net)
    val = "drive:seed=9,frames=2,size=96x72"

    train(
        short_run(
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


def test_published_weights_are_named_in_the_spec(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.models import get_model, get_model_weights

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    url = get_model_weights("mobilenet_v3_small").DEFAULT.url
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(get_model("mobilenet_v3_small").state_dict(), tmp_path / "hub" / "checkpoints" / Path(url).name)

    trained = trained_spec(
        short_run(tmp_path / "run", arch="torchvision:mobilenet_v3_small", encoder_weights="published", epochs=1)
    )

    assert trained.dataset == "drive frames and ImageNet"
    assert trained.licence.startswith("Encoder weights trained on ImageNet")


def test_validation_is_watched(short_run: ShortRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(short_run(tmp_path, epochs=2, data="drive:frames=4,size=96x72", val="drive:seed=9,frames=2,size=96x72"))

    assert "val_miou" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "drive:frames=3,size=96x72"}, "gives 3 samples, fewer than one batch of 4"),
        ({"data": "nothing"}, "No data set 'nothing'"),
    ],
)
def test_what_cannot_work_is_told(
    short_run: ShortRun, changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        train(short_run(tmp_path, **changes))
    assert not (tmp_path / "net.pt").exists()


@pytest.fixture
def compiled_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the functions that were compiled, one for each call of what `torch.compile` made of them."""
    compiling, calls = torch.compile, []

    def watching(function: Callable[..., Any]) -> Callable[..., Any]:
        compiled = compiling(function)

        def counting(*arguments: Any) -> Any:  # noqa: ANN401
            calls.append(function.__name__)
            return compiled(*arguments)

        return counting

    monkeypatch.setattr(torch, "compile", watching)
    return calls


@pytest.mark.slow
def test_a_compiled_net_learns_the_same(
    short_run: ShortRun, tmp_path: Path, tiny_checkpoint: Path, compiled_calls: list[str]
) -> None:
    """What is compared is the way that kernels and statistics went, far less than they measure.

    A scale or an offset before another BatchNorm has no gradient, and goes where the rounding takes it.
    """
    if shutil.which("g++") is None:
        pytest.skip("compiling for a CPU needs g++")
    begun, ways = read_checkpoint(tiny_checkpoint)[2].state_dict(), []
    for name, compiled in (("plain", False), ("compiled", True)):
        slow = {"optimizer": "sgd", "lr": 2e-3, "ema": 0.0, "epochs": 1}
        run = short_run(tmp_path / name, init=tiny_checkpoint, compile=compiled, **slow)
        train(run)
        assert compiled_calls == ["features"] * (4 if compiled else 0)
        ended = read_checkpoint(run.out)[2].state_dict()
        ways.append({n: ended[n] - was for n, was in begun.items() if was.ndim == 4 or "running" in n})

    assert len(ways[0]) > 60
    apart = {name: float((ways[1][name] - way).norm() / way.norm()) for name, way in ways[0].items()}
    assert {name: share for name, share in apart.items() if not share < 0.1} == {}


@pytest.mark.parametrize(("optimizer", "decay"), [("sgd", "cosine"), ("adamw", "poly")])
def test_optimisers_and_schedules_lower_the_loss(
    short_run: ShortRun, optimizer: str, decay: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = short_run(tmp_path, epochs=6, lr=5e-3 if optimizer == "adamw" else 2e-2)
    schedule = dataclasses.replace(base.recipe.schedule, optimizer=optimizer, decay=decay)
    train(dataclasses.replace(base, recipe=dataclasses.replace(base.recipe, schedule=schedule)))

    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    losses = [float(line.split("'loss': '")[1].split("'")[0]) for line in lines]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_samples_made_where_the_net_is_train_the_same_net(
    precision: str, short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way of a GPU, walked on a CPU: workers only draw, the task makes the pixels."""
    made_by_worker, made_later = (short_run(tmp_path / name, precision=precision) for name in ("worker", "later"))
    train(made_by_worker)

    def only_drawing(*arguments: Any) -> "DataLoader[Drawn]":  # noqa: ANN401
        loader = training_loader(*arguments)
        loader.collate_fn = list
        return loader

    monkeypatch.setattr("edge_seg.train.training_loader", only_drawing)
    train(made_later)

    nets = [read_checkpoint(run.out)[2].state_dict() for run in (made_by_worker, made_later)]
    assert all(torch.equal(tensor, nets[1][name]) for name, tensor in nets[0].items())
