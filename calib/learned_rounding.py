"""The rounding of one layer's weights, learned by gradient descent: AdaRound's inner problem, in PyTorch.

Nagel et al., Up or Down? Adaptive Rounding for Post-Training Quantization, 2020, sections 3.2 to 3.4. A weight becomes
floor(w / scale) + h with h = clip(1.2 sigmoid(v) - 0.1, 0, 1), and v is learned on the squared error of the layer's
output behind its activation. 1 - |2 h - 1|^beta, beta falling, drives each h to 0 or 1.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_seg.errors import import_extra

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float32]

BATCH = 256
"""Places of the output in a step."""

RATE = 1e-2
"""Adam's."""

WARM_UP = 0.2
"""Of the steps, without the term that drives h to 0 or 1."""

BETA = (20.0, 2.0)
"""First and last, between them half a cosine."""

WEIGHT = 1.0
"""Of that term's mean over the weights, where the error that rounding to nearest adds is 1."""

STRETCH = 0.1
"""The sigmoid is stretched to -0.1 .. 1.1, so that h reaches 0 and 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """A layer of G groups at K places: clip(read @ weights + bias) is to be near clip(wanted).

    `read` [G, K, I] is what the layer reads in INT8, `wanted` [G, K, O] its output in FP32 before the activation,
    `weights` [G, I, O] are in steps of `scales` [G, 1, O], and integers up to `most` are looked for; `bias` [G, 1, O].
    `clip` are the ends between which the activation lets values through.
    """

    read: Floats
    wanted: Floats
    weights: Floats
    scales: Floats
    bias: Floats
    clip: tuple[float, float]
    most: int

    @property
    def nearest(self) -> NDArray[np.int8]:
        """The weights rounded to nearest."""
        return np.clip(np.round(self.weights), -self.most, self.most).astype(np.int8)

    def error(self, integers: NDArray[np.int8]) -> float:
        """Mean squared error of the output behind the activation with weights of these integers."""
        total = 0.0
        for read, wanted, weights, bias in zip(self.read, self.wanted, integers * self.scales, self.bias, strict=True):
            found = np.clip(read @ weights + bias, *self.clip)
            total += float(np.square(found - np.clip(wanted, *self.clip)).sum(dtype=np.float64))
        return total / self.wanted.size


def learn_rounding(problem: Problem, steps: int, seed: int) -> NDArray[np.int8]:
    """Integers [G, I, O] within one step of the nearest, with a smaller error than those, or those.

    MissingExtraError without PyTorch.
    """
    nearest = problem.nearest
    added = np.square(problem.read @ ((nearest - problem.weights) * problem.scales)).mean()
    if not added > 0:
        return nearest
    up = _learn(problem, float(added), steps, seed)
    found = np.clip(np.floor(problem.weights) + up, -problem.most, problem.most).astype(np.int8)
    return found if problem.error(found) < problem.error(nearest) else nearest


def _learn(problem: Problem, added: float, steps: int, seed: int) -> NDArray[np.bool_]:
    """Which weights are rounded up; `added` is the mean squared error that rounding to nearest adds."""
    torch = import_extra("torch", "train")
    fraction = torch.tensor(problem.weights - np.floor(problem.weights))
    floor, scales, bias = (torch.tensor(a) for a in (np.floor(problem.weights), problem.scales, problem.bias))
    read, wanted = torch.from_numpy(problem.read), torch.from_numpy(problem.wanted).clamp(*problem.clip)
    logits = torch.logit((fraction + STRETCH) / (1 + 2 * STRETCH)).requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=RATE)
    rng = np.random.default_rng(seed)
    for step in range(steps):
        batch = torch.from_numpy(rng.integers(0, read.shape[1], BATCH))
        up = _rectified(logits)
        weights = (floor + up).clamp(-problem.most, problem.most) * scales
        found = torch.baddbmm(bias, read[:, batch], weights).clamp(*problem.clip)
        loss = (found - wanted[:, batch]).square().mean() / added
        if step >= WARM_UP * steps:
            loss = loss + WEIGHT * (1 - (2 * up - 1).abs().pow(falling_beta(step, steps))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    rounded_up: NDArray[np.bool_] = (_rectified(logits.detach()) >= 0.5).numpy()
    return rounded_up


def _rectified(logits: "Tensor") -> "Tensor":
    return (logits.sigmoid() * (1 + 2 * STRETCH) - STRETCH).clamp(0, 1)


def falling_beta(step: int, steps: int) -> float:
    """Beta from its first value, after the warm-up, to its last: half a cosine.

    >>> [round(falling_beta(step, 100), 1) for step in (20, 60, 100)]
    [20.0, 11.0, 2.0]
    """
    share = (step / steps - WARM_UP) / (1 - WARM_UP)
    first, last = BETA
    return last + (first - last) * (1 + float(np.cos(np.pi * share))) / 2
