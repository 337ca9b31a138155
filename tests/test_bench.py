"""The benchmarks that train or quantize: they must still fit what they stand on."""

import dataclasses
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from edge_seg.data import open_dataset
from edge_seg.evaluate import evaluate
from edge_seg.recipe import FOLDER
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
    assert cells[:5] == ["torchvision-lraspp", "96x72", "96x72", "1", "none"]
    in_pytorch, adopted = map(float, cells[6:])
    assert adopted == pytest.approx(in_pytorch, abs=0.01)  # the export up-samples from the same logits


@pytest.mark.parametrize("bench", ["ablation", "foreign_nets"])
def test_a_training_set_without_a_test_set_asks_for_one(
    bench: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("lightning")
    pytest.importorskip("torchvision")
    monkeypatch.syspath_prepend(ROOT / "tests/bench")
    net = ["--net", "torchvision-lraspp"] if bench == "foreign_nets" else []
    monkeypatch.setattr(sys, "argv", [bench, *net, "--data", "folder:mine", "--out", str(tmp_path)])

    with pytest.raises(SystemExit):
        importlib.import_module(bench).parse_arguments()
    assert "--test is missing: folder:mine brings no test set along." in capsys.readouterr().err


@pytest.fixture
def finishing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The script that compares and does what a recipe does to a trained net last."""
    pytest.importorskip("lightning")
    monkeypatch.syspath_prepend(ROOT / "tests/bench")

    def run(*words: str | Path) -> None:
        monkeypatch.setattr(sys, "argv", ["finishing.py", *map(str, words)])
        importlib.import_module("finishing").main()

    return run


@pytest.fixture
def tiny_export(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """An FP32 export under the name of its architecture, by which it is built again."""
    from edge_seg.checkpoint import read_checkpoint, write_checkpoint
    from edge_seg.export.to_onnx import to_onnx

    arch, spec, net = read_checkpoint(tiny_checkpoint)
    write_checkpoint(tmp_path / "named.pt", arch, dataclasses.replace(spec, name=arch), net)
    to_onnx(tmp_path / "named.pt", tmp_path / "named.onnx")
    return tmp_path / "named.onnx"


@pytest.mark.slow
@pytest.mark.parametrize("model", ["tiny_checkpoint", "tiny_export"])
def test_unfinished_nets_are_judged_as_eval_does(
    model: str, finishing: Callable[..., None], request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    path: Path = request.getfixturevalue(model)
    data = ["drive:frames=8,size=96x72", "drive:seed=2,frames=3,size=96x72"]

    finishing(path, "--data", data[0], "--data", data[1])

    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in capsys.readouterr().out.splitlines()[2:]]
    assert [row[1] for row in rows] == ["0"] * 3
    with open_segmenter(path, "torch" if path.suffix == ".pt" else "onnxruntime") as segment:
        expected = [evaluate(segment, open_dataset(uri)).miou for uri in data]
    assert [float(row[2]) for row in rows[:2]] == pytest.approx(expected, abs=1e-3)


def test_an_export_is_finished_as_the_recipe_says(
    tiny_export: Path, write_camvid: Callable[..., None], finishing: Callable[..., None], tmp_path: Path
) -> None:
    """By `quick`, which asks for nothing, it computes what it did; by `camvid` it does not."""
    torch = pytest.importorskip("torch")
    from edge_seg.checkpoint import read_checkpoint
    from edge_seg.models.deploy import Deploy

    write_camvid(tmp_path, "train", names="abcdefghij")
    for path in (tmp_path / "trainannot").iterdir():  # classes that weigh unequally
        cv2.imwrite(str(path), np.arange(48, dtype=np.uint8).reshape(6, 8) % 7 % 5)
    shipped = (FOLDER / "camvid.toml").read_text()
    assert "clean_statistics = 0.5" in shipped
    (tmp_path / "dirty.toml").write_text(shipped.replace("clean_statistics = 0.5", "clean_statistics = 0"))
    nets = []
    for recipe in ("quick", tmp_path / "dirty.toml", "camvid"):
        words = ["--data", f"camvid:{tmp_path}", "--recipe", recipe, "--write", tmp_path / "net.pt"]
        finishing(tiny_export, *words)
        nets.append(read_checkpoint(tmp_path / "net.pt")[2].eval())

    plain, dirty, finished = nets
    image = torch.from_numpy(open_dataset("drive:frames=1,size=96x72")[0].image[None])
    with open_segmenter(tiny_export, "onnxruntime") as segment:
        same = Deploy(plain, width=96, height=72)(image)[0].numpy() == segment(image[0].numpy()).labels
    assert same.mean() > 0.999
    assert not torch.allclose(plain.head.bias, finished.head.bias)
    assert torch.equal(dirty.head.bias, finished.head.bias)
    assert not torch.allclose(dirty.smooth4[1].running_var, finished.smooth4[1].running_var)


def test_averages_are_judged_and_their_ends_are_the_nets(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("lightning")
    from edge_seg.checkpoint import read_checkpoint, write_checkpoint

    arch, spec, net = read_checkpoint(tiny_checkpoint)
    with torch.no_grad():
        net.head.bias[3] += 1000  # all of it class 3, of which a quarter is enough
    write_checkpoint(tmp_path / "last.pt", arch, spec, net)
    data = ["drive:frames=8,size=96x72", "drive:seed=2,frames=3,size=96x72", "drive:seed=3,frames=2,size=96x72"]
    words = [tiny_checkpoint, tmp_path / "last.pt", "--recipe", "quick", "--data", data[0], "--data", data[1]]
    monkeypatch.syspath_prepend(ROOT / "tests/bench")
    monkeypatch.setattr(sys, "argv", ["averaging.py", *map(str, words), "--beside", data[2]])
    importlib.import_module("averaging").main()

    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == ["0", "0.25", "0.5", "0.75", "1"]
    for row, path in ((rows[0], tiny_checkpoint), (rows[-1], tmp_path / "last.pt")):
        with open_segmenter(path, "torch") as segment:
            expected = [evaluate(segment, open_dataset(uri)).miou for uri in data]
        assert [float(row[place]) for place in (1, 2, 4)] == pytest.approx(expected, abs=1e-3)
    assert rows[0][1:] != rows[1][1:] == rows[-1][1:]


def test_pictures_have_a_row_for_each_share(
    tiny_export: Path,
    write_camvid: Callable[..., None],
    finishing: Callable[..., None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_camvid(tmp_path, "train", names="abcdefghij")

    finishing(tiny_export, "--data", f"camvid:{tmp_path}")

    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in capsys.readouterr().out.splitlines()[2:]]
    assert [row[1] for row in rows] == ["0", "0.25", "0.5", "0.75", "1"]
    assert len({row[2] for row in rows}) > 1


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
