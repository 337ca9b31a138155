"""PyTorch: a checkpoint behind the deploy contract."""

from pathlib import Path
from types import TracebackType

import numpy as np
import torch

from edge_seg.checkpoint import read_checkpoint
from edge_seg.models.deploy import Deploy
from edge_seg.runners.contract import check_images
from edge_seg.types import UInt8Array


class TorchRunner:
    """A checkpoint on PyTorch: on the GPU where there is one, else on the CPU."""

    runtime = "torch"

    def __init__(self, path: Path, threads: int = 0) -> None:
        _, self.spec, net = read_checkpoint(path)
        if threads:
            torch.set_num_threads(threads)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._deploy = Deploy(net, width=self.spec.width, height=self.spec.height).to(self._device)

    @torch.inference_mode()
    def infer(self, images: UInt8Array) -> UInt8Array:
        """Labels uint8 [N, H, W] of images uint8 [N, H, W, 3] BGR."""
        check_images(images, self.spec)
        labels: UInt8Array = self._deploy(torch.from_numpy(np.ascontiguousarray(images)).to(self._device)).cpu().numpy()
        return labels

    def __enter__(self) -> "TorchRunner":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._deploy
