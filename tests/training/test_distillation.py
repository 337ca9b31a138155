"""Distillation: the terms are the published formulas, the teacher stays as it is, and a student comes nearer to it."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from edge_seg.checkpoint import read_checkpoint, write_checkpoint
from edge_seg.errors import DataError, ModelError
from edge_seg.export.to_onnx import to_onnx
from edge_seg.models import build_model
from edge_seg.recipe import Distillation, Recipe, Schedule
from edge_seg.spec import CAMVID_CLASSES
from edge_seg.train import train
from edge_seg.training.distillation import Distiller, LogitsDistiller, make_distiller, open_teacher, soft_divergence
from edge_seg.training.options import TrainOptions

ShortRun = Callable[..., TrainOptions]


def random_levels(seed: int, width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features at strides 4, 8 and 16 of a picture of 64 x 48."""
    chance = torch.Generator().manual_seed(seed)
    sizes = ((12, 16), (6, 8), (3, 4))
    first, second, third = (torch.randn(2, width, *size, generator=chance) for size in sizes)
    return first, second, third


def test_divergence_is_that_of_the_textbook() -> None:
    chance = torch.Generator().manual_seed(1)
    teacher, student = (torch.randn(2, 5, 3, 4, generator=chance) for _ in range(2))

    expected = 0.0
    for image in range(2):
        for row in range(3):
            for column in range(4):
                goal = torch.softmax(teacher[image, :, row, column] / 3, 0)
                found = torch.softmax(student[image, :, row, column] / 3, 0)
                expected += 9 * float((goal * (goal / found).log()).sum()) / 24

    assert float(soft_divergence(teacher, student, 1, 3.0)) == pytest.approx(expected, rel=1e-5)


def test_an_equal_student_has_nothing_to_learn() -> None:
    logits, levels = torch.randn(2, 11, 12, 16), random_levels(1, 8)
    distiller = Distiller(lambda _: (logits, levels), (8, 8), Distillation())
    for projection in distiller.projections:
        torch.nn.init.dirac_(projection.weight)  # type: ignore[arg-type]
        torch.nn.init.zeros_(projection.bias)  # type: ignore[arg-type]

    with torch.no_grad():
        loss = distiller(torch.zeros(0), logits, levels)
    assert float(loss) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize(("settings", "moved"), [(Distillation(features=0.0), "logits"), (Distillation(0.0), "levels")])
def test_each_weight_turns_its_term_off(settings: Distillation, moved: str) -> None:
    logits, levels = torch.randn(2, 11, 12, 16, requires_grad=True), random_levels(1, 8)
    for level in levels:
        level.requires_grad_()
    distiller = Distiller(lambda _: (torch.randn(2, 11, 12, 16), random_levels(2, 6)), (8, 6), settings)

    distiller(torch.zeros(0), logits, levels).backward()

    gradients = {"logits": logits.grad, "levels": levels[0].grad}
    assert {name for name, grad in gradients.items() if grad is not None and grad.abs().max() > 0} == {moved}


def test_a_teacher_of_other_classes_is_refused(tiny_checkpoint: Path) -> None:
    with pytest.raises(DataError, match="the teacher"):
        make_distiller(build_model("edge-seg-n", 2), tiny_checkpoint, ("road", "rest"), Distillation())


def test_an_export_teaches_what_its_checkpoint_does(tmp_path: Path, tiny_checkpoint: Path) -> None:
    _, spec, net = read_checkpoint(tiny_checkpoint)
    write_checkpoint(tmp_path / "n.pt", "edge-seg-n", dataclasses.replace(spec, name="edge-seg-n"), net)
    to_onnx(tmp_path / "n.pt", tmp_path / "n.onnx")
    names = tuple(c.name for c in spec.classes)

    first, again = (open_teacher(tmp_path / name, names)[0] for name in ("n.pt", "n.onnx"))

    images = torch.randn(2, 3, 72, 96, generator=torch.Generator().manual_seed(1))
    (logits, levels), (found, found_levels) = first(images), again(images)
    torch.testing.assert_close(found, logits, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found_levels, levels, rtol=1e-3, atol=1e-3)


def test_weights_alone_are_no_teacher(tmp_path: Path) -> None:
    torch.save(build_model("edge-seg-n", 2).state_dict(), tmp_path / "theirs.pth")

    with pytest.raises(ModelError, match="holds weights alone"):
        open_teacher(tmp_path / "theirs.pth", ("road", "rest"))


@pytest.mark.parametrize("damage", ["missing", "of another shape"])
def test_a_teacher_that_is_not_whole_is_refused(damage: str, tmp_path: Path, tiny_checkpoint: Path) -> None:
    """What the file does not give would answer by chance."""
    found = torch.load(tiny_checkpoint, weights_only=True)
    names = tuple(c.name for c in CAMVID_CLASSES)
    for name in [name for name in found["state_dict"] if name.startswith("aux_heads.")]:
        del found["state_dict"][name]
    torch.save(found, tmp_path / "teacher.pt")
    open_teacher(tmp_path / "teacher.pt", names)

    if damage == "missing":
        del found["state_dict"]["smooth4.0.weight"]
    else:
        found["state_dict"]["smooth4.0.weight"] = torch.zeros(1)
    torch.save(found, tmp_path / "teacher.pt")
    message = r"teacher\.pt lacks 1 of the \d+ tensors of edge-seg-n, the first smooth4\.0\.weight: .* checkpoint, \.pt"
    with pytest.raises(ModelError, match=message):
        open_teacher(tmp_path / "teacher.pt", names)


def test_a_student_comes_nearer_to_its_teacher(tmp_path: Path, tiny_checkpoint: Path) -> None:
    """Both learn from the same samples; only one sees what the teacher, a net of chance, makes of them."""
    recipe = Recipe(schedule=Schedule(epochs=4, batch=4, lr=5e-3, ema=0.5), distillation=Distillation(30.0, 0.0, 1.0))
    alone = TrainOptions(
        data="drive:frames=16,size=96x72",
        out=tmp_path / "alone.pt",
        run_dir=tmp_path / "alone",
        arch="edge-seg-n",
        width=96,
        height=72,
        recipe=recipe,
        workers=0,
        precision="fp32",
    )
    taught = dataclasses.replace(
        alone, out=tmp_path / "taught.pt", run_dir=tmp_path / "taught", teacher=tiny_checkpoint
    )
    for options in (alone, taught):
        train(options)

    teacher, *students = (read_checkpoint(path)[2] for path in (tiny_checkpoint, alone.out, taught.out))
    images = torch.randn(4, 3, 72, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        far, near = (float(soft_divergence(teacher(images), net(images), 1, 1.0)) for net in students)
    assert near < 0.5 * far


def test_a_teacher_whose_levels_have_other_sizes_is_met_halfway() -> None:
    """Networks that floor where ours round up, such as VGG, are a row or a column smaller at some strides."""
    smaller = tuple(level[..., :-1, :] for level in random_levels(2, 6))
    distiller = Distiller(lambda _: (torch.randn(2, 11, 11, 16), smaller), (8, 6), Distillation())  # type: ignore[arg-type, return-value]

    loss = distiller(torch.zeros(0), torch.randn(2, 11, 12, 16), random_levels(1, 8))

    assert torch.isfinite(loss)


def test_a_teacher_may_see_the_samples_larger() -> None:
    """What it answers meets the student's logits and features at their own size."""
    seen: list[torch.Size] = []

    def answer(images: torch.Tensor) -> torch.Tensor:
        seen.append(images.shape)
        return torch.ones(2, 11, 18, 24)

    settings = Distillation(features=0.0, scale=1.5)
    by_both = Distiller(lambda images: (answer(images), random_levels(2, 6)), (8, 6), settings)
    for distiller in (by_both, LogitsDistiller(answer, settings)):
        loss = distiller(torch.zeros(2, 3, 48, 64), torch.ones(2, 11, 12, 16), random_levels(1, 8))
        assert float(loss.detach()) == pytest.approx(0.0, abs=1e-5)

    assert seen == [(2, 3, 72, 96)] * 2


def test_a_student_owes_to_its_teacher(tmp_path: Path, tiny_checkpoint: Path, short_run: ShortRun) -> None:
    spec = train(short_run(tmp_path, epochs=1, teacher=tiny_checkpoint))

    assert spec is not None
    assert spec.dataset == "drive frames and nothing"
