"""The ladder on a net that INT8 hurts: which rungs it tries, what it ends with, and that this is what it says."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_seg.calib.builder import Builder
from edge_seg.calib.gates import Gates, Step
from edge_seg.calib.ladder import REMEDIES, Ladder, climb
from edge_seg.calib.order import order_by_agreement
from edge_seg.calib.quantize import open_fp32, write_int8
from edge_seg.calib.rung import Rung
from edge_seg.data.drive import Drive
from edge_seg.segmenter import open_segmenter
from edge_seg.types import Frame, SegClass, UInt8Array

X86 = "onnxruntime-x86"


@dataclass(frozen=True, eq=False)
class Labelled:
    """Frames whose truth is what a model says of them."""

    frames: Sequence[Frame]
    classes: tuple[SegClass, ...]
    name: str = "labelled by the model"
    licence: str = ""

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(kind.name for kind in self.classes)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Frame:
        return self.frames[index]

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames)


def images(seed: int) -> list[UInt8Array]:
    return [frame.image for frame in Drive(seed, 96, 72, 8)]


@pytest.fixture(scope="module")
def unbalanced(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny net with one channel 300 times as large, and the weights that read it as much smaller.

    The same function; but in 8 bits all other channels of that tensor have one level left.
    """
    pytest.importorskip("torch")  # without it the tiny net is not the one that is unbalanced here
    model = onnx.load(tiny_model)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    readers = {name: [n for n in model.graph.node if name in n.input] for n in model.graph.node for name in n.output}
    first, second = next(
        (node, readers[readers[node.output[0]][0].output[0]][0])
        for node in model.graph.node
        if node.op_type == "Conv"
        and [reader.op_type for reader in readers[node.output[0]]] == ["Relu"]
        and [reader.op_type for reader in readers[readers[node.output[0]][0].output[0]]] == ["Conv"]
    )
    for name, factor, axis in ((first.input[1], 300.0, 0), (first.input[2], 300.0, 0), (second.input[1], 1 / 300, 1)):
        values = numpy_helper.to_array(constants[name]).copy()
        np.moveaxis(values, axis, 0)[0] *= factor
        constants[name].CopyFrom(numpy_helper.from_array(values, name))
    path = tmp_path_factory.mktemp("unbalanced") / "unbalanced.onnx"
    onnx.save(model, path)
    return path


def climbed(path: Path, gates: Gates, targets: Sequence[str] = (X86,)) -> Ladder:
    """The ladder of a model that is right by definition, in short timings."""
    with open_segmenter(path, "onnxruntime") as segment:
        frames = [Frame(image, i, 0.0, segment(image).labels, str(i)) for i, image in enumerate(images(2))]
        classes = segment.spec.classes
    builder = Builder(open_fp32(path), [image[None] for image in images(1)], "drive", steps=20)
    told: list[Step] = []
    runtime = "openvino" if len(targets) > 1 else "onnxruntime"
    ladder = climb(
        path,
        builder,
        Labelled(frames, classes),
        gates,
        targets=targets,
        runtime=runtime,
        shorter="openvino-bf16" if runtime == "openvino" else None,
        order=lambda rung: order_by_agreement(builder, rung, images(1)[:2]),
        rounds=1,
        tell=told.append,
    )
    assert tuple(told) == ladder.steps
    return ladder


def test_a_net_that_loses_little_stays_on_the_first_rung(tiny_model: Path, tmp_path: Path) -> None:
    ladder = climbed(tiny_model, Gates(max_drop=0.5, min_speedup=0.01))

    assert [step.name for step in ladder.steps] == ["INT8"]
    assert ladder.chosen is ladder.steps[0] and not ladder.chosen.reasons
    assert ladder.ranges is not None
    write_int8(tiny_model, tmp_path / "again.onnx", ladder.ranges, Rung(X86))
    assert (tmp_path / "again.onnx").read_bytes() == ladder.content


def test_an_unbalanced_net_climbs_by_equalisation(unbalanced: Path) -> None:
    ladder = climbed(unbalanced, Gates(max_drop=0.1))

    plain = ladder.steps[0]
    assert plain.drop > 0.1
    assert plain.reasons == (f"loses {plain.drop:.4f} mIoU, more than 0.1",)
    chosen = ladder.chosen
    assert chosen is not None and chosen.rung is not None
    assert chosen.rung.equalised and not chosen.rung.floats
    assert chosen is ladder.steps[-1] and chosen.drop <= 0.1
    drops = {step.name: step.drop for step in ladder.steps}
    assert drops["channels equalised across layers"] < min(list(drops.values())[:3])


def test_behind_all_remedies_layers_go_back_to_float_fewest_first(unbalanced: Path) -> None:
    ladder = climbed(unbalanced, Gates(max_drop=0.0))

    names = [step.name for step in ladder.steps]
    remedies = [name for name in REMEDIES if not any(note.startswith(name) for note in ladder.skipped)]
    assert len(remedies) >= len(REMEDIES) - 1  # the methods of least error may all be that of the squared error
    assert names[: 1 + len(remedies)] == ["INT8", *remedies]
    rungs = {step.name: step.rung for step in ladder.steps}
    equalised, corrected = rungs["channels equalised across layers"], rungs["biases corrected"]
    assert equalised is not None and corrected == replace(equalised, corrected=True)  # each goes onto the best so far
    floats = [set(step.rung.floats) for step in ladder.steps if step.rung is not None and step.rung.floats]
    assert names[1 + len(remedies) :][: len(floats)] == [
        f"worst {'layer' if power == 0 else f'{2**power} layers'} in float" for power in range(len(floats))
    ]
    assert floats and all(fewer < more for fewer, more in itertools.pairwise(floats))
    if ladder.chosen is None:
        assert not ladder.content
    else:
        assert ladder.chosen.drop <= 0.0


def test_no_rung_is_fast_enough(tiny_model: Path) -> None:
    ladder = climbed(tiny_model, Gates(max_drop=0.5, min_speedup=1e6))

    assert ladder.chosen is None and not ladder.content
    (reason,) = ladder.steps[0].reasons
    assert reason.endswith("times as fast, less than 1e+06")


def test_of_two_dialects_and_shorter_floats_one_is_chosen(tiny_model: Path, vnni: None) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("torch")  # without it the tiny net is too narrow for TensorRT's INT8
    ladder = climbed(tiny_model, Gates(max_drop=0.5), targets=(X86, "tensorrt"))

    names = [step.name for step in ladder.steps]
    assert names[:2] == [f"INT8 for {X86}", "INT8 for tensorrt"]
    assert ladder.chosen in ladder.steps
    assert names[2:] == ["FP32 file on openvino-bf16"] or "does not compute in BF16" in ladder.skipped[-1]
