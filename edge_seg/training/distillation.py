"""What a student learns from a wider teacher: its logits and its features."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_seg.errors import ModelError
from edge_seg.evaluate import check_classes
from edge_seg.models import SegmentationNet, build_model
from edge_seg.models.net import upsample_to
from edge_seg.recipe import Distillation
from edge_seg.training.init_weights import InitReport, init_net
from edge_seg.training.weight_files import read_weights

Levels = tuple[Tensor, ...]
"""Features [N, D, H/s, W/s] at strides s of 4, 8 and 16."""


class Distiller(nn.Module):
    """The loss against a teacher: its softened logits at stride 4 (Hinton et al., Distilling the Knowledge in a Neural
    Network, 2015), and where in the picture each of its features is strong (Shu et al., Channel-wise Knowledge
    Distillation for Dense Prediction, 2021), to which a 1x1 convolution leads from the student's features.
    """

    def __init__(
        self, teach: Callable[[Tensor], tuple[Tensor, Levels]], widths: tuple[int, int], settings: Distillation
    ) -> None:
        super().__init__()
        student, teacher = widths
        self.teach, self.settings = teach, settings
        self.projections = nn.ModuleList(nn.Conv2d(student, teacher, 1) for _ in range(3))

    def forward(self, images: Tensor, logits: Tensor, features: Levels) -> Tensor:
        """The loss of a student that answers normalised `images` with `logits` and `features`."""
        settings = self.settings
        taught, strong = self.teach(rescale(images, settings.scale))
        loss = settings.logits * soft_divergence(upsample_to(taught, logits), logits, 1, settings.temperature)
        for goal, found, project in zip(strong, features, self.projections, strict=True):
            places = upsample_to(goal, found).flatten(2), project(found).flatten(2)
            loss = loss + settings.features / 3 * soft_divergence(*places, 2, settings.temperature)
        return loss


class LogitsDistiller(nn.Module):
    """The loss against a teacher's softened logits alone, for a student whose features are not known."""

    def __init__(self, teach: Callable[[Tensor], Tensor], settings: Distillation) -> None:
        super().__init__()
        self.teach, self.settings = teach, settings

    def forward(self, images: Tensor, logits: Tensor, features: Levels) -> Tensor:
        """The loss of a student that answers normalised `images` with `logits`."""
        taught = upsample_to(self.teach(rescale(images, self.settings.scale)), logits)
        return self.settings.logits * soft_divergence(taught, logits, 1, self.settings.temperature)


def rescale(images: Tensor, scale: float) -> Tensor:
    """Images [N, C, H, W] made `scale` times as high and as wide, bilinearly: a teacher tells more of larger ones.

    Sides are rounded to multiples of 4, the stride of logits, which would cover more than the picture otherwise.

    >>> rescale(torch.zeros(1, 3, 360, 480), 1.25).shape
    torch.Size([1, 3, 448, 600])
    """
    if scale == 1:
        return images
    height, width = (4 * round(side * scale / 4) for side in images.shape[-2:])
    return F.interpolate(images, size=(height, width), mode="bilinear", align_corners=False)


def soft_divergence(teacher: Tensor, student: Tensor, dim: int, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)) over `dim`, mean over the other dimensions.

    >>> teacher, student = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]])
    >>> round(float(soft_divergence(teacher, student, 1, 1.0)), 4)  # ln(cosh(1))
    0.4338
    """
    goal = (teacher.float() / temperature).log_softmax(dim)
    found = (student.float() / temperature).log_softmax(dim)
    divergence = F.kl_div(found, goal, reduction="none", log_target=True).sum(dim)
    return temperature**2 * divergence.mean()


def open_teacher(path: Path, class_names: tuple[str, ...]) -> tuple[Callable[[Tensor], tuple[Tensor, Levels]], int]:
    """What the net of a checkpoint or an FP32 export answers to normalised images, and the width of its features.

    DataError where it knows other classes, ModelError where the file does not tell what net it is of or does not give
    all of it. A function, since Lightning copies what a task holds for its average.
    """
    file = read_weights(path)
    if file.arch is None:
        raise ModelError(
            f"The teacher {path} holds weights alone. Give a checkpoint of edge-seg train or an FP32 export."
        )
    check_classes(class_names, file.class_names, f"the teacher {path}")
    net = build_model(file.arch, len(class_names))
    _check_whole(init_net(net, path, file.arch, ()), path, file.arch)
    net.eval().to(memory_format=torch.channels_last).requires_grad_(False)

    def teach(images: Tensor) -> tuple[Tensor, Levels]:
        net.to(images.device)
        with torch.no_grad():
            features = net.features(images)
            return net.head(features[0]), features

    return teach, net.head.in_channels


def _check_whole(report: InitReport, path: Path, arch: str) -> None:
    """ModelError where something that a teacher's answers are made with is of chance: auxiliary heads are not."""
    lacking = [name for name in report.missing if not name.startswith("aux_heads.")]
    lacking += [tensor.name for tensor in report.reshaped]
    if lacking:
        raise ModelError(
            f"The teacher {path} lacks {len(lacking)} of the {report.wanted} tensors of {arch}, the first "
            f"{lacking[0]}: not every net comes whole out of an export. Give the checkpoint, .pt, of edge-seg train."
        )


def make_distiller(
    net: SegmentationNet, teacher: Path, class_names: tuple[str, ...], settings: Distillation
) -> Distiller:
    """The loss of `net` against the teacher in a file; errors as `open_teacher`'s and `read_weights`'s."""
    teach, width = open_teacher(teacher, class_names)
    return Distiller(teach, (net.head.in_channels, width), settings)
