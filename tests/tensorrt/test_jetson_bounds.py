"""The bounds of a Jetson count the very multiplications that all else does."""

import importlib
import sys
from pathlib import Path

import pytest

from edge_seg.apps.profile.combinations import count_gmacs
from edge_seg.weights import find_model


def test_bounds_are_those_of_the_whole_net(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "gpu")
    bounds = importlib.import_module("jetson_bounds")
    layers = list(bounds.layers_of("edge-seg-n-fp32"))

    assert sum(count for count, _ in layers) == pytest.approx(count_gmacs(find_model("edge-seg-n-fp32")) * 1e9)
    assert layers[0][1] == 480 * 360 * 3 + 16 * 3 * 9 + 240 * 180 * 16  # picture, weights and features of the stem
    assert layers[-1] == (0, 480 * 360 * (2 * 4 * 11 + 1))
    monkeypatch.setattr(sys, "argv", ["jetson_bounds.py", "edge-seg-n-fp32"])
    bounds.main()
    assert "| Orin Nano 8GB | 20 | 68 | 0.40 (19 of 27) |" in capsys.readouterr().out
