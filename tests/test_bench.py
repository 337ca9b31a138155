"""The benchmarks that train or quantize: they must still fit what they stand on."""

import importlib
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_seg.calib.split import split
from edge_seg.data import open_dataset
from edge_seg.evaluate import evaluate
from edge_seg.runners.contract import read_onnx_spec
from edge_seg.segmenter import open_segmenter

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_a_foreign_net_is_trained_adopted_and_judged(tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    words = ["--net", "torchvision-lraspp", "--data", "drive:frames=16", "--test", "drive:seed=1,frames=4"]
    words += ["--size", "96x72", "--recipe", "quick", "--epochs", "1", "--out", str(tmp_path)]
    command = [sys.executable, str(ROOT / "tests/bench/foreign_nets.py"), *words]

    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, capture_output=True, text=True
    )

    cells = [cell.strip() for cell in done.stdout.splitlines()[-1].strip("|").split("|")]
    assert cells[:4] == ["torchvision-lraspp", "96x72", "1", "none"]
    in_pytorch, adopted = map(float, cells[5:])
    assert adopted == pytest.approx(in_pytorch, abs=0.01)  # the export up-samples from the same logits


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


@pytest.mark.slow
def test_without_adjustment_the_bench_of_adjustments_sees_what_eval_does(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("lightning")
    monkeypatch.syspath_prepend(ROOT / "tests/bench")
    data = ["drive:frames=8,size=96x72", "drive:seed=2,frames=3,size=96x72"]
    words = [str(tiny_checkpoint), "--data", data[0], "--data", data[1]]
    monkeypatch.setattr(sys, "argv", ["logit_adjustment.py", *words])

    importlib.import_module("logit_adjustment").main()

    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in capsys.readouterr().out.splitlines()[2:]]
    assert [row[1] for row in rows] == ["1"] * 3 + ["1.25"] * 3 + ["1.5"] * 3
    with open_segmenter(tiny_checkpoint, "torch") as segment:
        expected = [evaluate(segment, open_dataset(uri)).miou for uri in data]
    assert [float(row[2]) for row in rows[:2]] == pytest.approx(expected, abs=1e-3)
