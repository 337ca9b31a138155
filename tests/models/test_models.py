"""Every registered architecture, by the registry."""

import pytest

torch = pytest.importorskip("torch")

from edge_seg.errors import ModelError
from edge_seg.models import build_model, list_models
from edge_seg.models.deploy import Deploy, normalise
from edge_seg.models.edge_seg import count_gmacs

BUDGET_GMACS = {"edge-seg-n": (0.9, 1.1), "edge-seg-s": (2.0, 2.4), "edge-seg-l": (8.0, 9.0)}
ALLOWED = {"Conv2d", "BatchNorm2d", "ReLU", "Identity", "Sequential", "ModuleList", "EdgeSeg", "Block"}


@pytest.mark.parametrize("name", list_models())
@pytest.mark.parametrize(("width", "height"), [(96, 72), (70, 50), (33, 65)])
def test_logits_and_auxiliary_logits_have_strides_4_8_16(name: str, width: int, height: int) -> None:
    net = build_model(name, 5).eval()
    image = torch.zeros(2, 3, height, width)

    logits, *aux = net.forward_with_aux(image)

    for stride, found in zip((4, 8, 16), (logits, *aux), strict=True):
        assert found.shape == (2, 5, -(-height // stride), -(-width // stride))
    assert torch.equal(net(image), logits)


@pytest.mark.parametrize("name", list_models())
def test_the_size_of_a_net_is_what_its_name_promises(name: str) -> None:
    low, high = BUDGET_GMACS[name]

    assert low <= count_gmacs(build_model(name, 11), 480, 360) <= high


@pytest.mark.parametrize("name", list_models())
def test_only_operators_that_run_in_int8_everywhere(name: str) -> None:
    net = build_model(name, 11)

    assert {type(module).__name__ for module in net.modules()} <= ALLOWED
    assert all(m.groups == 1 for m in net.modules() if isinstance(m, torch.nn.Conv2d))


@pytest.mark.parametrize("name", list_models())
def test_a_net_learns_one_picture(name: str) -> None:
    torch.manual_seed(0)
    net = build_model(name, 3).train()
    image, truth = torch.randn(2, 3, 64, 64), torch.randint(3, (2, 16, 16))
    optimizer = torch.optim.AdamW(net.parameters(), 1e-2)
    losses = []
    for _ in range(12):
        loss = torch.nn.functional.cross_entropy(net.forward_with_aux(image)[0], truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))

    assert losses[-1] < 0.7 * losses[0]


def test_an_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"Unknown model 'edge-seg-x'; known: .*. Did you mean edge-"):
        build_model("edge-seg-x", 11)


def test_normalised_bytes_are_exact_and_grey_is_zero() -> None:
    values = torch.tensor([0, 64, 128, 255], dtype=torch.uint8)

    assert normalise(values).tolist() == [-2.0, -1.0, 0.0, 127 / 64]


def test_the_deployed_labels_are_the_argmax_of_the_enlarged_logits() -> None:
    torch.manual_seed(1)
    net = build_model("edge-seg-n", 4).eval()
    image = torch.randint(256, (1, 48, 64, 3), dtype=torch.uint8)

    labels = Deploy(net, width=64, height=48)(image)

    logits = net(normalise(image.permute(0, 3, 1, 2)))
    expected = torch.nn.functional.interpolate(logits, scale_factor=4.0, mode="bilinear").argmax(1)
    assert (labels.dtype, labels.shape) == (torch.uint8, (1, 48, 64))
    assert torch.equal(labels.long(), expected)
