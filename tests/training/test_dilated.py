"""Convolutions with groups and a dilation are trained in FP32 where all else is in bf16."""

import copy

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from torch import Tensor, nn

from edge_seg.training.dilated import InFloat32, compute_dilated_in_float32
from edge_seg.training.start import suit_devices


def depthwise(dilation: int) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(64, 64, 3, padding=dilation, dilation=dilation, groups=64).to(memory_format=torch.channels_last)


def gradient(net: nn.Conv2d, *, bf16: bool) -> Tensor:
    """That of the weights, after a step on what chance gives."""
    torch.manual_seed(1)
    x = torch.randn(4, 64, 22, 30).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        out = net(x.bfloat16() if bf16 else x)
    net.zero_grad()
    torch.manual_seed(2)
    (out * torch.randn(out.shape).to(out.dtype)).sum().backward()
    assert net.weight.grad is not None
    return net.weight.grad.float()


@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_weights_learn_in_bf16_what_they_learn_in_fp32(dilation: int) -> None:
    """Without the change those with a dilation are as far off as chance on some CPUs."""
    net = depthwise(dilation)
    expected = gradient(net, bf16=False)

    assert compute_dilated_in_float32(net) == (dilation > 1)
    assert (gradient(net, bf16=True) - expected).norm() < 0.02 * expected.norm()


def test_no_other_convolution_changes_its_type() -> None:
    net = nn.Sequential(depthwise(1), depthwise(2), nn.Conv2d(64, 8, 3, dilation=2, padding=2))
    assert compute_dilated_in_float32(net) == 1

    kinds = []
    for layer in net:
        layer.register_forward_hook(lambda _, __, out: kinds.append(out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        net(torch.zeros(1, 64, 8, 8))
    assert kinds == [torch.bfloat16, torch.float32, torch.bfloat16]


def test_a_copy_computes_with_its_own_weights() -> None:
    """Lightning's average is one."""
    net = depthwise(2)
    compute_dilated_in_float32(net)
    other = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()

    assert not other(torch.ones(1, 64, 8, 8)).any() and net(torch.ones(1, 64, 8, 8)).any()


@pytest.mark.parametrize(
    ("bf16", "on_gpu", "changed"), [(True, False, True), (False, False, False), (True, True, False)]
)
def test_a_net_is_changed_where_a_cpu_trains_it_in_bf16(bf16: bool, on_gpu: bool, changed: bool) -> None:
    net = depthwise(2)
    suit_devices(net, on_gpu=on_gpu, bf16=bf16, processes=1)

    assert isinstance(net.forward, InFloat32) == changed
