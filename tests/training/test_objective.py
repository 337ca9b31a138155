"""The objective: its terms are those of the losses, weighted as the recipe says."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edge_seg.losses import cross_entropy, focal, near_borders, ohem_cross_entropy, soft_dice, soft_jaccard
from edge_seg.recipe import Loss
from edge_seg.training.objective import Objective, class_weights
from edge_seg.types import VOID

LOGITS = torch.randn(2, 4, 12, 16, generator=torch.Generator().manual_seed(1))
TRUTH = torch.randint(0, 4, (2, 12, 16), generator=torch.Generator().manual_seed(2)).to(torch.uint8)
TRUTH[:, :3] = VOID
WEIGHTS = torch.tensor([1.0, 2.0, 0.5, 0.5])


@pytest.mark.parametrize(
    ("kind", "loss"), [("cross-entropy", cross_entropy), ("ohem", ohem_cross_entropy), ("focal", focal)]
)
def test_the_kind_chooses_the_loss_of_pixels(kind: str, loss: object) -> None:
    found = Objective(Loss(kind=kind), WEIGHTS)(LOGITS, TRUTH)

    torch.testing.assert_close(found, loss(LOGITS, TRUTH.long(), WEIGHTS))  # type: ignore[operator]


def test_the_kinds_own_fields_are_those_of_the_recipe() -> None:
    truth, sure = TRUTH.long(), Loss(kind="ohem", ohem_sure=0.2, ohem_least=0.25)

    found = [Objective(settings, WEIGHTS)(LOGITS, TRUTH) for settings in (Loss(kind="focal", focal_gamma=0.5), sure)]

    torch.testing.assert_close(found[0], focal(LOGITS, truth, WEIGHTS, gamma=0.5))
    torch.testing.assert_close(found[1], ohem_cross_entropy(LOGITS, truth, WEIGHTS, sure=0.2, least=0.25))
    assert not torch.isclose(found[0], focal(LOGITS, truth, WEIGHTS))
    assert not torch.isclose(found[1], ohem_cross_entropy(LOGITS, truth, WEIGHTS))


def test_terms_are_added_by_their_weights() -> None:
    settings = Loss(border=0.5, dice=0.25, jaccard=2.0)
    truth = TRUTH.long()
    at_borders = torch.where(near_borders(truth), truth, VOID)

    expected = (
        cross_entropy(LOGITS, truth, WEIGHTS)
        + 0.5 * cross_entropy(LOGITS, at_borders, WEIGHTS)
        + 0.25 * soft_dice(LOGITS, truth)
        + 2.0 * soft_jaccard(LOGITS, truth)
    )
    torch.testing.assert_close(Objective(settings, WEIGHTS)(LOGITS, TRUTH), expected)


def test_auxiliary_heads_get_the_first_term_alone() -> None:
    objective = Objective(Loss(border=1.0, dice=1.0, jaccard=1.0), None)

    torch.testing.assert_close(objective.of_pixels(LOGITS, TRUTH), cross_entropy(LOGITS, TRUTH.long()))


def test_class_weights_follow_the_recipe() -> None:
    pixels, where_present = np.array([900, 90, 10]), np.array([1000, 1000, 100])

    assert class_weights(Loss(class_weights="none"), pixels, where_present) is None
    by_log = class_weights(Loss(), pixels, where_present)
    by_median = class_weights(Loss(class_weights="median-frequency"), pixels, where_present)
    assert by_log is not None
    assert by_median is not None
    torch.testing.assert_close(by_log[2] / by_log[0], torch.tensor(float(np.log(2.0) / np.log(1.11))))
    torch.testing.assert_close(by_median[1] / by_median[0], torch.tensor(10.0))


def test_no_class_weighs_more_than_allowed() -> None:
    weights = class_weights(Loss(most_weight=1.5), np.array([900, 90, 10]), np.array([1000, 1000, 100]))

    assert weights is not None
    torch.testing.assert_close(weights.max() / weights.min(), torch.tensor(1.5))
    torch.testing.assert_close(weights.mean(), torch.tensor(1.0))
