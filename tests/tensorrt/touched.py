"""What our code touches of TensorRT: every attribute of its package and of its objects, found in the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

FILES = (
    "edge_seg/runners/tensorrt_api.py",
    "edge_seg/runners/trt_runner.py",
    "edge_seg/runners/engine_inspector.py",
    "edge_seg/runners/ort_runner.py",
    "calib/trt_calibrator.py",
    "export/build_engine.py",
    "export/build_log.py",
    "export/engine_checks.py",
    "apps/engine_calibration.py",
    "export/to_engine.py",
)
"""All files that touch it; a test finds others by their import of tensorrt_api."""

OBJECTS = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "parser_error": "ParserError",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "timings": "ITimingCache",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "inspector": "EngineInspector",
}
"""The names that our code gives to TensorRT's objects, with or without an underscore before them."""


def touched() -> dict[str, str]:
    """Where each attribute is touched first, by its dotted name in the package, such as 'Builder.create_network'."""
    found: dict[str, str] = {}
    for file in FILES:
        tree = ast.parse((ROOT / file).read_text())
        for name, line in _attributes(tree):
            found.setdefault(name, f"{file}:{line}")
    return found


def _attributes(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = _dotted(node)
            if name is not None:
                yield name, node.lineno


def _dotted(node: ast.Attribute) -> str | None:
    """'Class.attribute' of `trt.Class.attribute` and of `object.attribute` or `self._object.attribute`."""
    owner = node.value
    if isinstance(owner, ast.Name) and owner.id == "trt":
        return node.attr
    if isinstance(owner, ast.Attribute) and isinstance(owner.value, ast.Name) and owner.value.id == "trt":
        return f"{owner.attr}.{node.attr}"
    name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
    kind = OBJECTS.get(name.lstrip("_"))
    return None if kind is None else f"{kind}.{node.attr}"


def missing(names: dict[str, str], dump: dict[str, list[str]], absent: frozenset[str]) -> list[str]:
    """Of the touched names those that a binding lacks, with their places; `absent` are known to be lacking there."""
    return [f"{name} ({place})" for name, place in names.items() if not known(name, absent) and not _is_in(name, dump)]


def known(name: str, absent: frozenset[str]) -> bool:
    """Whether a name, or the class that it is of, is known to be lacking."""
    return name in absent or name.partition(".")[0] in absent


def _is_in(name: str, dump: dict[str, list[str]]) -> bool:
    first, _, rest = name.partition(".")
    return first in dump and (not rest or rest in dump[first])
