"""The features of torchvision's classification networks, found in their graphs: no table of architectures."""

import copy
import math
import warnings
from typing import Any

import torch
from torch import Tensor, fx, nn

from edge_seg.errors import ModelError, import_extra
from edge_seg.models.encoders import Pyramid, no_pyramid, unknown_network
from edge_seg.models.net import STRIDES
from edge_seg.models.published import Normalisation, fetch

TRACED_SIZE = (256, 512)
"""Height and width of the traced picture. What is of one size for every picture, as after a pooling to 7x7, has other
strides in height than in width, and so is no level; what has its channels last is none either."""


def open_pyramid(network: str, *, published: bool) -> Pyramid:
    """torchvision's `network` down to its last feature, the indices of its outputs at strides 4 to 32, and what its
    weights were trained on: None for weights of chance."""
    import_extra("torchvision", "train")
    from torchvision import models
    from torchvision.models.feature_extraction import create_feature_extractor

    known = models.list_models(module=models)
    if network not in known:
        raise unknown_network("torchvision", network, known)
    net, normalisation = _published(network) if published else (_build(network, None), None)
    nodes = find_levels(net)
    if any(stride not in nodes for stride in STRIDES):
        raise no_pyramid(f"torchvision:{network}", sorted(nodes))
    wanted = {nodes[stride]: str(stride) for stride in STRIDES}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of nodes that training has and evaluation has not
        extractor = create_feature_extractor(net, wanted)
    return extractor, tuple(range(len(STRIDES))), normalisation


def _published(network: str) -> tuple[nn.Module, Normalisation]:
    from torchvision import models

    weights: Any = models.get_model_weights(network).DEFAULT
    file = fetch(weights.url, sha256_start=weights.url.rsplit("-", 1)[-1].partition(".")[0])
    try:
        net, preset = _build(network, weights), weights.transforms()
    except RuntimeError as error:  # tensors of other names or shapes
        reason = str(error).partition("\n")[0]
        raise ModelError(f"{file} is not of torchvision:{network}: {reason} Delete it and start again.") from None
    normalisation = tuple(preset.mean), tuple(preset.std)
    if getattr(net, "transform_input", False):  # Inception's: to TensorFlow's normalisation from ImageNet's
        net.transform_input = False  # type: ignore[assignment]
        normalisation = (0.5,) * 3, (0.5,) * 3
    return net, normalisation


def _build(network: str, weights: object) -> nn.Module:
    from torchvision import models

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of initialisations that will change
        net: nn.Module = models.get_model(network, weights=weights, progress=False)
    return net


class _Shapes(fx.Interpreter):
    """Runs a graph and keeps the shape of every tensor [1, C, h, w]."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.shapes: dict[str, tuple[int, int]] = {}

    def run_node(self, n: fx.Node) -> Any:  # noqa: ANN401  # as the method that it extends
        result = super().run_node(n)
        if isinstance(result, Tensor) and result.ndim == 4:
            self.shapes[n.name] = result.shape[2], result.shape[3]
        return result


def find_levels(net: nn.Module) -> dict[int, str]:
    """Stride -> torchvision's name of the last node there.

    Where there is one, that is the last node that everything deeper goes through: a branch that starts the next level
    (the first convolution of a block that a shortcut goes around) has left a part of the features behind.
    """
    graph, names = _trace(net)
    interpreter = _Shapes(graph)
    try:
        interpreter.run(torch.zeros(1, 3, *TRACED_SIZE, device="meta"))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise _fixed_size(net, error) from None
    levels: dict[int, str] = {}
    passed, shapes = _passed_by_all(graph.graph), interpreter.shapes
    for nodes in (list(names), [node for node in names if node in passed]):
        levels |= {stride(shapes[node.name]): names[node] for node in nodes if node.name in shapes}
    return {found: levels[found] for found in sorted(levels) if found}


def _trace(net: nn.Module) -> tuple[fx.GraphModule, dict[fx.Node, str]]:
    """The graph of evaluation without numbers, of which shapes need none, and torchvision's names of its nodes."""
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

    twin = copy.deepcopy(net).to("meta").eval()
    try:
        train, evaluation = get_graph_node_names(twin, suppress_diff_warning=True)
        extractor = create_feature_extractor(
            twin, train_return_nodes=train, eval_return_nodes=evaluation, suppress_diff_warning=True
        )
    except (AssertionError, RuntimeError, TypeError, fx.proxy.TraceError) as error:
        raise _fixed_size(net, error) from None
    graph: fx.GraphModule = extractor.eval()
    outputs: dict[str, fx.Node] = next(node for node in graph.graph.nodes if node.op == "output").args[0]
    return graph, {node: name for name, node in outputs.items()}


def _fixed_size(net: nn.Module, error: Exception) -> ModelError:
    reason = str(error).strip().splitlines()[0]
    return ModelError(
        f"{type(net).__name__} cannot be an encoder: it takes no pictures of any size ({reason}). "
        "Choose another, such as torchvision:resnet18."
    )


def stride(size: tuple[int, int]) -> int:
    """The stride of a feature of `size` (height, width) of the traced picture; 0 where height and width differ in it.

    >>> stride((64, 128)), stride((63, 127)), stride((7, 7))
    (4, 4, 0)
    """
    down, across = (round(math.log2(whole / max(part, 0.5))) for whole, part in zip(TRACED_SIZE, size, strict=True))
    return 2**down if down == across else 0


def _passed_by_all(graph: fx.Graph) -> set[fx.Node]:
    """The nodes whose result is all that the nodes after them need of what was computed so far."""
    alone: set[fx.Node] = set()
    readers: dict[fx.Node, int] = {}
    for node in graph.nodes:
        if node.op == "output":
            continue
        for used in node.all_input_nodes:
            readers[used] -= 1
        readers[node] = sum(user.op != "output" for user in node.users)
        readers = {other: count for other, count in readers.items() if count}
        if list(readers) == [node]:
            alone.add(node)
    return alone
