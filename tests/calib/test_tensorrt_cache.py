"""The text of TensorRT's calibration caches, to the last bit; versions and algorithms of its header."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_seg.calib.tensorrt_cache import Cache, find_algorithm, parse_cache, parse_version
from edge_seg.errors import DataError, ModelError


@pytest.mark.parametrize(
    ("digits", "scale"),
    [("3c010204", 1 / 127), ("3c810204", 2 / 127), ("40000000", 2.0), ("3f800000", 1.0), ("2edbe6ff", 1e-10)],
)
def test_known_scales_have_known_digits(digits: str, scale: float) -> None:
    cache = Cache(8503, "EntropyCalibration2", {"x": np.float32(scale)})

    assert cache.to_text() == f"TRT-8503-EntropyCalibration2\nx: {digits}\n"
    assert parse_cache(cache.to_text(), "x").scales["x"] == struct.unpack("!f", bytes.fromhex(digits))[0]


@given(st.lists(st.floats(2.0**-90, 2.0**90, width=32), min_size=1))
def test_text_keeps_every_scale_to_the_last_bit(scales: list[float]) -> None:
    cache = Cache(100300, "MinMaxCalibration", {f"a:{i}: b": np.float32(scale) for i, scale in enumerate(scales)})

    assert parse_cache(cache.to_text(), "x") == cache


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"x, line 1: '' heads no calibration cache; expected TRT-VERSION-ALGORITHM"),
        ("image: 3c010204\n", r"line 1: 'image: 3c010204' heads no calibration cache"),
        ("TRT-8503-BestCalibration\n", r"line 1: .* with one of EntropyCalibration2, EntropyCalibration, MinMax"),
        ("TRT-EntropyCalibration2\n", r"line 1: 'TRT-EntropyCalibration2' heads no"),
        (
            "TRT-8503-EntropyCalibration2\nedges 3c010204\n",
            r"line 2: 'edges 3c010204'; expected a tensor's name, a colon",
        ),
        ("TRT-8503-EntropyCalibration2\n\n: 3c010204\n", r"line 3: ': 3c010204'; expected a tensor's name"),
        ("TRT-8503-EntropyCalibration2\nedges: 3c01020\n", r"line 2: 'edges: 3c01020'; expected .* 8 hexadecimal"),
        ("TRT-8503-EntropyCalibration2\nedges: 3c01020g\n", r"8 hexadecimal digits"),
        ("TRT-8503-EntropyCalibration2\nedges: 0.0078\n", r"8 hexadecimal digits"),
        ("TRT-8503-EntropyCalibration2\nedges: 7fc00000\n", r"line 2: 7fc00000 is nan, no scale for edges"),
        ("TRT-8503-EntropyCalibration2\nedges: 00000000\n", r"00000000 is 0, no scale for edges; expected one above 0"),
        ("TRT-8503-EntropyCalibration2\nedges: bc010204\n", r"bc010204 is -0\.00787402, no scale for edges"),
        ("TRT-8503-EntropyCalibration2\nedges: ff800000\n", r"ff800000 is -inf, no scale for edges"),
        ("TRT-8503-EntropyCalibration2\na: 3c010204\na: 3c010204\n", r"line 3: a was there before"),
    ],
)
def test_what_is_no_cache_is_told_by_line(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_cache(text, "x")


@pytest.mark.parametrize(
    ("text", "number", "parser"),
    [
        ("8.5.2", 8502, "8.5"),
        ("8.6.2", 8602, "8.6"),
        ("9.3.0", 9300, "8.6"),
        ("10.0", 100000, "8.6"),
        ("10.3.0.26", 100300, "10.3"),
        ("10.13.2", 101302, "10.13"),
        ("10.16", 101600, "10.16"),
    ],
)
def test_versions_have_tensorrts_number(text: str, number: int, parser: str) -> None:
    found = parse_version(text)

    assert (found.number, found.parser) == (number, parser)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("8.5", r"8\.5 came out several times\. Give three numbers, such as 8\.5\.3: .* \[TensorRT v8503\]"),
        ("8", r"'8' is no version of TensorRT; expected one such as 8\.5\.3 or 10\.3"),
        ("8503", r"'8503' is no version"),
        ("8.5.x", r"'8\.5\.x' is no version"),
        ("8.4.1", r"8\.4\.1 takes no uint8 pictures; expected 8\.5 or newer"),
        ("11.4", r"11\.4 has no calibrators any more; expected 8\.5 to 10\. .* quantize MODEL --target tensorrt"),
    ],
)
def test_versions_that_do_not_serve_are_told(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        parse_version(text)


def test_an_unknown_algorithm_is_told() -> None:
    with pytest.raises(ModelError, match=r"No algorithm 'kl'\. Choose entropy2, entropy, min-max, legacy"):
        find_algorithm("kl")
