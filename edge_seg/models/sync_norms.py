"""BatchNorm over the pictures of all processes that train together."""

from torch import nn


def synchronise_norms(net: nn.Module) -> None:
    """Make the BatchNorms within `net` take their statistics from the pictures of all processes, in training on GPUs.

    Names of tensors stay, and so does what evaluation mode computes.
    """
    if any(type(part).__module__.startswith("timm.") for part in net.modules()):
        # PyTorch's conversion would drop the activation that timm's BatchNormAct2d ends with.
        from timm.layers import convert_sync_batchnorm  # type: ignore[attr-defined]

        convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
    else:
        nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
