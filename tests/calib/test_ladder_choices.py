"""The ladder's choices with losses and times that a test says: BF16, rungs that fail, methods by tensor."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_seg.calib.builder import BY_ERROR, Builder
from edge_seg.calib.gates import Gates
from edge_seg.calib.ladder import REMEDIES, Ladder, climb
from edge_seg.calib.qdq import steps_for
from edge_seg.calib.quantize import method_for, open_fp32, write_int8
from edge_seg.calib.ranges import open_session
from edge_seg.calib.rung import Rung
from edge_seg.calib.speed import Speed
from edge_seg.data.drive import Drive
from edge_seg.errors import EdgeSegError, MissingExtraError, ModelError
from edge_seg.evaluate import Scores
from edge_seg.export.target import find_target

X86 = "onnxruntime-x86"
PICTURES = [frame.image[None] for frame in Drive(1, 96, 72, 8)]


@dataclass
class Rigged:
    """A climb whose files lose and take what a test says: mIoU lost and times as fast, by the run-time."""

    path: Path
    bf16: bool = True
    losses: dict[str, float] = field(default_factory=dict)
    speedups: dict[str, float] = field(default_factory=dict)
    failing: dict[str, EdgeSegError] = field(default_factory=dict)
    order: tuple[tuple[str, ...], ...] = ()
    enough_floats: int | None = None
    """Convolutions in float, from which on nothing is lost."""

    def climb(self, monkeypatch: pytest.MonkeyPatch, gates: Gates, targets: Sequence[str] = (X86,)) -> Ladder:
        """The ladder; building a rung whose field `failing` names ends with its error."""
        rigged, ladder = self, "edge_seg.calib.ladder"

        class Failing(Builder):
            def build(self, rung: Rung) -> onnx.ModelProto:
                for name, error in rigged.failing.items():
                    if getattr(rung, name):
                        raise error
                return super().build(rung)

        def judge(segment: tuple[Path, str], gate: object, *, outlines: bool) -> Scores:
            mended = self.enough_floats is not None and in_float(segment[0]) >= self.enough_floats
            exact = mended or (segment[0] == self.path and segment[1] == "onnxruntime")
            miou = 0.5 if exact else 0.5 - self.loss(segment[1])
            return Scores("m", "r", "", 1, None, {"Road": miou}, {"Road": 0.5}, None, None, None, None)

        def time(first: tuple[Path, str], second: tuple[Path, str], *, rounds: int) -> Speed:
            ratio = self.speedups.get(second[1], 1.0) / self.speedups.get(first[1], 1.0)
            return Speed(1.0, 1.0 / ratio, ratio, ratio, ratio)

        monkeypatch.setattr(f"{ladder}.open_segmenter", lambda path, runtime: nullcontext((path, runtime)))
        monkeypatch.setattr(f"{ladder}.evaluate", judge)
        monkeypatch.setattr(f"{ladder}.compare_speed", time)
        monkeypatch.setattr(f"{ladder}.computes_bf16", lambda: self.bf16)
        builder = Failing(open_fp32(self.path), PICTURES, "drive", steps=2)
        return climb(
            self.path,
            builder,
            Drive(2, 96, 72, 1),
            gates,
            targets=targets,
            runtime="onnxruntime",
            order=lambda rung: self.order,
            shorter="openvino-bf16",
        )

    def loss(self, runtime: str) -> float:
        return self.losses.get(runtime, 0.0)


def in_float(path: Path) -> int:
    """How many convolutions of a file have float weights, behind no DequantizeLinear."""
    nodes = onnx.load(path).graph.node
    integer = {node.output[0] for node in nodes if node.op_type == "DequantizeLinear"}
    return sum(node.op_type == "Conv" and node.input[1] not in integer for node in nodes)


def test_the_fewest_layers_in_float_that_are_enough_are_chosen(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")  # without it there are three convolutions, and no half of eight
    convolutions = [node.name for node in open_fp32(tiny_model).graph.node if node.op_type == "Conv"]
    worst = tuple((name,) for name in convolutions[3:11])
    rigged = Rigged(tiny_model, bf16=False, losses={"onnxruntime": 0.1}, order=worst, enough_floats=3)

    ladder = rigged.climb(monkeypatch, Gates(max_drop=0.01))

    floats = [step for step in ladder.steps if step.rung is not None and step.rung.floats]
    assert [step.name for step in floats] == [f"worst {count} in float" for count in ("layer", "2 layers", "4 layers")]
    assert ladder.chosen is floats[-1] is ladder.steps[-1]
    assert floats[-1].rung is not None and floats[-1].rung.floats == tuple(convolutions[3:7])
    assert all(step.reasons for step in ladder.steps[:-1])


def test_where_bf16_is_clearly_faster_the_fp32_file_is_the_result(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ladder = Rigged(tiny_model, speedups={"openvino-bf16": 1.2}).climb(monkeypatch, Gates(max_drop=0.01))

    assert [step.name for step in ladder.steps] == ["INT8", "FP32 file on openvino-bf16"]
    assert ladder.chosen is ladder.steps[-1]
    assert (ladder.chosen.rung, ladder.chosen.runtime, ladder.ranges) == (None, "openvino-bf16", None)
    assert ladder.content == tiny_model.read_bytes()


@pytest.mark.parametrize(
    ("losses", "speedups"),
    [({}, {"openvino-bf16": 1.04}), ({"openvino-bf16": 0.02}, {"openvino-bf16": 9.0})],
    ids=["hardly faster", "loses too much"],
)
def test_else_int8_is(
    losses: dict[str, float], speedups: dict[str, float], tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ladder = Rigged(tiny_model, True, losses, speedups).climb(monkeypatch, Gates(max_drop=0.01))

    assert ladder.chosen is ladder.steps[0] and ladder.ranges is not None


def test_a_cpu_without_bf16_has_no_rung_of_it(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ladder = Rigged(tiny_model, bf16=False).climb(monkeypatch, Gates(max_drop=0.01))

    assert [step.name for step in ladder.steps] == ["INT8"]
    assert ladder.skipped == ("FP32 file on openvino-bf16: this CPU does not compute in BF16.",)


def test_a_rung_that_fails_is_noted_and_the_others_go_on(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """INT8 never passes here, BF16 does."""
    failing: dict[str, EdgeSegError] = {"equalised": ModelError("no pair"), "corrected": MissingExtraError("no extra")}
    rigged = Rigged(tiny_model, losses={"onnxruntime": 0.1}, failing=failing | {"adaptive": ModelError("no step")})

    ladder = rigged.climb(monkeypatch, Gates(max_drop=0.01))

    notes = dict(note.split(": ", 1) for note in ladder.skipped)
    assert notes["channels equalised across layers"] == "no pair"
    assert notes["biases corrected"] == "no extra"
    assert {step.name for step in ladder.steps} | set(notes) == {"INT8", *REMEDIES, "FP32 file on openvino-bf16"}
    assert ladder.chosen is ladder.steps[-1]


def test_a_dialect_that_cannot_be_written_is_skipped(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = of_opset(21, tiny_model, tmp_path)

    ladder = Rigged(path).climb(monkeypatch, Gates(max_drop=0.01), targets=(X86, "tensorrt"))

    assert ladder.chosen is not None and ladder.chosen.name == f"INT8 for {X86}"
    assert ladder.skipped[0].startswith("INT8 for tensorrt: The model has opset 21; files for tensorrt")
    with pytest.raises(ModelError, match=r"INT8: The model has opset 21; files for tensorrt are written up to 20"):
        Rigged(path).climb(monkeypatch, Gates(max_drop=0.01), targets=("tensorrt",))


def of_opset(opset: int, model: Path, folder: Path) -> Path:
    """The model as one of a newer opset."""
    graph = onnx.load(model)
    graph.opset_import[0].version = opset
    onnx.save(graph, folder / "newer.onnx")
    return folder / "newer.onnx"


@pytest.mark.parametrize("target", [X86, "tensorrt"])
def test_each_tensor_gets_the_method_of_least_error(target: str, tiny_model: Path, tmp_path: Path) -> None:
    """The errors again, of the tensor's own values; and the file can be written without them."""
    pytest.importorskip("torch")  # without it the tiny net is too narrow for TensorRT's INT8
    model, rung = open_fp32(tiny_model), Rung(target)
    builder = Builder(model, PICTURES, "drive")

    methods, ranges = builder.methods(rung), builder.ranges(rung)

    assert methods.keys() == ranges.tensors.keys() and set(methods.values()) > {"mse"}
    tensors = list(methods)[:3]
    session = open_session(model, tensors)
    runs = [session.run(tensors, {"image": picture}) for picture in PICTURES]
    values = [np.concatenate(of, axis=None) for of in zip(*runs, strict=True)]
    for tensor, held in zip(tensors, values, strict=True):
        errors = {}
        for method in BY_ERROR:
            steps = steps_for(ranges.tensors[tensor][method_for(find_target(target), method)], find_target(target))
            ends = np.iinfo(steps.zero_point.dtype)
            levels = np.clip(np.round(held / steps.scale) + float(steps.zero_point), ends.min, ends.max)
            errors[method] = np.square((levels - float(steps.zero_point)) * steps.scale - held).mean()
        assert errors[methods[tensor]] <= 1.02 * min(errors.values()), (tensor, errors)

    chosen = Rung(target, "mse", methods={name: way for name, way in methods.items() if way != "mse"})
    write_int8(tiny_model, tmp_path / "again.onnx", ranges, chosen)
    assert (tmp_path / "again.onnx").read_bytes() == builder.build(chosen).SerializeToString()
