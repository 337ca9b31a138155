"""Quantization-aware training: what trains is what the written file computes, tensor by tensor."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from edge_seg.calib.input_cut import input_steps
from edge_seg.calib.placement import name_nodes
from edge_seg.calib.qat import GraphNet, QuantizedNet, logits_of, untied
from edge_seg.calib.qdq import write_qdq
from edge_seg.calib.quantize import method_for, open_fp32, to_int8
from edge_seg.calib.ranges import Ranges, observe
from edge_seg.calib.torch_graph import TorchGraph
from edge_seg.data.drive import Drive
from edge_seg.errors import ModelError
from edge_seg.export.target import TARGETS, Target
from edge_seg.models.deploy import normalise
from edge_seg.recipe import Distillation
from edge_seg.runners.contract import write_spec
from edge_seg.runners.ort_runner import untimed_options
from edge_seg.spec import CAMVID_CLASSES, ModelSpec
from edge_seg.training.distillation import LogitsDistiller
from edge_seg.training.options import TrainOptions

ShortRun = Callable[..., TrainOptions]

IMAGES = np.stack([frame.image for frame in Drive(5, 96, 72, 4)])
X = normalise(torch.from_numpy(IMAGES).permute(0, 3, 1, 2))
ALL_TARGETS = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


@pytest.fixture(scope="module")
def net_path(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_model` with noise on its weights, of which many are still zero."""
    model = untied(open_fp32(tiny_model))
    net = GraphNet(model)
    torch.manual_seed(0)
    for weight in net.weights:
        weight.data += 0.03 * torch.randn_like(weight)
    path = tmp_path_factory.mktemp("nets") / "noisy.onnx"
    path.write_bytes(net.write_weights(model).SerializeToString())
    return path


@pytest.fixture(scope="module")
def model(net_path: Path) -> onnx.ModelProto:
    """Its graph, with a name for each node."""
    model = open_fp32(net_path)
    name_nodes(model)
    return model


@pytest.fixture(scope="module")
def ranges(net_path: Path) -> Ranges:
    """What its tensors hold on drive frames."""
    frames = Drive(1, 96, 72, 12)
    return observe(open_fp32(net_path), (frame.image[None] for frame in frames), pictures="drive")


def run(model: onnx.ModelProto, images: np.ndarray, outputs: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Tensors by name of a graph, given with their types, from ONNX Runtime without its optimisations."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items())
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(outputs, session.run(list(outputs), {"image": images}), strict=True))


def labels_of(logits: torch.Tensor) -> np.ndarray:
    """The labels at full size that logits give."""
    full = torch.nn.functional.interpolate(logits, size=IMAGES.shape[1:3], mode="bilinear")
    return np.asarray(full.argmax(1).numpy())


def written(model: onnx.ModelProto, ranges: Ranges, target: Target) -> onnx.ModelProto:
    """The graph with Q/DQ, before input and tail are rewritten."""
    chosen = ranges.chosen(method_for(target, "min-max"))
    return write_qdq(model, chosen, target, exact={} if target.minimal else input_steps(model))


def test_without_quantization_logits_are_onnx_runtimes(model: onnx.ModelProto) -> None:
    name = logits_of(model)
    expected = run(model, IMAGES, {name: onnx.TensorProto.FLOAT})[name]

    with torch.no_grad():
        assert np.abs(GraphNet(model)(X).numpy() - expected).max() < 1e-4


@ALL_TARGETS
def test_labels_are_those_of_the_written_file(model: onnx.ModelProto, ranges: Ranges, target: Target) -> None:
    chosen = ranges.chosen("min-max")
    int8 = to_int8(model, chosen, target)
    expected = run_labels(int8)

    with torch.no_grad():
        found = labels_of(QuantizedNet(model, chosen, target)(X))
        floats = labels_of(GraphNet(model)(X))
    assert (found == expected).mean() > 0.98
    assert (found == expected).mean() > (floats == expected).mean()


def run_labels(model: onnx.ModelProto) -> np.ndarray:
    """Labels of a file on ONNX Runtime as it comes."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), untimed_options(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(["labels"], {"image": IMAGES})[0])


@ALL_TARGETS
def test_each_quantized_tensor_holds_the_integers_of_the_file(
    model: onnx.ModelProto, ranges: Ranges, target: Target
) -> None:
    """Each is computed from ONNX Runtime's own integers before it: what differs in one does not spread to the next."""
    graph = written(model, ranges, target)
    types = {tensor.name: tensor.data_type for tensor in graph.graph.initializer}
    nodes = [node for node in graph.graph.node if node.op_type == "QuantizeLinear"]
    expected = run(graph, IMAGES, {node.output[0]: types[node.input[2]] for node in nodes})
    net = QuantizedNet(model, ranges.chosen("min-max"), target)
    values = {"image": torch.from_numpy(IMAGES)} | net.rounded(dict(zip(net.names, net.weights, strict=True)))
    values |= {name: torch.from_numpy(integers).float() for name, integers in expected.items()}

    assert len(nodes) > 20
    for node in nodes:
        before = {name: value for name, value in values.items() if name != node.output[0]}
        with torch.no_grad():
            (found,) = TorchGraph(graph, [node.output[0]])(before)
        off = np.abs(found.numpy() - expected[node.output[0]].astype(np.float32))
        # Sums in another order end on another side of a half now and then; the means of Resize are halves often.
        assert off.max() <= 1 and (off > 0).mean() < (0.03 if "Resize" in node.name else 1e-3), node.name


@ALL_TARGETS
def test_weights_and_biases_are_the_integers_of_the_file(
    model: onnx.ModelProto, ranges: Ranges, target: Target
) -> None:
    graph = written(model, ranges, target)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    net = QuantizedNet(model, ranges.chosen("min-max"), target)
    rounded = net.rounded(dict(zip(net.names, net.weights, strict=True)))

    found = {name: value for name, value in rounded.items() if name.startswith("/net") and name in constants}
    kinds = ("/weight_quantized", "/weight_scale", "/bias_quantized", "/bias_scale")
    assert set(found) == {name for name in constants if name.endswith(kinds)}
    for name, value in found.items():
        assert np.array_equal(value.detach().numpy(), constants[name].astype(np.float32)), name


@ALL_TARGETS
def test_gradient_reaches_every_weight(model: onnx.ModelProto, ranges: Ranges, target: Target) -> None:
    net = QuantizedNet(model, ranges.chosen("min-max"), target)
    (logits,) = net.heads(net.features(X))
    logits.square().mean().backward()  # type: ignore[no-untyped-call]

    assert len(net.weights) == 52
    without = [
        n for n, weight in zip(net.names, net.weights, strict=True) if weight.grad is None or not weight.grad.any()
    ]
    assert without == []


def test_the_student_comes_nearer_to_its_teacher(model: onnx.ModelProto, ranges: Ranges) -> None:
    """With ranges of a third the labels of the FP32 net are lost, and partly found again."""
    target = TARGETS["onnxruntime-x86"]
    narrow = {name: (least / 3, most / 3) for name, (least, most) in ranges.chosen("min-max").items()}
    net, teacher = QuantizedNet(model, narrow, target), GraphNet(model).requires_grad_(False)
    distiller = LogitsDistiller(teacher, Distillation(temperature=0.02))  # its logits are near each other
    wanted = labels_of(teacher(X))
    before = (run_labels(to_int8(model, narrow, target)) == wanted).mean()

    losses, optimiser = [], torch.optim.Adam(net.parameters(), lr=3e-4)
    for _ in range(14):
        optimiser.zero_grad()
        (logits,) = net.features(X)
        loss = distiller(X, logits, ())
        loss.backward()
        optimiser.step()
        losses.append(loss.item())

    after = (run_labels(to_int8(net.write_weights(model), narrow, target)) == wanted).mean()
    assert losses[-1] < 0.7 * losses[0]
    assert before < 0.9 < after


def test_equal_biases_become_one_for_each_layer(tiny_model: Path) -> None:
    model = onnx.load(tiny_model)
    shared = {name for node in model.graph.node if node.op_type == "Conv" for name in node.input[1:]}
    own = untied(model)
    names = [name for node in own.graph.node if node.op_type == "Conv" for name in node.input[1:]]

    assert len(shared) < len(names) == len(set(names)) == 52
    assert np.array_equal(run_labels(own), run_labels(model))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ("labels = Cast <to = 2> (image)", "ends without an ArgMax over logits"),
        ("x = Cast <to = 1> (image) a = ArgMax <axis = 1> (x) labels = Cast <to = 2> (a)", "no weights that could be"),
    ],
)
def test_a_graph_without_logits_or_weights_is_refused(nodes: str, message: str) -> None:
    ends = "(uint8[N, 72, 96, 3] image) => (uint8[N, 72, 96] labels)"
    text = f'<ir_version: 8, opset_import: ["" : 17]> net {ends} {{{nodes}}}'
    model = onnx.parser.parse_model(text)
    write_spec(model, ModelSpec("none", CAMVID_CLASSES, 96, 72, "nothing"))

    with pytest.raises(ModelError, match=message):
        GraphNet(model)


UNET = """
planes = Transpose <perm = [0, 3, 1, 2]> (image) floats = Cast <to = 1> (planes)
centred = Sub (floats, middle) x = Div (centred, scale)
down = Conv <strides = [4, 4]> (x, w1) features = Relu (down)
deep = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (features)
up = ConvTranspose <strides = [2, 2]> (deep, w2, b2)
both = Concat <axis = 1> (features, up) logits = Conv (both, w3, b3)
full = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel"> (logits, , scales)
best = ArgMax <axis = 1, keepdims = 0> (full) labels = Cast <to = 2> (best)
"""


@ALL_TARGETS
def test_a_net_with_transposed_convolutions_trains_too(target: Target) -> None:
    ends = "(uint8[N, 72, 96, 3] image) => (uint8[N, 72, 96] labels)"
    unet = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> net {ends} {{{UNET}}}')
    chance = np.random.default_rng(0)
    shapes = {"w1": (16, 3, 4, 4), "w2": (16, 16, 2, 2), "b2": (16,), "w3": (11, 32, 1, 1), "b3": (11,)}
    constants = {name: chance.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    constants |= {"middle": np.array(128, np.float32), "scale": np.array(64, np.float32)}
    constants["scales"] = np.array([1, 1, 4, 4], np.float32)
    unet.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    write_spec(unet, ModelSpec("unet", CAMVID_CLASSES, 96, 72, "nothing"))
    chosen = observe(unet, (frame.image[None] for frame in Drive(1, 96, 72, 8))).chosen("min-max")

    net = QuantizedNet(unet, chosen, target)
    logits = net(X)
    logits.square().mean().backward()

    assert [layer.weight for layer in net.layers] == ["w1", "w2", "w3"][target.minimal : 3 - target.minimal]
    assert all(weight.grad is not None and weight.grad.any() for weight in net.weights)
    assert (labels_of(logits.detach()) == run_labels(to_int8(unet, chosen, target))).mean() > 0.99
