"""The file that a run-time is to run, of the model that the user named."""

from pathlib import Path


def artefact_for(model: str, runtime: str) -> Path:
    """The model's file, or for TensorRT an ONNX file's engine, built now where there is none; errors as both."""
    from edge_seg.weights import find_model

    path = find_model(model)
    if runtime != "tensorrt" or path.suffix != ".onnx":
        return path
    from edge_seg.export.open_engine import cached_engine

    return cached_engine(path)
