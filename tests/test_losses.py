"""Losses against hand-made values."""

import math
from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor

from edge_seg.losses import (
    binary_log_loss,
    border_weights,
    cross_entropy,
    focal,
    inverse_log_weights,
    median_frequency_weights,
    near_borders,
    ohem_cross_entropy,
    soft_dice,
    soft_jaccard,
)
from edge_seg.types import VOID

WEIGHTS = torch.tensor([0.5, 1.0, 1.5])
LOSSES = [cross_entropy, focal, ohem_cross_entropy, soft_dice, soft_jaccard]


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Logits [2, 3, 5, 6] and truth with some void."""
    generator = torch.Generator().manual_seed(1)
    truth = torch.randint(3, (2, 5, 6), generator=generator)
    truth[0, 0] = VOID
    return torch.randn(2, 3, 5, 6, generator=generator), truth


def pixels(logits: Tensor, truth: Tensor) -> list[tuple[list[float], int]]:
    """(probabilities, label) of each pixel with truth, one by one."""
    shares = logits.softmax(1)
    places = [(n, y, x) for n, y, x in np.ndindex(*truth.shape) if truth[n, y, x] != VOID]
    return [(shares[n, :, y, x].tolist(), int(truth[n, y, x])) for n, y, x in places]


def test_rare_classes_weigh_more_but_within_bounds() -> None:
    weights = inverse_log_weights(np.array([10_000, 1_000, 10, 0]))

    assert weights.mean() == pytest.approx(1)
    assert weights[0] < weights[1] < weights[2] < weights[3] < 8 * weights[0]


def test_the_weighted_mean_is_pytorchs_and_void_does_not_count() -> None:
    logits, weights = torch.randn(2, 3, 4, 4), torch.tensor([0.5, 1.0, 1.5])
    truth = torch.randint(3, (2, 4, 4))
    truth[0, 0] = VOID

    expected = torch.nn.functional.cross_entropy(logits, truth, weights, ignore_index=VOID)

    assert cross_entropy(logits, truth, weights).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("loss_of", [*LOSSES, lambda logits, truth: binary_log_loss(logits[:, :1], truth)])
def test_a_batch_without_truth_costs_nothing(loss_of: Callable[[Tensor, Tensor], Tensor]) -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)

    loss = loss_of(logits, torch.full((1, 2, 2), VOID))
    loss.backward()

    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("loss_of", LOSSES)
def test_what_void_pixels_say_does_not_matter(
    loss_of: Callable[[Tensor, Tensor], Tensor], batch: tuple[Tensor, Tensor]
) -> None:
    logits, truth = batch
    other = logits.clone()
    other[0, :, 0] = 7.0 * torch.randn(3, 6)

    assert loss_of(other, truth).item() == pytest.approx(loss_of(logits, truth).item(), rel=1e-6)


@pytest.mark.parametrize("loss_of", LOSSES)
def test_a_step_down_the_gradient_lowers_the_loss(
    loss_of: Callable[[Tensor, Tensor], Tensor], batch: tuple[Tensor, Tensor]
) -> None:
    logits, truth = batch[0].requires_grad_(), batch[1]
    loss = loss_of(logits, truth)
    (gradient,) = torch.autograd.grad(loss, logits)

    assert loss_of(logits - 0.1 * gradient, truth).item() < loss.item()


def test_focal_is_its_formula(batch: tuple[Tensor, Tensor]) -> None:
    found = pixels(*batch)
    expected = sum(-WEIGHTS[t].item() * (1 - p[t]) ** 2 * math.log(p[t]) for p, t in found) / len(found)

    assert focal(*batch, WEIGHTS).item() == pytest.approx(expected, rel=1e-5)


def test_focal_on_two_classes_is_torchvisions() -> None:
    from torchvision.ops import sigmoid_focal_loss

    score, truth = torch.randn(2, 4, 4), torch.randint(2, (2, 4, 4))
    logits = torch.stack([torch.zeros_like(score), score], 1)  # softmax over (0, s) is the sigmoid of s
    expected = sigmoid_focal_loss(score, truth.float(), alpha=-1, gamma=2.0, reduction="mean")

    assert focal(logits, truth).item() == pytest.approx(expected.item(), rel=1e-5)


def sure_of(labels: Tensor) -> Tensor:
    """Logits [N, 3, H, W] that leave no doubt about the labels [N, H, W]."""
    return 100.0 * torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()


def test_focal_leaves_void_out_of_torchvisions() -> None:
    from torchvision.ops import sigmoid_focal_loss

    score, truth = torch.randn(2, 4, 4), torch.randint(2, (2, 4, 4))
    truth[1, 1:3] = VOID
    known = truth != VOID
    expected = sigmoid_focal_loss(score[known], truth[known].float(), alpha=-1, gamma=2.0, reduction="mean")

    assert focal(torch.stack([torch.zeros_like(score), score], 1), truth).item() == pytest.approx(expected.item())


def test_dice_of_sure_labels_is_torchmetrics(batch: tuple[Tensor, Tensor]) -> None:
    segmentation = pytest.importorskip("torchmetrics.functional.segmentation")
    labels, truth = batch[0].argmax(1)[1:], batch[1][1:]  # one picture, without void, in which all classes occur
    expected = segmentation.dice_score(labels, truth, num_classes=3, average="macro", input_format="index")

    assert set(truth.flatten().tolist()) == {0, 1, 2}
    assert soft_dice(sure_of(labels), truth).item() == pytest.approx(1 - expected.item())


def test_jaccard_of_sure_labels_is_torchmetrics(batch: tuple[Tensor, Tensor]) -> None:
    functional = pytest.importorskip("torchmetrics.functional")
    labels, truth = batch[0].argmax(1), batch[1]
    expected = functional.jaccard_index(labels, truth, task="multiclass", num_classes=3, ignore_index=VOID)

    assert set(truth.flatten().tolist()) == {0, 1, 2, VOID}
    assert soft_jaccard(sure_of(labels), truth).item() == pytest.approx(1 - expected.item())


def test_the_binary_log_loss_is_cross_entropy_of_two_classes(batch: tuple[Tensor, Tensor]) -> None:
    logits, truth = batch[0][:, :2], batch[1]
    truth[truth == 2] = 1

    found = binary_log_loss(logits[:, 1:] - logits[:, :1], truth)

    assert found.item() == pytest.approx(cross_entropy(logits, truth).item(), rel=1e-5)


def test_the_binary_log_loss_is_its_formula() -> None:
    logits, truth = torch.randn(2, 1, 3, 3), torch.randint(2, (2, 3, 3))
    truth[1, 2, 2] = VOID
    terms = [
        -math.log(p if t else 1 - p)
        for p, t in zip(logits.sigmoid().flatten().tolist(), truth.flatten().tolist(), strict=True)
        if t != VOID
    ]

    assert binary_log_loss(logits, truth).item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)


def test_ohem_is_the_mean_of_the_hard_pixels(batch: tuple[Tensor, Tensor]) -> None:
    hard = [WEIGHTS[t].item() * -math.log(p[t]) for p, t in pixels(*batch) if p[t] <= 0.4]

    assert ohem_cross_entropy(*batch, WEIGHTS, sure=0.4).item() == pytest.approx(sum(hard) / len(hard), rel=1e-5)


def test_ohem_keeps_the_hardest_share_where_all_are_sure(batch: tuple[Tensor, Tensor]) -> None:
    logits, truth = 0.01 * batch[0], batch[1]
    losses = sorted(-math.log(p[t]) for p, t in pixels(logits, truth))[-6:]  # an eighth of 54

    found = ohem_cross_entropy(logits, truth, sure=0.01, least=1 / 8)

    assert found.item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


@pytest.mark.parametrize(
    ("loss_of", "share"),
    [(soft_dice, lambda both, p, t: 2 * both / (p + t)), (soft_jaccard, lambda both, p, t: both / (p + t - both))],
)
def test_overlap_losses_are_their_formulas(
    loss_of: Callable[[Tensor, Tensor], Tensor],
    share: Callable[[float, float, float], float],
    batch: tuple[Tensor, Tensor],
) -> None:
    logits, truth = batch
    truth[truth == 2] = 1  # class 2 never occurs, and is left out
    found = pixels(logits, truth)
    values = [
        share(sum(p[c] for p, t in found if t == c), sum(p[c] for p, _ in found), sum(t == c for _, t in found))
        for c in (0, 1)
    ]

    assert loss_of(logits, truth).item() == pytest.approx(1 - sum(values) / 2, rel=1e-5)


def test_median_frequencies_weigh_the_middle_class_one() -> None:
    weights = median_frequency_weights(np.array([100, 10, 1]), np.array([100, 100, 100]))

    assert weights.tolist() == pytest.approx([0.1, 1.0, 10.0])
    assert median_frequency_weights(np.zeros(3, np.int64), np.zeros(3, np.int64)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("radius", [1, 3])
def test_pixels_near_borders_are_those_with_another_label_in_reach(radius: int) -> None:
    truth = np.random.default_rng(0).integers(0, 3, (9, 11)) // 2
    truth[2:4, 3] = VOID

    expected = np.zeros(truth.shape, bool)
    for y, x in np.ndindex(*truth.shape):
        around = truth[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        expected[y, x] = truth[y, x] != VOID and bool(set(around.ravel().tolist()) - {truth[y, x], VOID})

    assert np.array_equal(near_borders(torch.from_numpy(truth)[None], radius)[0].numpy(), expected)


def test_the_border_weights_are_u_nets_formula() -> None:
    truth = np.zeros((12, 14), np.uint8)
    truth[2:5, 2:5], truth[2:6, 7:9], truth[9, 9:12], truth[0, 0] = 1, 1, 2, VOID
    left = np.arange(14) < 6
    masks = [(truth == 1) & left, (truth == 1) & ~left, truth == 2]
    class_weights = np.array([1.0, 2.0, 3.0], np.float32)

    expected = np.zeros(truth.shape)
    for y, x in np.ndindex(*truth.shape):
        away = sorted(min(math.hypot(y - v, x - u) for v, u in np.argwhere(mask)) for mask in masks)
        between = 10 * math.exp(-((away[0] + away[1]) ** 2) / (2 * 5**2)) if truth[y, x] == 0 else 0
        expected[y, x] = 0 if truth[y, x] == VOID else class_weights[truth[y, x]] + between

    assert border_weights(truth, class_weights) == pytest.approx(expected, rel=1e-4)


def test_a_single_object_has_no_border_to_another() -> None:
    truth = np.array([[0, 1, 1, 0]], np.uint8)

    assert border_weights(truth, np.array([1, 2], np.float32)).tolist() == [[1, 2, 2, 1]]
