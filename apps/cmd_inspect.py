"""`edge-seg inspect`: what a TensorRT engine is made of, and what of it really computes in INT8."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Group
    from rich.table import Table

    from edge_seg.apps.profile.engine_layers import EngineLayer, Makeup, Tensor


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(help="Tell an engine's layers, the precision that really runs, reformats, tactics and memory.")(inspect)


def inspect(
    engine: Annotated[Path, typer.Argument(help="Engine that edge-seg build wrote, for this machine.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON on stdout.")] = False,
) -> None:
    """Open the engine and ask TensorRT's inspector."""
    from dataclasses import asdict

    from edge_seg.apps.output import print_report
    from edge_seg.apps.profile.engine_layers import makeup, parse_layers
    from edge_seg.runners import choose_runtime
    from edge_seg.runners.engine_file import read_sidecar
    from edge_seg.runners.engine_inspector import device_memory, read_layers, verbosity
    from edge_seg.runners.trt_runner import TrtRunner

    path, _ = choose_runtime(engine, "tensorrt")
    built = read_sidecar(path).fingerprint
    with TrtRunner(path, graphs=False) as runner:
        told, memory_mb = verbosity(runner), device_memory(runner) / 1e6
        layers = parse_layers(read_layers(runner, built.batch[1]))
    made = makeup(layers)
    report = {
        "engine": str(path),
        "fingerprint": asdict(built),
        "verbosity": told,
        "batch": built.batch[1],
        "size_mb": path.stat().st_size / 1e6,
        "memory_mb": memory_mb,
        "int8_share": made.int8_share,
        **asdict(made),
        "layers": [asdict(layer) for layer in layers],
    }
    head = f"{path}: built as {built.precision} for TensorRT {built.tensorrt} on {built.gpu} (sm {built.sm})."
    print_report(report, _text(head, layers, made, report), as_json=as_json)


def _text(head: str, layers: "Sequence[EngineLayer]", made: "Makeup", report: dict[str, Any]) -> "Group":
    from rich.console import Group
    from rich.text import Text

    lines = [
        f"{report['size_mb']:.1f} MB on the disk; {report['memory_mb']:.1f} MB of the GPU's memory at work, besides "
        "the weights.",
        makeup_words(made),
    ]
    if report["verbosity"] != "DETAILED":
        lines.append(
            f"The engine was built to tell {report['verbosity']} alone: precisions, formats and tactics are not known. "
            "Build it again to have them: edge-seg build MODEL.onnx"
        )
    return Group(Text(head), _table(layers), *map(Text, lines))  # names have brackets, which are no markup


def makeup_words(made: "Makeup") -> str:
    """What layers are, in a sentence or two.

    >>> from edge_seg.apps.profile.engine_layers import Makeup
    >>> makeup_words(Makeup({"int8": 3, "f32": 1}, 2, 1, [["up"]]))
    '4 layers compute: 3 in int8, 1 in f32. 2 reformats, 1 of Q and DQ nodes, 1 float island between INT8 layers: up.'
    """
    computing = sum(made.precisions.values())
    counts = ", ".join(f"{count} in {precision or 'what is not told'}" for precision, count in made.precisions.items())
    islands = f"{len(made.islands) or 'no'} float island{'' if len(made.islands) == 1 else 's'} between INT8 layers"
    named = "; ".join(", ".join(island) for island in made.islands)
    return (
        f"{computing} layer{'s compute' if computing != 1 else ' computes'}{f': {counts}' if counts else ''}. "
        f"{made.reformats} reformat{'' if made.reformats == 1 else 's'}, {made.quantize} of Q and DQ nodes, "
        f"{islands}{f': {named}' if named else ''}."
    )


def _table(layers: "Sequence[EngineLayer]") -> "Table":
    """A row for each layer: its name above its tactic, which are both long."""
    from rich.table import Table
    from rich.text import Text

    table = Table("layer, tactic")
    for heading in ("kind", "precision", "takes > gives"):
        table.add_column(heading, no_wrap=True)
    for layer in layers:
        ends = " > ".join(_types(tensors) for tensors in (layer.takes, layer.gives))
        kind = f"{layer.kind}, {layer.role}" if layer.role == "quantize" else layer.kind
        cells = ("\n".join(filter(None, (layer.name, layer.tactic))), kind, layer.precision, ends)
        table.add_row(*map(Text, cells))
    return table


def _types(tensors: "Sequence[Tensor]") -> str:
    """The types of tensors, each once; what stands in --json beside them are sizes and layouts.

    >>> from edge_seg.apps.profile.engine_layers import Tensor
    >>> _types([Tensor("x", (1, 16), "int8", ""), Tensor("y", (1, 8), "f32", ""), Tensor("z", (1, 9), "int8", "")])
    'int8+f32'
    """
    return "+".join(dict.fromkeys(tensor.precision for tensor in tensors if tensor.precision))
