"""What is trained: a net with its loss, optimiser and schedule, as a LightningModule."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional as F

from edge_seg.losses import cross_entropy
from edge_seg.metrics import ConfusionMatrix
from edge_seg.models import SegmentationNet
from edge_seg.models.deploy import normalise

AUX_WEIGHT = 0.4
WARM_UP_SHARE = 0.02


class SegmentationTask(L.LightningModule):
    """A net with its loss, optimiser and schedule."""

    def __init__(self, net: SegmentationNet, class_weights: Tensor, *, lr: float, weight_decay: float) -> None:
        super().__init__()
        self.net = net.to(memory_format=torch.channels_last)
        self.lr, self.weight_decay = lr, weight_decay
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.matrix = ConfusionMatrix(len(class_weights))

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        images, truth = batch
        logits, *aux = self.net.forward_with_aux(normalise(images).to(memory_format=torch.channels_last))
        loss = self._loss_at_half_size(logits, truth)
        for deep in aux:
            loss = loss + AUX_WEIGHT * self._loss(deep, _nearest(truth, deep.shape[-2:]))
        self.log("loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(images))
        return loss

    def _loss_at_half_size(self, logits: Tensor, truth: Tensor) -> Tensor:
        # A quarter of the pixels, another quarter each step: a close stand-in for the loss at full size, whose work on
        # a CPU would be a third of the whole step.
        row, column = divmod(self.global_step % 4, 2)
        chosen = truth[:, row::2, column::2]
        return self._loss(F.interpolate(logits, size=chosen.shape[-2:], mode="bilinear"), chosen)

    def _loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        weights: Tensor = self.class_weights  # type: ignore[assignment]
        return cross_entropy(logits.float(), truth.long(), weights)

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        images, truth = batch
        logits = F.interpolate(self.net(normalise(images)).float(), size=truth.shape[-2:], mode="bilinear")
        self.matrix.update(logits.argmax(1).to(torch.uint8).cpu().numpy(), truth.cpu().numpy())

    def on_validation_epoch_end(self) -> None:
        self.log("val_miou", self.matrix.miou(), prog_bar=True)
        self.matrix = ConfusionMatrix(len(self.matrix.counts))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        trained = [p for p in self.net.parameters() if p.requires_grad]
        decayed, others = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=self.lr, weight_decay=self.weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: poly_with_warm_up(step, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def poly_with_warm_up(step: int, steps: int) -> float:
    """Share of the top learning rate: linear warm-up, then (1 - step / steps)^0.9 (Chen et al., DeepLab, 2017).

    >>> [round(poly_with_warm_up(step, 100), 2) for step in (0, 1, 2, 50, 100)]
    [0.5, 0.99, 0.98, 0.54, 0.0]
    """
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    return float(min(1.0, (step + 1) / warm_up) * max(0.0, 1 - step / max(1, steps)) ** 0.9)


def _nearest(truth: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(truth[:, None].float(), size=size, mode="nearest-exact")[:, 0]
