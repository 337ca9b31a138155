"""What a step of a training is made of: who is decayed, by what momentum, and which pixels each step sees."""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from torch import Tensor, nn
from torch.nn import functional as F

from edge_seg.models import SegmentationNet, build_model
from edge_seg.models.deploy import normalise
from edge_seg.recipe import Loss, Schedule
from edge_seg.training.objective import Objective
from edge_seg.training.task import SegmentationTask
from edge_seg.types import VOID


def make_task(schedule: Schedule, *, freeze: bool = False) -> SegmentationTask:
    """A task of edge-seg-n, as a trainer of 100 steps would hold it."""
    net = build_model("edge-seg-n", 11)
    if freeze:
        net.freeze_encoder()
    task = SegmentationTask(net, Objective(Loss(), None), schedule)
    task._trainer = SimpleNamespace(estimated_stepping_batches=100)  # type: ignore[assignment]
    return task


def groups_of(task: SegmentationTask) -> tuple[torch.optim.Optimizer, dict[int, float]]:
    """The task's optimiser, and the weight decay of each parameter by its id."""
    found = task.configure_optimizers()
    assert isinstance(found, dict)
    optimizer = found["optimizer"]
    assert isinstance(optimizer, torch.optim.Optimizer)
    return optimizer, {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_norms_and_biases_are_not_decayed(optimizer: str) -> None:
    task = make_task(Schedule(optimizer=optimizer, weight_decay=0.02))
    _, decays = groups_of(task)

    plain: set[int] = set()
    for module in task.net.modules():
        if isinstance(module, nn.BatchNorm2d):
            plain |= {id(module.weight), id(module.bias)}
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            plain.add(id(module.bias))
    everything = {id(p) for p in task.net.parameters()}
    assert 20 < len(plain) < len(everything)
    assert decays == {key: 0.0 if key in plain else 0.02 for key in everything}


def test_what_is_frozen_is_not_handed_to_the_optimiser() -> None:
    task = make_task(Schedule(), freeze=True)
    assert isinstance(task.net, SegmentationNet)
    frozen = {id(p) for part in task.net.encoder_parts() for p in part.parameters()}

    assert set(groups_of(task)[1]) == {id(p) for p in task.net.parameters()} - frozen


def test_sgd_looks_ahead_as_nesterov_does() -> None:
    """After equal gradients g the first step is (1 + m) g, and not g as without it."""
    task = make_task(Schedule(optimizer="sgd", lr=0.1, momentum=0.9, weight_decay=0.0))
    optimizer, _ = groups_of(task)
    assert {(group["nesterov"], group["momentum"]) for group in optimizer.param_groups} == {(True, 0.9)}

    head = task.net.head.weight
    assert isinstance(head, Tensor)
    before, rate = head.detach().clone(), optimizer.param_groups[0]["lr"]
    head.grad = torch.ones_like(head)
    optimizer.step()

    torch.testing.assert_close(before - head.detach(), torch.full_like(before, 1.9 * rate))


class Seen(nn.Module):
    """An objective that keeps the truths [N, h, w] that it is handed."""

    def __init__(self) -> None:
        super().__init__()
        self.truths: list[Tensor] = []

    def forward(self, logits: Tensor, truth: Tensor) -> Tensor:
        """No loss."""
        assert logits.shape[-2:] == truth.shape[-2:]
        self.truths.append(truth)
        return logits.sum()


def test_four_steps_see_four_quarters_of_the_truth() -> None:
    """Of a picture whose pixels are numbered; the next four see them again."""
    task, seen = make_task(Schedule()), Seen()
    task.objective = seen  # type: ignore[assignment]
    for step in range(8):
        task._trainer = SimpleNamespace(global_step=step)  # type: ignore[assignment]
        task._loss_at_half_size(torch.zeros(1, 11, 2, 2), torch.arange(48).reshape(1, 6, 8))

    assert [quarter.shape for quarter in seen.truths] == [(1, 3, 4)] * 8
    assert sorted(torch.cat(seen.truths[:4]).flatten().tolist()) == list(range(48))
    assert all(torch.equal(*pair) for pair in zip(seen.truths[:4], seen.truths[4:], strict=True))


LABELS = torch.randint(0, 11, (2, 64, 96), generator=torch.Generator().manual_seed(1))
"""Noise, so that the truth of one stride is not that of another one."""
BATCH = torch.randint(0, 256, (2, 3, 64, 96), generator=torch.Generator().manual_seed(2)).byte()
WEIGHTS = torch.linspace(0.5, 1.5, 11)


def loss_of_step(net: SegmentationNet, truth: Tensor, **terms: float) -> float:
    """The loss of the first step, with these terms of the recipe."""
    task = SegmentationTask(net, Objective(Loss(**terms), WEIGHTS), Schedule())  # type: ignore[arg-type]
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.0}])
    task._trainer = SimpleNamespace(optimizers=[optimizer], global_step=0)  # type: ignore[assignment]
    task.log = lambda *arguments, **options: None  # type: ignore[method-assign]
    return task.training_step((BATCH, truth.byte()), 0).item()


@pytest.mark.parametrize("aux", [0.4, 1.0])
@pytest.mark.parametrize("others", [{}, {"dice": 1.0, "jaccard": 1.0, "border": 1.0}], ids=["alone", "of three more"])
def test_auxiliary_heads_add_their_weight_times_the_loss_at_their_strides(aux: float, others: dict[str, float]) -> None:
    """They are given the pixels in the middle of their strides, and the first term of the loss alone."""
    torch.manual_seed(0)
    net = build_model("edge-seg-n", 11)
    truth = LABELS.clone()
    truth[:, :, :24] = VOID

    _, at8, at16 = net.forward_with_aux(normalise(BATCH))
    assert (at8.shape[-2:], at16.shape[-2:]) == ((8, 12), (4, 6))
    terms = [
        F.cross_entropy(deep, truth[:, middle :: 2 * middle, middle :: 2 * middle], WEIGHTS, ignore_index=VOID).item()
        for deep, middle in ((at8, 4), (at16, 8))
    ]
    without = loss_of_step(net, truth, aux=0.0, **others)

    assert min(terms) > 1 and abs(terms[0] - terms[1]) > 0.01
    assert loss_of_step(net, truth, aux=aux, **others) == pytest.approx(without + aux * sum(terms), rel=1e-5)
