"""What --target, --jetpack and --tensorrt name."""

import re
from collections.abc import Callable

import pytest

from edge_seg.errors import ModelError
from edge_seg.export.lint import find_goal
from edge_seg.export.target import TARGETS, target_here, targets_of
from edge_seg.export.tensorrt_support import find_version


@pytest.mark.parametrize(
    ("jetpack", "tensorrt"),
    [
        *[("5", "8.5"), ("5.1", "8.5"), ("5.1.2", "8.5"), ("6", "8.6"), ("6.0", "8.6"), ("6.1", "10.3")],
        *[("6.2", "10.3"), ("6.2.1", "10.3"), ("7.0", "10.13"), ("7.1", "10.13"), ("7.2", "10.16"), ("7.2.1", "10.16")],
    ],
)
def test_jetpacks_have_their_tensorrt(jetpack: str, tensorrt: str) -> None:
    assert find_version(jetpack, None) == tensorrt


def test_tensorrt_is_known_by_its_first_two_numbers() -> None:
    given = ("8.5.2", "8.6.1.6", "10.3.0", "10.13", "10", "11")
    assert [find_version(None, name) for name in given] == ["8.5", "8.6", "10.3", "10.13", "10.3", "11.4"]


@pytest.mark.parametrize("name", ["4.6", "5.0", "6.3", "6.x", "6.", "", "6.1.x", "-6"])
def test_other_jetpacks_are_told(name: str) -> None:
    known = r"Choose 5\.1, 6\.0, 6\.1, 6\.2, 7\.0, 7\.1 or 7\.2"
    with pytest.raises(ModelError, match=rf"No JetPack '{re.escape(name)}' is known\. {known}"):
        find_version(name, None)


def test_other_goals_are_told() -> None:
    with pytest.raises(ModelError, match=r"No TensorRT '9\.3' is known\. Choose 8\.5, .* or 11\.4"):
        find_goal("tensorrt", tensorrt="9.3")
    with pytest.raises(ModelError, match="No target 'tpu'"):
        find_goal("tpu")


@pytest.mark.parametrize(("flags", "bits"), [("fpu avx2", 7), ("fpu avx2 avx_vnni", 8)])
def test_openvino_has_the_bits_of_this_cpu(flags: str, bits: int, cpu_flags: Callable[[str], None]) -> None:
    cpu_flags(flags)

    assert find_goal("openvino").target.weight_bits == bits
    assert find_goal("openvino").target.name not in TARGETS


def test_auto_is_what_quantize_writes_for() -> None:
    here = find_goal("openvino" if targets_of("auto")[1] == "openvino" else target_here().name)

    assert find_goal("auto") == here
