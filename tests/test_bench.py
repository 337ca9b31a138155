"""The benchmarks that train or quantize: they must still fit what they stand on."""

import importlib
import json
import os
import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType

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
    assert [row[1] for row in rows] == ["1"] * 3 + ["1.5"] * 3
    with open_segmenter(tiny_checkpoint, "torch") as segment:
        expected = [evaluate(segment, open_dataset(uri)).miou for uri in data]
    assert [float(row[2]) for row in rows[:2]] == pytest.approx(expected, abs=1e-3)


@pytest.fixture
def honesty(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that measures whether a profile can be believed."""
    monkeypatch.syspath_prepend(ROOT / "tests/bench")
    return importlib.import_module("profile_honesty")


def test_parts_of_the_page_are_where_their_scripts_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tests/bench")
    docs_parts = importlib.import_module("docs_parts")
    page = docs_parts.PAGE.read_text(encoding="utf-8")

    marks = dict(re.findall(r"<!-- ([\w ]+): begin, written by tests/bench/(\w+\.py) -->", page))

    names = ("repeat", "neighbour", "bare", "overhead", "targets")
    assert marks == {"profile": "rebuild.py"} | {f"honesty {name}": "profile_honesty.py" for name in names}
    for name, script in marks.items():
        part = docs_parts.part_of(page, name, by=script)
        assert len(part) > 50
        assert docs_parts.put_between(page, name, part, by=script) == page
    with pytest.raises(SystemExit, match="has lost its marks: <!-- profile: begin"):
        docs_parts.put_between("", "profile", "x", by="rebuild.py")


def test_the_tables_of_measured_parts_are_those_of_the_results(honesty: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_bytes((ROOT / "docs/benchmarks.md").read_bytes())

    honesty.write_tables(honesty.read_results(honesty.RESULTS), page)

    assert page.read_text() == (ROOT / "docs/benchmarks.md").read_text()


def test_a_part_is_measured_once_and_its_tables_are_written(
    honesty: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page, results = tmp_path / "page.md", tmp_path / "results.json"
    page.write_bytes((ROOT / "docs/benchmarks.md").read_bytes())
    words = ["profile_honesty.py", "overhead", "--rounds", "20", "--results", str(results), "--page", str(page)]
    monkeypatch.setattr(sys, "argv", words)

    honesty.main()
    written = results.read_bytes()
    honesty.main()

    assert results.read_bytes() == written  # nothing was measured anew
    assert "overhead: measured already" in capsys.readouterr().err
    measured = json.loads(written)["overhead"]
    share = measured["found"]["meters_ms"] / measured["found"]["infer_ms"]
    assert 0 < share < 1
    text = page.read_text()
    assert f"`{measured['command']}` on {measured['machine']['cpu']}" in text
    assert f"| {share * 100:.2f} % |" in text
    repeat = re.compile("<!-- honesty repeat: begin.*<!-- honesty repeat: end -->", re.DOTALL)
    assert repeat.findall(text) == repeat.findall((ROOT / "docs/benchmarks.md").read_text())  # other parts stay


def test_what_was_asked_for_is_told_once_all_parts_are_known(honesty: ModuleType, tmp_path: Path) -> None:
    p50s = {"a": [1.0, 1.0, 1.04], "b": [2.0, 2.0, 2.2], "c": [4.0, 4.0, 4.0]}
    beside = {"neighbour": "one core, all the time", "how": "in turns, before other processes"}
    quiet = {label: times[0] for label, times in p50s.items()}
    pair = {"model": "a", "against": "bare InferenceSession", "ours_ms": [1.1, 1.2], "theirs_ms": [1.0, 1.0]}
    found = {
        "repeat": {"numbers": {"p50 ms": p50s, "FPS": p50s}, "disturbed": [{}, {"a": "busy"}, {}]},
        "neighbour": {"quiet_p50_ms": quiet, "beside": [beside | {"p50_ms": quiet | {"a": 2.0}}]},
        "bare": {"pairs": [pair]},
        "overhead": {"infer_ms": 5.0, "meters_ms": 0.01},
    }
    told = {"command": "x", "machine": {"cpu": "A CPU", "cores": "2"}, "load": [0.1, 0.2]}
    page = tmp_path / "page.md"
    page.write_bytes((ROOT / "docs/benchmarks.md").read_bytes())

    honesty.write_tables({name: told | {"found": part} for name, part in found.items()}, page)

    text = page.read_text()
    assert "| p50 of three profiles, every row | within 5 % | 2 of 3 rows |" in text
    assert "33 % beside one core, all the time |" in text  # b : c alone
    assert "| 0.20 % of a frame of edge-seg-n |" in text
    assert "bare InferenceSession: 15.0 % to 15.0 % longer |" in text
    assert "| a | 1.00, 1.00, 1.04 | 1.040 | 1.0, 1.0, 1.0 | 1.040 |" in text
    assert "Timed under disturbance: a in profile 2: busy." in text
    assert "`x` on A CPU, cores: 2; load average 0.10 before, 0.20 after." in text
