"""What is trained: a net with its loss, optimiser and schedule, as a LightningModule."""

import math
from collections.abc import Callable
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F

from edge_seg.errors import EdgeSegError
from edge_seg.metrics import ConfusionMatrix
from edge_seg.models.deploy import normalise
from edge_seg.models.net import TrainableNet
from edge_seg.recipe import Schedule
from edge_seg.training.distillation import Levels
from edge_seg.training.objective import Objective
from edge_seg.training.samples import Drawn

LOOK_EVERY = 20
"""Steps between two looks at the loss on a GPU."""

MakeSamples = Callable[[list[Drawn], torch.device], tuple[Tensor, Tensor]]


class DivergedError(EdgeSegError):
    """A training whose loss is no number any more."""


class SegmentationTask(L.LightningModule):
    """A net with its loss, optimiser and schedule.

    Samples that are only drawn yet, as for a GPU, `make_samples` makes there. It is a function and not what holds the
    pictures, since Lightning copies all that a task holds for its average.
    """

    def __init__(
        self,
        net: TrainableNet,
        objective: Objective,
        schedule: Schedule,
        *,
        seed: int = 0,
        make_samples: MakeSamples | None = None,
        distiller: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.net = net.to(memory_format=torch.channels_last)
        self.objective, self.schedule, self.distiller = objective, schedule, distiller
        self.make_samples, self.seed = make_samples, seed
        self.matrix = ConfusionMatrix(net.classes)
        self.features: Callable[[Tensor], Levels] = net.features

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:  # noqa: ANN401
        if self.make_samples is not None and isinstance(batch, list) and isinstance(batch[0], Drawn):
            return self.make_samples(batch, device)
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def on_train_batch_start(self, batch: object, batch_idx: int) -> None:
        # Layers that draw, such as stochastic depth, draw what seed, step and process say, also after a --resume.
        chance = np.random.SeedSequence([self.seed, self.global_step, self.global_rank])
        torch.manual_seed(int(chance.generate_state(1)[0]))

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        images, truth = normalise(batch[0]).to(memory_format=torch.channels_last), batch[1]
        features = self.features(images)
        logits, *aux = self.net.heads(features)
        loss = self._loss_at_half_size(logits, truth)
        for deep in aux if self.objective.settings.aux else []:
            at_stride = _nearest(truth, deep.shape[-2:])
            loss = loss + self.objective.settings.aux * self.objective.of_pixels(deep, at_stride)
        if self.distiller is not None:
            loss = loss + self.distiller(images, logits, features)
        self._check(loss)
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.log("loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(images))
        self.log("lr", rate, on_step=False, on_epoch=True, batch_size=len(images))
        return loss

    def _check(self, loss: Tensor) -> None:
        # No number once is no number for ever. Each look at a GPU's loss waits for it, so there now and then will do.
        if (loss.device.type == "cpu" or self.global_step % LOOK_EVERY == 0) and not loss.isfinite():
            raise DivergedError(
                f"The loss is no number any more at step {self.global_step}: nothing can be learnt from there. Start "
                f"anew with --precision fp32, or with a lower --lr than {self.schedule.lr:g}."
            )

    def _loss_at_half_size(self, logits: Tensor, truth: Tensor) -> Tensor:
        # A quarter of the pixels, another quarter each step: a close stand-in for the loss at full size, whose work on
        # a CPU would be a third of the whole step.
        row, column = divmod(self.global_step % 4, 2)
        chosen = truth[:, row::2, column::2]
        loss: Tensor = self.objective(F.interpolate(logits.float(), size=chosen.shape[-2:], mode="bilinear"), chosen)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        images, truth = batch
        logits = F.interpolate(self.net(normalise(images)).float(), size=truth.shape[-2:], mode="bilinear")
        self.matrix.update(logits.argmax(1).to(torch.uint8).cpu().numpy(), truth.cpu().numpy())

    def on_validation_epoch_end(self) -> None:
        self.log("val_miou", self.matrix.miou(), prog_bar=True, rank_zero_only=True)
        self.matrix = ConfusionMatrix(len(self.matrix.counts))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        plan = self.schedule
        trained = [p for p in self.parameters() if p.requires_grad]
        decayed = [p for p in trained if p.ndim > 1]
        others = [p for p in trained if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
        optimizer: torch.optim.Optimizer
        if plan.optimizer == "sgd":
            optimizer = torch.optim.SGD(groups, plan.lr, plan.momentum, weight_decay=plan.weight_decay, nesterov=True)
        else:
            optimizer = torch.optim.AdamW(groups, lr=plan.lr, weight_decay=plan.weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: share_of_top_lr(step, steps, plan))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def share_of_top_lr(step: int, steps: int, plan: Schedule) -> float:
    """Linear warm-up, then (1 - t)^0.9 (Chen et al., DeepLab, 2017) or (1 + cos(pi t)) / 2, t the share of steps done.

    >>> [round(share_of_top_lr(step, 100, Schedule()), 2) for step in (0, 1, 2, 50, 100)]
    [0.5, 0.99, 0.98, 0.54, 0.0]
    >>> [round(share_of_top_lr(step, 100, Schedule(decay="cosine")), 2) for step in (2, 50, 75)]
    [1.0, 0.5, 0.15]
    """
    warm_up = max(1, round(plan.warm_up * steps))
    done = min(1.0, step / max(1, steps))
    falling = (1 - done) ** 0.9 if plan.decay == "poly" else (1 + math.cos(math.pi * done)) / 2
    return float(min(1.0, (step + 1) / warm_up) * falling)


def _nearest(truth: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(truth[:, None].float(), size=size, mode="nearest-exact")[:, 0]
