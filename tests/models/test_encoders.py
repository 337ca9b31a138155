"""Networks of torchvision and timm as encoders: their levels, their published weights, their way to the edge."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")
timm = pytest.importorskip("timm")

from safetensors.torch import save_file

from edge_seg.calib.quantize import quantize
from edge_seg.checkpoint import read_checkpoint, write_checkpoint
from edge_seg.data.drive import Drive
from edge_seg.errors import ModelError
from edge_seg.export.to_onnx import to_onnx
from edge_seg.models import build_model
from edge_seg.models.published import fetch, fold_normalisation
from edge_seg.runners import open_runner
from edge_seg.spec import CAMVID_CLASSES, ModelSpec

SMALL, SMALL_TIMM = "torchvision:mobilenet_v3_small", "timm:mobilenetv3_small_050"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of torch hub's checkpoints, with no way out to the network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("torchvision:resnet18", [64, 128, 256, 512]),
        ("torchvision:resnet50", [256, 512, 1024, 2048]),  # the blocks' results, not the thin start of the next level
        ("torchvision:alexnet", [64, 192, 256, 256]),
        ("torchvision:vgg16", [256, 512, 512, 512]),
        (SMALL, [72, 96, 288, 576]),
        ("timm:resnet18", [64, 128, 256, 512]),
        (SMALL_TIMM, [8, 16, 24, 288]),
    ],
)
def test_features_are_taken_at_strides_4_to_32(name: str, widths: list[int]) -> None:
    net = build_model(name, 5).eval()

    with torch.no_grad():
        levels = list(net.pyramid(torch.zeros(1, 3, 128, 192)))
        logits = net.forward_with_aux(torch.zeros(1, 3, 128, 192))

    assert [level.shape[1] for level in levels] == widths
    for stride, level in zip((4, 8, 16, 32), levels, strict=True):
        assert [round(np.log2(side / part)) for side, part in zip((128, 192), level.shape[2:], strict=True)] == [
            np.log2(stride)
        ] * 2
    assert [tuple(at.shape) for at in logits] == [(1, 5, *level.shape[2:]) for level in levels[:3]]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:vit_b_16", "VisionTransformer cannot be an encoder"),
        ("torchvision:squeezenet1_1", "has features at strides 1, 2, 4, 8, 16; an encoder needs them at 4, 8, 16, 32"),
        ("torchvision:resnet19", "torchvision has no network 'resnet19'. Near it: torchvision:resnet18"),
        ("timm:vit_tiny_patch16_224", "has features at strides 16; an encoder needs them at 4, 8, 16, 32"),
        ("timm:resnet19", "timm has no network 'resnet19'. Near it: timm:resnet18"),
        ("timm:swin_tiny_patch4_window7_224", "takes no pictures of any size"),
    ],
)
def test_what_is_no_encoder_is_refused(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_model(name, 5)


@pytest.mark.parametrize("name", [SMALL, SMALL_TIMM])
def test_a_checkpoint_keeps_an_encoder_net(name: str, tmp_path: Path) -> None:
    net = build_model(name, 11).eval()
    write_checkpoint(tmp_path / "net.pt", name, ModelSpec(name, CAMVID_CLASSES, 96, 72, "nothing"), net)

    arch, _, again = read_checkpoint(tmp_path / "net.pt")

    image = torch.randn(1, 3, 72, 96)
    assert arch == name
    assert torch.equal(net(image), again(image))


@pytest.mark.parametrize("bias", [False, True])
def test_a_folded_convolution_takes_our_pictures(bias: bool) -> None:
    torch.manual_seed(0)
    image = torch.randint(256, (1, 3, 20, 24)).float()  # BGR
    published = torch.nn.Conv2d(3, 8, 3, padding=1, bias=bias)
    ours = torch.nn.Conv2d(3, 8, 3, padding=1)
    ours.load_state_dict({"bias": torch.zeros(8), **published.state_dict()})

    fold_normalisation(ours, *IMAGENET)

    mean, std = (torch.tensor(values)[:, None, None] for values in IMAGENET)
    expected = published((image.flip(1) / 255 - mean) / std)
    found = ours((image - 128) / 64)
    torch.testing.assert_close(found[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], rtol=1e-4, atol=1e-5)


def write_torchvision(hub: Path) -> torch.nn.Module:
    torch.manual_seed(3)
    net = torchvision.models.get_model("mobilenet_v3_small", weights=None)
    url = torchvision.models.get_model_weights("mobilenet_v3_small").DEFAULT.url
    torch.save(net.state_dict(), hub / Path(url).name)
    return net


def write_timm(hub: Path) -> torch.nn.Module:
    torch.manual_seed(3)
    net = timm.create_model("mobilenetv3_small_050")
    save_file(net.state_dict(), hub / f"mobilenetv3_small_050.{net.pretrained_cfg['tag']}.safetensors")
    return net


@pytest.mark.parametrize(
    ("name", "write", "first"),
    [(SMALL, write_torchvision, "features.0.0"), (SMALL_TIMM, write_timm, "conv_stem")],
)
def test_published_weights_are_those_of_the_file(
    name: str, write: Callable[[Path], torch.nn.Module], first: str, hub: Path
) -> None:
    theirs = write(hub)

    net = build_model(name, 4, weights="published")

    published, found = theirs.state_dict(), net.encoder_parts()[0].state_dict()
    assert found.keys() - published.keys() == {f"{first}.bias"}
    assert all(torch.equal(found[key], published[key]) for key in found if not key.startswith(first))
    ours = torch.nn.Conv2d(3, found[f"{first}.weight"].shape[0], 3)
    ours.load_state_dict({"weight": published[f"{first}.weight"], "bias": torch.zeros(len(ours.weight))})
    fold_normalisation(ours, *IMAGENET)
    assert torch.equal(found[f"{first}.weight"], ours.weight)
    assert torch.equal(found[f"{first}.bias"], ours.bias)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        (SMALL, "https://download.pytorch.org/models/mobilenet_v3_small-"),
        (SMALL_TIMM, "https://huggingface.co/timm/mobilenetv3_small_050"),
    ],
)
def test_weights_that_cannot_be_fetched_are_told(name: str, url: str, hub: Path) -> None:
    with pytest.raises(ModelError, match=r"could not be fetched from .*by hand, or leave out") as error:
        build_model(name, 4, weights="published")

    assert url in str(error.value)
    assert f"Put the file into {hub} by hand" in str(error.value)
    assert not list(hub.iterdir())


def test_a_port_that_nobody_listens_on_is_told(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("http_proxy")
    monkeypatch.delenv("HTTP_PROXY")
    with pytest.raises(ModelError, match=r"net-0123abcd\.pth could not be fetched from http://127\.0\.0\.1:9/"):
        fetch("http://127.0.0.1:9/net-0123abcd.pth")


def test_a_published_file_with_code_is_refused(hub: Path) -> None:
    torch.save({"net": Path("x")}, hub / "net.pth")

    with pytest.raises(ModelError, match=r"net\.pth is no file of weights"):
        fetch("http://127.0.0.1:9/net.pth")


def test_a_file_of_another_network_is_refused(hub: Path) -> None:
    write_torchvision(hub)
    url = torchvision.models.get_model_weights("resnet18").DEFAULT.url
    next(hub.iterdir()).rename(hub / Path(url).name)

    with pytest.raises(ModelError, match=r"is not of torchvision:resnet18: .* Delete it and start again"):
        build_model("torchvision:resnet18", 4, weights="published")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"conv1.weight": torch.zeros(3)}, r"timm:resnet18 cannot be an encoder \(RuntimeError: .*size mismatch"),
        ({"something.weight": torch.zeros(3)}, "102 tensors of timm:resnet18 are missing"),
    ],
)
def test_a_file_of_another_timm_network_is_refused(tensors: dict[str, torch.Tensor], message: str, hub: Path) -> None:
    save_file(tensors, hub / "resnet18.a1_in1k.safetensors")

    with pytest.raises(ModelError, match=rf"(?s){message}.* Delete .*resnet18\.a1_in1k\.safetensors and start again"):
        build_model("timm:resnet18", 4, weights="published")


def test_our_own_nets_have_no_published_weights() -> None:
    with pytest.raises(ModelError, match=r"Nobody publishes encoder weights for edge-seg-s.*--init edge-seg-s-fp32"):
        build_model("edge-seg-s", 11, weights="published")


@pytest.mark.parametrize("name", [SMALL, SMALL_TIMM, "torchvision:alexnet"])
def test_an_encoder_net_goes_the_whole_way_to_int8(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = ModelSpec(name, CAMVID_CLASSES, 96, 72, "nothing")
    write_checkpoint(tmp_path / "net.pt", name, spec, build_model(name, 11).eval())

    to_onnx(tmp_path / "net.pt", tmp_path / "net.onnx")
    quantize(tmp_path / "net.onnx", tmp_path / "int8.onnx", Drive(1, 96, 72, 12), images=12)

    images = np.stack([frame.image for frame in Drive(5, 96, 72, 4)])
    labels = []
    for file, runtime in (("net.pt", "torch"), ("net.onnx", "onnxruntime"), ("int8.onnx", "onnxruntime")):
        with open_runner(tmp_path / file, runtime) as runner:
            labels.append(runner.infer(images))
    assert (labels[0] == labels[1]).mean() > 0.999
    assert (labels[0] == labels[2]).mean() > 0.9


@pytest.mark.parametrize("name", ["edge-seg-n", SMALL, SMALL_TIMM])
def test_a_frozen_encoder_stays_in_evaluation_mode(name: str) -> None:
    net = build_model(name, 3)
    net.freeze_encoder()

    net.eval()
    net.train()

    encoder = [module for part in net.encoder_parts() for module in part.modules()]
    assert not any(module.training for module in encoder)
    assert not any(p.requires_grad for part in net.encoder_parts() for p in part.parameters())
    assert net.training and net.head.training and net.head.weight.requires_grad
