"""Checkpoints: a net's weights and its spec in one file, loaded without running code from it."""

import io
import pickle
from pathlib import Path

import torch

from edge_seg.errors import ModelError
from edge_seg.files import check_path, write_whole
from edge_seg.models import SegmentationNet, build_model
from edge_seg.models.net import TrainableNet
from edge_seg.spec import METADATA_KEY, ModelSpec, parse_spec


def write_checkpoint(path: Path, arch: str, spec: ModelSpec, net: TrainableNet) -> None:
    """Write weights and spec to `path` (.pt)."""
    weights = {name: tensor.cpu().contiguous() for name, tensor in net.state_dict().items()}
    buffer = io.BytesIO()  # torch.save turns a full disk into an error of its own
    torch.save({"arch": arch, METADATA_KEY: spec.to_json(), "state_dict": weights}, buffer)
    write_whole(path, buffer.getvalue())


def read_checkpoint(path: Path) -> tuple[str, ModelSpec, SegmentationNet]:
    """Architecture's name, spec and net in evaluation mode from `path`; ModelError where it is no such file."""
    try:
        found = torch.load(check_path(path, ModelError), map_location="cpu", weights_only=True)
        arch, spec = str(found["arch"]), parse_spec(found[METADATA_KEY])
        net = build_model(arch, len(spec.classes))
        net.load_state_dict(found["state_dict"])
    except (OSError, RuntimeError, LookupError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path} is no checkpoint of edge-seg train ({type(error).__name__}: {error}).") from None
    return arch, spec, net.eval()
