"""First weights out of a file: what fits is taken, what does not is told, what was folded is unfolded."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file
from torch import Tensor, nn

from edge_seg.checkpoint import write_checkpoint
from edge_seg.data.drive import Drive
from edge_seg.errors import DataError, ModelError
from edge_seg.export.to_onnx import to_onnx
from edge_seg.models import SegmentationNet, build_model
from edge_seg.models.deploy import normalise
from edge_seg.spec import CAMVID_CLASSES, ModelSpec
from edge_seg.training.init_weights import init_net
from edge_seg.training.start import take_weights
from edge_seg.training.weight_files import read_weights

N = "edge-seg-n"
RESNET = "torchvision:resnet18"
SPEC = ModelSpec(N, CAMVID_CLASSES, 96, 72, "CamVid train", licence="for research")


@pytest.fixture(scope="module")
def images() -> list[Tensor]:
    """Two batches of four drive frames, normalised [4, 3, 72, 96]."""
    frames = [torch.from_numpy(frame.image).permute(2, 0, 1) for frame in Drive(7, 96, 72, 8)]
    return [normalise(torch.stack(frames[first : first + 4])) for first in (0, 4)]


def perturbed(arch: str = N, classes: int = 11) -> SegmentationNet:
    """A net whose BatchNorms are none of them the identity."""
    torch.manual_seed(5)
    net = build_model(arch, classes)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, 0.5, 1.5),
                (module.bias, -0.5, 0.5),
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.5, 2.0),
            ):
                nn.init.uniform_(tensor, low, high)  # type: ignore[arg-type]
    return net.eval()


def write(path: Path, net: SegmentationNet, arch: str = N, spec: ModelSpec = SPEC) -> Path:
    write_checkpoint(path, arch, spec, net)
    return path


def test_a_checkpoint_of_the_same_net_is_taken_whole(tmp_path: Path) -> None:
    first, net = perturbed(), build_model(N, 11)

    report = init_net(net, write(tmp_path / "first.pt", first), N, [])

    wanted = {name for name in net.state_dict() if not name.endswith("num_batches_tracked")}
    assert set(report.taken) == wanted
    assert not (report.reshaped or report.missing or report.unused)
    assert report.summary() == f"--init first.pt: {len(wanted)} of {len(wanted)} tensors taken"
    image = torch.randn(1, 3, 72, 96)
    assert torch.equal(net.eval()(image), first(image))


def test_only_the_output_is_new_for_other_classes(tmp_path: Path) -> None:
    first, net = perturbed(), build_model(N, 19)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}

    report = init_net(net, write(tmp_path / "first.pt", first), N, [])

    heads = {f"{head}.{kind}" for head in ("head", "aux_heads.0", "aux_heads.1") for kind in ("weight", "bias")}
    assert {tensor.name for tensor in report.reshaped} == heads
    assert "head.weight is [11, 48, 1, 1] there, [19, 48, 1, 1] here: starts anew" in report.summary()
    assert "3 more of another shape start anew" in report.summary()
    after = net.state_dict()
    assert all(torch.equal(after[name], first.state_dict()[name]) for name in report.taken)
    assert all(torch.equal(after[name], before[name]) for name in heads)
    lines = report.text().splitlines()
    assert "taken     stem.0.0.weight [16, 3, 3, 3]" in lines
    assert "anew      head.bias [19]: [11] in the file" in lines
    assert len(lines) == 2 + report.wanted


@pytest.mark.parametrize("prefix", ["", "module.", "net.", "model.", "module.net."])
@pytest.mark.parametrize("nest", [None, "state_dict", "model", "net"])
def test_state_dicts_of_other_programs_are_read(prefix: str, nest: str | None, tmp_path: Path) -> None:
    first, net = perturbed(), build_model(N, 11)
    tensors = {f"{prefix}{name}": tensor for name, tensor in first.state_dict().items()}
    torch.save({nest: tensors, "epoch": 3} if nest else tensors, tmp_path / "theirs.pth")

    report = init_net(net, tmp_path / "theirs.pth", N, [])

    assert len(report.taken) == report.wanted
    file = read_weights(tmp_path / "theirs.pth")
    assert (file.dataset, file.arch) == ("weights of theirs.pth", None)
    assert file.licence.startswith("Unknown")


def test_safetensors_are_read_and_a_damaged_file_is_told(tmp_path: Path) -> None:
    first, net = perturbed(), build_model(N, 11)
    save_file(first.state_dict(), tmp_path / "theirs.safetensors")

    report = init_net(net, tmp_path / "theirs.safetensors", N, [])

    assert len(report.taken) == report.wanted
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in first.state_dict().items())
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "theirs.safetensors").read_bytes()[:999])
    with pytest.raises(ModelError, match=r"cut\.safetensors is no file of PyTorch weights alone"):
        read_weights(tmp_path / "cut.safetensors")


def test_a_classifiers_weights_go_into_the_encoder(tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    theirs, net = torchvision.models.resnet18(), build_model("torchvision:resnet18", 4)
    torch.save(theirs.state_dict(), tmp_path / "resnet.pth")

    report = init_net(net, tmp_path / "resnet.pth", "torchvision:resnet18", [])

    found = net.state_dict()
    assert torch.equal(found["encoder.layer3.0.conv1.weight"], theirs.layer3[0].conv1.weight)
    assert set(report.unused) == {"encoder.fc.weight", "encoder.fc.bias"}
    assert "encoder.conv1.bias" in report.missing


@pytest.mark.parametrize("arch", [N, "torchvision:resnet18", "timm:mobilenetv3_small_050"])
def test_an_export_is_unfolded(arch: str, tmp_path: Path, images: list[Tensor]) -> None:
    if arch != N:
        pytest.importorskip(arch.partition(":")[0])
    first, net = perturbed(arch), build_model(arch, 11)
    spec = ModelSpec(arch, CAMVID_CLASSES, 96, 72, "nothing")
    to_onnx(write(tmp_path / "first.pt", first, arch, spec), tmp_path / "first.onnx")

    report = init_net(net, tmp_path / "first.onnx", arch, images)

    assert all(name.startswith("aux_heads") for name in report.missing)
    assert not (report.reshaped or report.unused)
    picture = torch.cat(images)
    with torch.no_grad():
        expected, found = first(picture), net.eval()(picture)
        trained = net.train()(picture)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    # Of the very pictures that set the statistics, training mode computes nearly the same.
    torch.testing.assert_close(trained, expected, rtol=0.05, atol=0.05 * float(expected.abs().max()))


def test_the_bundled_net_is_a_start(images: list[Tensor]) -> None:
    net = build_model("edge-seg-s", 4)

    report = init_net(net, Path("edge-seg-s-fp32"), "edge-seg-s", images)

    assert {tensor.name for tensor in report.reshaped} == {"head.weight", "head.bias"}
    assert len(report.taken) + len(report.missing) + 2 == report.wanted
    assert all(name.startswith("aux_heads") for name in report.missing)
    assert read_weights(Path("edge-seg-s-fp32")).dataset.startswith("CamVid")


def test_int8_is_refused(tiny_int8_model: Path) -> None:
    with pytest.raises(ModelError, match=r"edge-seg-s is INT8: .*Give edge-seg-s-fp32"):
        init_net(build_model("edge-seg-s", 11), Path("edge-seg-s"), "edge-seg-s", [])
    with pytest.raises(ModelError, match=r"INT8: .*the FP32 file that it was quantized from"):
        read_weights(tiny_int8_model)


def test_another_net_is_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "first.pt", perturbed())

    with pytest.raises(
        DataError, match=r"(?s)first\.pt holds edge-seg-n and does not fit edge-seg-s.*found:.*expected:"
    ):
        init_net(build_model("edge-seg-s", 11), first, "edge-seg-s", [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3, "lr": 0.1}, "holds no tensors by name, but epoch, lr"),
        ({"net": Path("x")}, "is no file of PyTorch weights alone"),
        ({"a": torch.zeros(2)}, "0 of 28 weight tensors have name and shape"),
    ],
)
def test_a_file_of_something_else_is_refused(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "file.pt")

    with pytest.raises((ModelError, DataError), match=message):
        init_net(build_model(N, 11), tmp_path / "file.pt", N, [])


def test_a_missing_file_is_told() -> None:
    with pytest.raises(ModelError, match=r"No model 'nowhere\.pt'"):
        init_net(build_model(N, 11), Path("nowhere.pt"), N, [])


def test_a_start_tells_what_was_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write(tmp_path / "first.pt", perturbed())

    net = build_model(N, 11)
    report = take_weights(net, N, [], init=first, freeze="encoder")

    assert report is not None
    assert capsys.readouterr().err == f"{report.summary()}\n"
    assert net.encoder_frozen


def resnet(path: Path) -> SegmentationNet:
    """A net of resnet18 whose weights of chance lie in `path` too."""
    pytest.importorskip("torchvision")
    net = perturbed(RESNET)
    write(path, net, RESNET)
    return net


def test_an_encoder_of_chance_is_not_frozen(tmp_path: Path) -> None:
    """A decoder fits many nets: what starts anew would be kept."""
    resnet(tmp_path / "resnet.pt")
    net, other = build_model(RESNET, 11), Path("edge-seg-s-fp32")

    with pytest.raises(
        DataError,
        match=r"weights of chance: edge-seg-s-fp32 lacks 61 of the encoder's 61, such as encoder\.conv1\.weight\. "
        r"Give an --init of torchvision:resnet18, add --encoder-weights published, or leave out --freeze\.",
    ):
        take_weights(net, RESNET, [], init=other, freeze="encoder")
    assert not net.encoder_frozen
    assert take_weights(net, RESNET, [], init=other) is not None
    take_weights(net, RESNET, [], init=tmp_path / "resnet.pt", freeze="encoder")
    assert net.encoder_frozen


def test_an_encoder_of_another_width_is_not_frozen(tmp_path: Path) -> None:
    found = perturbed().state_dict()
    found["stem.0.0.weight"] = found["stem.0.0.weight"][:8]
    torch.save(found, tmp_path / "narrow.pth")

    with pytest.raises(
        DataError, match=r"narrow\.pth lacks 1 of .* stem\.0\.0\.weight\. Give an --init of edge-seg-n, or"
    ):
        take_weights(build_model(N, 11), N, [], init=tmp_path / "narrow.pth", freeze="encoder")


def test_an_encoder_without_its_statistics_is_not_frozen(tmp_path: Path) -> None:
    """A frozen one computes with those that it has: means of 0 and variances of 1."""
    torch.save(dict(perturbed().named_parameters()), tmp_path / "bare.pth")

    with pytest.raises(DataError, match=r"weights of chance: bare\.pth lacks .* stem\.0\.1\.running_mean\. Give an"):
        take_weights(build_model(N, 11), N, [], init=tmp_path / "bare.pth", freeze="encoder")


def test_published_weights_are_frozen_whatever_the_file_lacks(tmp_path: Path) -> None:
    """They stay where the file has none; here a net's own weights stand for them."""
    net = resnet(tmp_path / "resnet.pt")

    take_weights(net, RESNET, [], weights="published", init=Path("edge-seg-s-fp32"), freeze="encoder")

    assert net.encoder_frozen


def test_a_classifiers_encoder_is_frozen(tmp_path: Path) -> None:
    """Its first convolution has no bias, ours begins with zeros."""
    torchvision = pytest.importorskip("torchvision")
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "resnet.pth")

    net = build_model(RESNET, 11)
    report = take_weights(net, RESNET, [], init=tmp_path / "resnet.pth", freeze="encoder")

    assert report is not None and "encoder.conv1.bias" in report.missing
    assert net.encoder_frozen
