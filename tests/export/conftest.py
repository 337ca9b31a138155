"""Copies of a model with something changed."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from edge_seg.runners.contract import read_onnx_spec, write_spec
from edge_seg.spec import ModelSpec


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a copy of a model with its graph, or its spec, changed."""

    def write(source: Path, change: Callable[[onnx.ModelProto], None] = lambda model: None, **fields: object) -> Path:
        model = onnx.load(source)
        change(model)
        spec: ModelSpec = dataclasses.replace(read_onnx_spec(source), **fields)  # type: ignore[arg-type]
        write_spec(model, spec)
        path = tmp_path / f"changed{len(list(tmp_path.iterdir()))}.onnx"
        onnx.save_model(model, path)
        return path

    return write
