"""Where quantized tensors begin and end: which inputs of which nodes a dialect wants in 8 bits."""

from dataclasses import dataclass, field

import onnx

from edge_seg.export.graph import CLIPPING, WEIGHTED, Graph
from edge_seg.export.target import Target
from edge_seg.export.tensorrt_floats import gates, is_wide

SAME_SCALE = frozenset({"Resize", "MaxPool"})
"""Operators that give no value that they were not given: in and out are quantized alike."""

FULL = WEIGHTED | CLIPPING | {"Add", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize"}
"""What CPU run-times compute in integers. Gates (Sigmoid, Mul) and attention stay in float."""

POOLS = frozenset({"AveragePool", "GlobalAveragePool"})

ARITHMETIC = frozenset({"Abs", "Add", "Div", "Max", "Mean", "Min", "Mul", "Neg", "Pow", "Reciprocal", "Sub", "Sum"})
FUNCTIONS = frozenset({"Cos", "Erf", "Exp", "Log", "Sigmoid", "Sin", "Softplus", "Softsign", "Sqrt", "Tanh"})
RECTIFIERS = frozenset({"Celu", "Clip", "Elu", "LeakyRelu", "PRelu", "Relu", "Selu", "Shrink", "ThresholdedRelu"})
ACTIVATIONS = frozenset({"Gelu", "HardSigmoid", "HardSwish", "Mish", "Swish"})
STEPS = frozenset({"Ceil", "Floor", "Round", "Sign"})
CHOICES = frozenset({"And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or", "Where", "Xor"})
UNCHANGED = frozenset({"Cast", "Dropout", "Identity", "Squeeze", "Unsqueeze"})
BY_VALUE = ARITHMETIC | FUNCTIONS | RECTIFIERS | ACTIVATIONS | STEPS | CHOICES | UNCHANGED
"""Operators that mix no positions of a tensor, of which activation functions are made."""

MEANS = frozenset({"GlobalAveragePool", "ReduceL1", "ReduceL2", "ReduceMean", "ReduceSum", "ReduceSumSquare"})
"""What a normalisation divides by, or subtracts, beside operators by value."""

Edge = tuple[str, int]
"""A node's name and the place of one of its inputs."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Which inputs of nodes read 8 bits, which tensors all their readers get in 8 bits, and which share one scale.

    `weights` are the nodes whose weights are in 8 bits.
    """

    edges: frozenset[Edge]
    tensors: frozenset[str]
    weights: frozenset[str]
    groups: tuple[frozenset[str], ...] = field(default=())


def name_nodes(model: onnx.ModelProto) -> None:
    """Give each node that has none, or another's, a name of its own."""
    taken: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{index}"
        taken.add(node.name)


def tail_nodes(graph: Graph) -> frozenset[str]:
    """Names of the nodes from the head's logits to the labels: the last Resize, ArgMax and what follows."""
    ends = graph.of("ArgMax")
    above = [graph.made_by("Resize", node.input[0]) for node in ends]
    return frozenset(node.name for node in [*ends, *above] if node is not None)


def place(model: onnx.ModelProto, target: Target, known: frozenset[str], floats: frozenset[str]) -> Placement:
    """Where `target` wants 8 bits in an FP32 graph whose tensors `known` have ranges; nodes `floats` stay in float.

    The graph's nodes have names of their own: see `name_nodes`.
    """
    graph = Graph(model)
    left = floats | tail_nodes(graph)
    return _minimal(graph, known, left | _gate_nodes(graph)) if target.minimal else _full(graph, known, left)


def _gate_nodes(graph: Graph) -> frozenset[str]:
    """Names of the nodes from the mean of a picture to the factor of a Mul.

    TensorRT computes a Sigmoid in float, and the rest is one value a channel: 8 bits would save no time there. The Mul
    itself has no Q either: it reads its gate in float, and is in INT8 only where it reads 8 bits on both sides.
    """
    tensors = gates(graph)
    return frozenset(node.name for node in graph.nodes if not tensors.isdisjoint(node.output))


def _full(graph: Graph, known: frozenset[str], left: frozenset[str]) -> Placement:
    chosen = [node for node in graph.nodes if _is_full(graph, node, known) and node.name not in left]
    names = {node.name for node in chosen}
    tensors = set()
    for node in chosen:
        reader = graph.only_reader(node.output[0])
        clipped = reader is not None and reader.op_type in CLIPPING and reader.name in names
        if node.output[0] in known and not clipped:
            tensors.add(node.output[0])
    skipped = {name for node in chosen for name in node.output} - tensors
    tensors -= graph.outputs
    edges = {
        (node.name, place)
        for node in chosen
        for place in _known_inputs(node, known)
        if node.input[place] not in skipped
    }
    weights = frozenset(node.name for node in chosen if graph.has_weights(node))
    alike = [frozenset({node.input[0], node.output[0]}) for node in chosen if node.op_type in SAME_SCALE]
    return Placement(frozenset(edges), frozenset(tensors), weights, _joined(alike))


def _is_full(graph: Graph, node: onnx.NodeProto, known: frozenset[str]) -> bool:
    if node.op_type not in FULL or not _known_inputs(node, known):
        return False
    # An Add of a constant is a bias that was not folded, and a product of two activations is attention's.
    return graph.has_weights(node) or (node.op_type not in WEIGHTED and _all_known(node, known))


def _known_inputs(node: onnx.NodeProto, known: frozenset[str]) -> list[int]:
    """Places of the inputs of `node` that are tensors with a range."""
    return [place for place, name in enumerate(node.input) if name in known]


def _all_known(node: onnx.NodeProto, known: frozenset[str]) -> bool:
    data = node.input if node.op_type in ("Add", "Concat") else node.input[:1]
    return all(name in known for name in data)


def _minimal(graph: Graph, known: frozenset[str], left: frozenset[str]) -> Placement:
    weighted = [
        node
        for node in graph.nodes
        if graph.has_weights(node) and node.input[0] in known and is_wide(graph, node) and node.name not in left
    ]
    names = frozenset(node.name for node in weighted)
    edges = {(node.name, 0) for node in weighted}
    products = _products(graph, known, names)
    tensors: set[str] = set()
    alike = []
    for node in graph.nodes:
        if node.name in left or not all(name in known for name in node.input[:1]):
            continue
        if node.op_type == "Add":
            edges |= {(node.name, place) for place in _identity(graph, node, names) if node.input[place] in known}
        elif node.op_type == "MaxPool":
            edges.add((node.name, 0))
            alike.append(frozenset({node.input[0], node.output[0]}))
        elif node.op_type in POOLS or node.op_type == "Concat":
            inputs = _known_inputs(node, known)
            edges |= {(node.name, place) for place in inputs}
            tensors.add(node.output[0])
            if node.op_type == "Concat":
                alike.append(frozenset({*(node.input[place] for place in inputs), node.output[0]}))
        elif node.name in products:
            edges |= {(node.name, place) for place in (0, 1)}
    return Placement(frozenset(edges), frozenset(tensors), names, _joined(alike))


def _products(graph: Graph, known: frozenset[str], quantized: frozenset[str]) -> frozenset[str]:
    """Names of the Muls of two tensors with a range that a quantized node comes after: maps of attention, fusions.

    Not of gates of the whole picture, which stay in float, nor of pieces of an activation function or a normalisation:
    x times its own Sigmoid is one kernel with its convolution. What comes after the last quantized node are logits.
    """
    gated, leading, found = gates(graph), set[str](), set[str]()
    for node in reversed(graph.nodes):
        if node.name in quantized or not leading.isdisjoint(node.output):
            leading.update(node.input)
            factors = set(node.input)
            if node.op_type == "Mul" and factors <= known - gated and not _is_function(graph, node):
                found.add(node.name)
    return frozenset(found)


def _is_function(graph: Graph, product: onnx.NodeProto) -> bool:
    """Whether both factors are made of the same tensors: by value, as in an activation function, or by their means."""
    one, other = (_made_of(graph, factor) for factor in product.input)
    return one == other


def _made_of(graph: Graph, tensor: str) -> set[str]:
    """The tensors of which operators by value, means and constants alone make a tensor; it itself where none do."""
    found, seen, waiting = set[str](), {"", *graph.constants}, [tensor]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        maker = graph.maker.get(name)
        if maker is not None and maker.op_type in BY_VALUE | MEANS:
            waiting += maker.input
        else:
            found.add(name)
    return found


def _identity(graph: Graph, node: onnx.NodeProto, quantized: frozenset[str]) -> list[int]:
    """The side of an Add that does not come straight out of a quantized convolution: it can then add as it ends.

    Of two convolutions the later one adds. No side where there is none.
    """
    order = {node.name: index for index, node in enumerate(graph.nodes)}
    makers = [graph.maker.get(name) for name in node.input]
    ends = [order[maker.name] if maker is not None and maker.name in quantized else -1 for maker in makers]
    if max(ends) < 0:
        return []
    return [ends.index(min(ends))]


def _joined(groups: list[frozenset[str]]) -> tuple[frozenset[str], ...]:
    """Groups that have a member in common as one.

    >>> [sorted(group) for group in _joined([frozenset("ab"), frozenset("cd"), frozenset("be")])]
    [['c', 'd'], ['a', 'b', 'e']]
    """
    joined: list[frozenset[str]] = []
    for group in groups:
        touching = [other for other in joined if other & group]
        joined = [other for other in joined if not other & group] + [group.union(*touching)]
    return tuple(joined)
