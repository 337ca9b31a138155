"""The table of architectures."""

import difflib
from collections.abc import Callable

from edge_seg.errors import ModelError
from edge_seg.models.edge_seg import EdgeSeg, edge_seg_n, edge_seg_s

MODELS: dict[str, Callable[[int], EdgeSeg]] = {"edge-seg-n": edge_seg_n, "edge-seg-s": edge_seg_s}


def list_models() -> list[str]:
    """Names that `build_model` knows, sorted.

    >>> list_models()
    ['edge-seg-n', 'edge-seg-s']
    """
    return sorted(MODELS)


def build_model(name: str, classes: int) -> EdgeSeg:
    """A freshly initialised net for `classes` classes; ModelError with the nearest name for an unknown one."""
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ModelError(f"Unknown model {name!r}; known: {', '.join(list_models())}.{hint}")
    return MODELS[name](classes)
