"""Interrupted runs: whatever stops them, what is resumed ends in the same net, bit for bit, or is refused."""

import dataclasses
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from edge_seg.checkpoint import read_checkpoint, write_checkpoint
from edge_seg.errors import DataError, SinkError
from edge_seg.train import train
from edge_seg.training.folder import owned_folder
from edge_seg.training.options import TrainOptions
from edge_seg.training.saving import RUN
from edge_seg.training.task import SegmentationTask

ShortRun = Callable[..., TrainOptions]

VAL = "drive:seed=9,frames=2,size=96x72"


def stop_in(monkeypatch: pytest.MonkeyPatch, hook: str, step: int, stop: Callable[[], None]) -> None:
    """Call `stop` when the hook of the task is reached after `step` steps."""
    as_it_is = getattr(SegmentationTask, hook)

    def stopping(self: SegmentationTask, *arguments: object) -> object:
        if self.global_step == step:
            stop()
        return as_it_is(self, *arguments)

    monkeypatch.setattr(SegmentationTask, hook, stopping)


def ctrl_c() -> None:
    """What the terminal sends."""
    signal.raise_signal(signal.SIGINT)


def ctrl_c_twice() -> None:
    """What the impatient type."""
    ctrl_c()
    ctrl_c()


def sigterm() -> None:
    """What a scheduler sends."""
    signal.raise_signal(signal.SIGTERM)


def fail() -> None:
    """A broken label, a full memory."""
    raise RuntimeError("a picture that cannot be read")


def assert_equal_nets(first: TrainOptions, second: TrainOptions) -> None:
    """Every tensor of both outputs, bit for bit."""
    nets = [read_checkpoint(options.out)[2].state_dict() for options in (first, second)]
    assert [name for name, tensor in nets[0].items() if not torch.equal(tensor, nets[1][name])] == []


@pytest.mark.parametrize(
    ("hook", "step", "stop", "saved"),
    [
        ("training_step", 1, ctrl_c, 2),  # before the forward pass; the step is ended first
        ("on_before_zero_grad", 5, ctrl_c, 6),  # after the forward pass
        ("on_after_backward", 3, ctrl_c, 4),  # in the last step of an epoch
        ("on_train_batch_start", 9, sigterm, 10),
        ("on_after_backward", 6, fail, 4),  # saved last at the end of the first epoch
        ("on_after_backward", 6, ctrl_c_twice, 4),
    ],
)
def test_a_run_resumes_to_the_same_net_wherever_it_was_stopped(
    hook: str,
    step: int,
    stop: Callable[[], None],
    saved: int,
    short_run: ShortRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changes = {"epochs": 3, "rare": 0.5, "elastic": 0.5}
    whole, halves = short_run(tmp_path / "whole", **changes), short_run(tmp_path / "halves", **changes)
    train(whole)
    with monkeypatch.context() as patch:
        stop_in(patch, hook, step, stop)
        with pytest.raises((KeyboardInterrupt, SystemExit, RuntimeError)):
            train(halves)
    assert torch.load(halves.last, weights_only=True)["global_step"] == saved

    train(short_run(tmp_path / "halves", resume=True, **changes))

    assert_equal_nets(whole, halves)


@pytest.mark.parametrize(
    "changes",
    [
        {"workers": 1},
        {"val": VAL},
        {"freeze": "encoder", "arch": "timm:mobilenetv3_small_050"},
        {"arch": "torchvision:efficientnet_b0"},  # its stochastic depth draws in every step
        {"precision": "bf16"},
        {"teacher": "TINY"},
        {"data": "PICTURES", "drive_share": 0.5, "mix": 0.5, "rare": 0.5},
    ],
    ids=["worker", "val", "frozen", "random layers", "bf16", "teacher", "pictures"],
)
def test_every_kind_of_run_resumes_to_the_same_net(
    changes: dict[str, object],
    short_run: ShortRun,
    tmp_path: Path,
    tiny_checkpoint: Path,
    write_camvid: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_camvid(tmp_path, "train", names="abcdefgh")
    made = {"TINY": tiny_checkpoint, "PICTURES": f"camvid:{tmp_path}/train"}
    changes = {name: made.get(str(value), value) for name, value in changes.items()}
    whole, halves = (short_run(tmp_path / name, epochs=3, **changes) for name in ("whole", "halves"))
    train(whole)
    with monkeypatch.context() as patch:
        stop_in(patch, "on_after_backward", 5, ctrl_c)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train(halves)
    assert torch.load(halves.last, weights_only=True)["global_step"] == 6

    train(short_run(tmp_path / "halves", epochs=3, resume=True, **changes))

    assert_equal_nets(whole, halves)


def test_a_failure_in_validation_costs_nothing(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During validation the averaged weights stand in the net's place: what is saved then must not exchange them."""
    changes = {"epochs": 11, "val": VAL, "data": "drive:frames=4,size=96x72"}
    whole, halves = short_run(tmp_path / "whole", **changes), short_run(tmp_path / "halves", **changes)
    train(whole)
    with monkeypatch.context() as patch:
        stop_in(patch, "validation_step", 10, fail)
        with pytest.raises(RuntimeError, match="cannot be read"):
            train(halves)

    train(short_run(tmp_path / "halves", resume=True, **changes))

    assert_equal_nets(whole, halves)


def test_a_finished_run_resumed_gives_the_same_net(short_run: ShortRun, tmp_path: Path) -> None:
    train(short_run(tmp_path))
    first = (tmp_path / "net.pt").read_bytes()
    (tmp_path / "net.pt").unlink()

    train(short_run(tmp_path, resume=True, val=VAL))  # another set may be watched

    assert (tmp_path / "net.pt").read_bytes() == first


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arch": "edge-seg-s"}, r"was made with arch edge-seg-n, not edge-seg-s\. Give the options of the run"),
        ({"seed": 2, "batch": 8}, r"with seed 1, not 2; \[schedule\] batch 4, not 8"),
        ({"freeze": "encoder"}, "with freeze None, not encoder"),
        ({"optimizer": "sgd"}, r"with \[schedule\] optimizer adamw, not sgd"),
        ({"devices": 2}, r"with processes 1, not 2\."),
        ({"data": "drive:frames=20,size=96x72"}, r"with samples 16, not 20\."),
        ({"compile": True}, r"with compile False, not True\."),
        ({"encoder_weights": "published"}, r"with encoder_weights random, not published\."),
        ({"init": "edge-seg-n-fp32"}, r"with init None, not sha256 \w{16}\."),
    ],
)
def test_a_run_is_not_resumed_as_another(
    changes: dict[str, object], message: str, short_run: ShortRun, tmp_path: Path
) -> None:
    train(short_run(tmp_path, epochs=1))
    before = (tmp_path / "last.ckpt").read_bytes()

    with pytest.raises(DataError, match=message):
        train(short_run(tmp_path, resume=True, **({"epochs": 1} | changes)))
    assert (tmp_path / "last.ckpt").read_bytes() == before


def forget(run: TrainOptions, *names: str) -> None:
    """Make the saved run one of a version that did not tell these of itself."""
    saved = torch.load(run.last, weights_only=True)
    for name in names:
        del saved[RUN]["options"][name]
    torch.save(saved, run.last)


def test_a_run_of_before_a_recipe_had_a_field_goes_on(short_run: ShortRun, tmp_path: Path) -> None:
    """Where the field has its default; another value would be another run."""
    run = short_run(tmp_path, epochs=1)
    train(run)
    forget(run, "[loss] logit_adjustment")

    assert train(dataclasses.replace(run, resume=True)) is not None

    adjusted = dataclasses.replace(run.recipe, loss=dataclasses.replace(run.recipe.loss, logit_adjustment=0.5))
    with pytest.raises(DataError, match=r"was made with \[loss\] logit_adjustment 0.0, not 0.5"):
        train(dataclasses.replace(run, recipe=adjusted, resume=True))


@pytest.mark.parametrize("changes", [{}, {"init": "TINY"}, {"compile": True}], ids=["plain", "init", "compile"])
def test_a_run_that_does_not_tell_its_first_weights_goes_on(
    changes: dict[str, object], short_run: ShortRun, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    changes = {name: tiny_checkpoint if value == "TINY" else value for name, value in changes.items()}
    run = short_run(tmp_path, epochs=1, init=tiny_checkpoint)
    train(run)
    forget(run, "init", "encoder_weights", "compile")

    assert train(short_run(tmp_path, epochs=1, resume=True, **changes)) is not None


def test_other_first_weights_are_told_and_none_need_be_given(
    short_run: ShortRun, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.pt"
    arch, spec, net = read_checkpoint(tiny_checkpoint)
    write_checkpoint(other, arch, dataclasses.replace(spec, scores={}), net)
    with monkeypatch.context() as patch:
        stop_in(patch, "on_after_backward", 5, ctrl_c)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train(short_run(tmp_path, init=tiny_checkpoint))

    for _ in range(2):  # a run that was resumed keeps what it began with
        with pytest.raises(DataError, match=r"with init sha256 (\w{16}), not sha256 (?!\1)\w{16}\."):
            train(short_run(tmp_path, resume=True, init=other))
        train(short_run(tmp_path, resume=True))

    assert train(short_run(tmp_path, resume=True, init=tiny_checkpoint)) is not None


def test_another_teacher_is_told_whatever_its_name(short_run: ShortRun, tmp_path: Path, tiny_checkpoint: Path) -> None:
    teacher = tmp_path / "teacher.pt"
    teacher.write_bytes(tiny_checkpoint.read_bytes())
    train(short_run(tmp_path, epochs=1, teacher=tiny_checkpoint))

    train(short_run(tmp_path, epochs=1, resume=True, teacher=teacher))
    arch, spec, net = read_checkpoint(teacher)
    write_checkpoint(teacher, arch, dataclasses.replace(spec, scores={}), net)
    with pytest.raises(DataError, match=r"with teacher sha256 (\w{16}), not sha256 (?!\1)\w{16}\."):
        train(short_run(tmp_path, epochs=1, resume=True, teacher=teacher))
    with pytest.raises(DataError, match=r"with teacher sha256 \w+, not None\."):
        train(short_run(tmp_path, epochs=1, resume=True))


def test_what_is_no_run_is_told(short_run: ShortRun, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run to resume"):
        train(short_run(tmp_path, resume=True))
    train(short_run(tmp_path, epochs=1))
    with pytest.raises(DataError, match=r"of an earlier run. Type --resume"):
        train(short_run(tmp_path, epochs=1))
    (tmp_path / "last.ckpt").write_bytes(b"PK")
    with pytest.raises(DataError, match="is damaged"):
        train(short_run(tmp_path, resume=True))


def test_what_a_net_owes_to_is_kept_when_it_is_resumed(
    short_run: ShortRun, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_in(patch, "on_after_backward", 5, ctrl_c)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train(short_run(tmp_path, init=tiny_checkpoint))

    spec = train(short_run(tmp_path, resume=True))

    assert spec is not None
    assert spec.dataset == "drive frames and nothing"


def test_epochs_tell_only_what_was_measured_in_them(
    short_run: ShortRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(short_run(tmp_path, epochs=11, val=VAL, data="drive:frames=4,size=96x72"))

    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    assert [line.split()[1] for line in lines if "val_miou" in line] == ["10/11"]
    assert len(lines) == 11


def test_two_trainings_do_not_share_a_folder(short_run: ShortRun, tmp_path: Path) -> None:
    """The second would write over the checkpoint that the first is to go on from."""
    options = short_run(tmp_path)
    with owned_folder(options), pytest.raises(SinkError, match="Another training is at work in"):
        train(options)
    assert not options.last.exists()

    train(options)  # what holds the folder is the process, not the file that is left

    assert options.out.is_file()
