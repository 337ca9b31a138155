"""The files that `tests/bench/peers.py` compares: the peers', brought into the deploy contract, and ours."""

import dataclasses
import functools
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import venv
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import peer_core
import peer_quantizers
from numpy.typing import NDArray
from peer_pictures import choose_pictures, describe, shipped_pictures
from peer_quantizers import ENVIRONMENTS, RECIPES
from peer_scores import kept

from edge_seg.calib.quantize import write_int8
from edge_seg.calib.ranges import observe
from edge_seg.calib.rung import Rung
from edge_seg.errors import EdgeSegError
from edge_seg.export.target import target_here
from edge_seg.files import write_whole
from edge_seg.runners.contract import check_contract, load_onnx, read_onnx_spec, write_spec
from edge_seg.weights import BUNDLED, find_model


@dataclass(frozen=True, slots=True)
class Net:
    """An FP32 file, its pictures to calibrate with and what is told of them, and the folder of what is made of it."""

    name: str
    fp32: Path
    pictures: Path
    folder: Path
    told: str

    @property
    def key(self) -> dict[str, str]:
        """What a quantized file depends on, beside its recipe."""
        return {"fp32": sha256(self.fp32), "pictures": sha256(self.pictures)}


def prepare(entry: str, options: Namespace) -> tuple[Net, Path]:
    """The net of a command line's entry, its pictures written, and our own INT8 file of it."""
    name, _, given = entry.partition("=")
    fp32, bundled = find_model(name), name.removesuffix("-fp32")
    spec = read_onnx_spec(fp32)
    if not given and name != bundled in BUNDLED:
        given = bundled
    shipped = shipped_pictures(given) if given else ""
    pictures = choose_pictures(spec, options, shipped)
    folder = options.out / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', spec.name)}-{sha256(fp32)[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"pictures-{hashlib.sha256(pictures.key.encode()).hexdigest()[:8]}.npy"
    net = Net(spec.name, fp32, path, folder, describe(pictures.name, shipped, given=bool(given)))
    if not path.is_file():
        _write_array(path, np.concatenate(list(pictures.read())))
    return net, find_model(given) if given else our_int8(net)


def _write_array(path: Path, array: NDArray[Any]) -> None:
    temporary = path.with_suffix(".part.npy")
    np.save(temporary, array)
    os.replace(temporary, path)


def our_int8(net: Net) -> Path:
    """The INT8 file as `edge-seg quantize` writes it, for the same pictures."""
    out = net.folder / "ours.onnx"

    def make() -> str:
        ranges = observe(load_onnx(net.fp32), (picture[None] for picture in np.load(net.pictures, mmap_mode="r")))
        write_int8(net.fp32, out, ranges, Rung(target_here().name))
        return out.name

    kept(net.folder / "ours.json", net.key, make, of=out)
    return out


class Made(NamedTuple):
    """A peer's file, and what the peer told of itself: its packages, seconds, and the quantizers in the file."""

    path: Path
    told: dict[str, Any]


def quantized_by(recipe: str, net: Net, options: Namespace) -> Made | None:
    """The peer's file of the whole graph, or of the core where that fails; None, and why on stderr, where both do."""
    parts = ["core"] if options.part == "core" else ["whole", "core"]
    suffix = RECIPES[recipe].suffix
    for part in ["whole"] if suffix == ".xml" else parts:
        out: Path = net.folder / f"{recipe}.{part}{suffix}"
        try:
            make = functools.partial(run_recipe, recipe, net, out, options.envs)
            told = kept(out.with_suffix(".json"), net.key, make, of=out)
        except (EdgeSegError, subprocess.CalledProcessError) as error:
            print(f"{net.name}: {recipe} of the {part} graph: {error}", file=sys.stderr)
            continue
        print(f"{net.name}: {recipe} of the {part} graph: {told}", file=sys.stderr)
        return Made(out, told)
    return None


def run_recipe(recipe: str, net: Net, out: Path, envs: Path) -> dict[str, Any]:
    """Quantize in the peer's environment, and bring what it writes into the contract; what the peer says of itself."""
    model, source, pictures = load_onnx(net.fp32), net.fp32, net.pictures
    raw = out.with_name(f"{out.stem}.raw{out.suffix}")
    if out.stem.endswith(".core"):
        source, pictures = out.with_suffix(".fp32.onnx"), net.folder / f"core-{net.pictures.name}"
        peer_core.cut_core(model, source)
        if not pictures.is_file():
            _write_array(pictures, peer_core.core_pictures(model, np.load(net.pictures)))
    python = environment(RECIPES[recipe].environment, envs)
    files = (source, pictures, raw if out.suffix == ".onnx" else out)
    command = [python, peer_quantizers.__file__, recipe, *(str(path.resolve()) for path in files)]
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    log = out.with_suffix(".log")
    with log.open("w") as errors, tempfile.TemporaryDirectory() as scratch:  # some leave files where they run
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, check=False, cwd=scratch, env=alone
        )
    if done.returncode:
        raise EdgeSegError(f"it ended with {done.returncode}; {log} says why")
    nodes = into_contract(raw, model, out) if out.suffix == ".onnx" else beside_ir(out, model)
    raw.unlink(missing_ok=True)
    if not nodes:
        raise EdgeSegError("it quantized nothing")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told | {"quantizers": nodes}


def environment(name: str, envs: Path) -> str:
    """The Python of an environment, made where it is missing or was left half made."""
    folder = envs.resolve() / name
    python, complete = str(folder / "bin" / "python"), folder / "complete.txt"
    if not complete.is_file():
        print(f"Installing {' '.join(ENVIRONMENTS[name])} into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        pip = [python, "-m", "pip", "install", "-qq", "--no-cache-dir", "--disable-pip-version-check"]
        subprocess.run([*pip, *ENVIRONMENTS[name]], check=True)
        write_whole(complete, subprocess.run([python, "-m", "pip", "freeze"], check=True, capture_output=True).stdout)
    return python


def into_contract(raw: Path, model: onnx.ModelProto, out: Path) -> int:
    """Write a peer's file with the FP32 file's spec, input and output; how many QuantizeLinear nodes it has."""
    quantized = load_onnx(raw)
    if out.stem.endswith(".core"):
        quantized = peer_core.put_back(model, quantized)
    for ours, theirs in ((model.graph.input, quantized.graph.input), (model.graph.output, quantized.graph.output)):
        if [value.name for value in ours] != [value.name for value in theirs]:
            raise EdgeSegError(f"its graph goes from {quantized.graph.input} to {quantized.graph.output}")
        for one, other in zip(ours, theirs, strict=True):
            other.CopyFrom(one)  # the name of the free batch is lost with some
    write_spec(quantized, dataclasses.replace(check_contract(model, "the FP32 file"), precision="INT8", scores={}))
    check_contract(quantized, raw.name)
    write_whole(out, quantized.SerializeToString())
    # Weights may be stored as integers, behind a DequantizeLinear alone.
    return sum(node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear") for node in quantized.graph.node)


def beside_ir(path: Path, model: onnx.ModelProto) -> int:
    """Write the spec beside an IR file; how many FakeQuantize nodes the file has."""
    spec = dataclasses.replace(check_contract(model, "the FP32 file"), precision="INT8", scores={})
    write_whole(path.with_suffix(".spec.json"), spec.to_json().encode())
    return len(re.findall(r'type="FakeQuantize"', path.read_text()))


def sha256(path: Path) -> str:
    """The hash of a file; of an IR file with that of its weights."""
    weights = path.with_suffix(".bin").read_bytes() if path.suffix == ".xml" else b""
    return hashlib.sha256(path.read_bytes() + weights).hexdigest()
