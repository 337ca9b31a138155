"""The pictures that other quantizers get in `tests/bench/peers.py`: those of our own file, where they are known."""

import importlib
import json
import shutil
from argparse import Namespace
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_seg.calib.split import split
from edge_seg.data import open_dataset
from edge_seg.files import write_whole
from edge_seg.runners.contract import read_onnx_spec

ROOT = Path(__file__).parent.parent


def test_an_fp32_file_alone_is_quantized_on_the_pictures_of_the_peers(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "tests/bench")
    options = Namespace(data="drive:frames=12,size=96x72", manifest=None, out=tmp_path)

    net, ours = importlib.import_module("peer_files").prepare(str(tiny_model), options)

    assert any(node.op_type == "QuantizeLinear" for node in onnx.load(ours).graph.node)
    assert np.load(net.pictures).shape == (12, 72, 96, 3)
    assert net.told == "peers: drive seed 1, 12 pictures spread evenly; ours: the same pictures"


def test_the_peers_of_a_bundled_file_get_its_pictures_where_they_can(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "tests/bench")
    choose = importlib.import_module("peer_pictures").choose_pictures
    options = Namespace(data="drive:frames=40,size=96x72", manifest=None)
    apart = split(open_dataset(options.data), 120, 200)[0]

    same = choose(read_onnx_spec(tiny_model), options, apart.name)
    others = choose(read_onnx_spec(tiny_model), options, "CamVid train, 120 pictures to calibrate on")

    assert same.name == apart.name
    assert len(list(others.read())) == 40 > len(apart)
    assert [one.tobytes() for one in same.read()] == [frame.image.tobytes() for frame in apart]
    assert same.key != others.key


def test_the_peers_of_any_file_get_the_pictures_that_its_ranges_name(
    tiny_model: Path, tiny_int8_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "tests/bench")
    prepare = importlib.import_module("peer_files").prepare
    options = Namespace(data="drive:frames=40,size=96x72", manifest=None, out=tmp_path)
    ours = shutil.copy(tiny_int8_model, tmp_path / "ours.onnx")
    apart = split(open_dataset(options.data), 120, 200)[0]

    unknown, _ = prepare(f"{tiny_model}={ours}", options)
    write_whole(tmp_path / "ours.ranges.json", json.dumps({"pictures": apart.name}).encode())
    same, _ = prepare(f"{tiny_model}={ours}", options)

    assert unknown.told.endswith("ours: not known, no ranges lie beside the file")
    assert len(np.load(unknown.pictures)) == 40
    assert same.told == f"peers: {apart.name}; ours: the same, by the name in its ranges"
    assert len(np.load(same.pictures)) == len(apart)
