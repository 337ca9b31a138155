"""Nets of other libraries, trained from scratch by our own training, for what is told of adopted nets.

    python tests/bench/foreign_nets.py --net torchvision-lraspp --data camvid:CamVid --out runs/foreign --epochs 180

Trains the net, exports it in its own manner (`torch.onnx.export`: RGB, ImageNet's mean and standard deviation, float
NCHW in, logits out), gives the export the deploy contract with `edge-seg adopt`, and judges that with `edge-seg eval`.
No published weights are used. A start from rendered drive frames saves epochs: `--data drive:frames=400 --epochs 16
--out runs/drive` first, then `--init runs/drive/NET/net.pt`. `--resume` goes on with an interrupted training, where
there is one; a finished one is not done again: choose another --out.

segmentation-models-pytorch and transformers are no dependencies of edge-seg. An environment on top of its own:

    python -m venv foreign
    python -c "import site; print(site.getsitepackages()[0])" > foreign/lib/python3.11/site-packages/edge_seg.pth
    foreign/bin/pip install --no-deps segmentation-models-pytorch transformers tokenizers regex
"""

import argparse
import csv
import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from foreign_libraries import EXPORTERS, LIBRARIES, MEAN, NETS, STD, ForeignNet, build_foreign, export

from edge_seg.checkpoint import read_checkpoint
from edge_seg.data import open_dataset
from edge_seg.files import write_whole, written_whole
from edge_seg.models.registry import MODELS
from edge_seg.recipe import read_recipe
from edge_seg.spec import ModelSpec
from edge_seg.train import default_test, train_and_evaluate
from edge_seg.training.batches import open_training_set, weights_of_classes
from edge_seg.training.finish import finish_net
from edge_seg.training.options import TrainOptions


def main() -> None:
    """Train, export, adopt and judge what is not finished; print a row of Markdown."""
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    library = LIBRARIES[options.net.partition("-")[0]]
    MODELS[options.net] = lambda classes: build_foreign(options.net, classes)  # type: ignore[assignment,return-value]
    folder: Path = options.out / options.net
    found = train_net(options, folder, library.divisor)
    _, spec, net = read_checkpoint(folder / "net.pt")
    assert isinstance(net, ForeignNet)
    if options.export_size is not None:
        width, height = sides(options.export_size, library.divisor)
        spec = dataclasses.replace(spec, width=width, height=height, scores={})
    finish(net, spec, options)
    export(net, (spec.width, spec.height), folder / "net.onnx", exporter=options.exporter)
    adopted = judge(adopt(spec, folder), options.test)
    millions = sum(parameter.numel() for parameter in net.parameters()) / 1e6
    print(
        "| net | trained at | exported at | epochs | teacher | million weights | mIoU, trained | mIoU, adopted FP32 |"
    )
    print("|---|---|---|---|---|---|---|---|")
    scores = [f"{millions:.1f}", f"{found['miou']:.4f}", f"{adopted:.4f}"]
    cells = [options.net, options.size, f"{spec.width}x{spec.height}", found["epochs"], found["teacher"], *scores]
    print(f"| {' | '.join(map(str, cells))} |")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", required=True, choices=NETS)
    parser.add_argument("--data", required=True)
    parser.add_argument("--test", help="the set to judge on; of itself camvid:PATH/test for camvid:PATH")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", default="camvid")
    parser.add_argument("--epochs", type=int, default=180)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--size", default="480x360", help="rounded down to what the net's library takes")
    parser.add_argument("--export-size", help="where it is another; the recipe's last steps go by it")
    parser.add_argument("--precision", default="auto", choices=("auto", "bf16", "fp32"))
    parser.add_argument("--init", type=Path, help="a checkpoint of the same net, to go on from")
    parser.add_argument("--teacher", type=Path, help="such as edge-seg-s-fp32; of its logits alone")
    parser.add_argument("--exporter", default="torchscript", choices=EXPORTERS, help="of torch.onnx")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    arguments.test = arguments.test or default_test(arguments.data)
    if arguments.test is None:
        parser.error(f"--test is missing: {arguments.data} brings no test set along.")
    return arguments


def train_net(arguments: argparse.Namespace, folder: Path, divisor: int) -> dict[str, Any]:
    """The trained net's scores in PyTorch, and what it was trained by; trains it where there are none yet."""
    result = folder / "scores.json"
    if not result.is_file():
        start = time.perf_counter()
        scores = train_and_evaluate(train_options(arguments, folder, divisor), arguments.test)
        assert scores is not None
        told = {"epochs": arguments.epochs, "teacher": str(arguments.teacher or "none")}
        told |= {"seconds_since_start": time.perf_counter() - start}
        write_whole(result, json.dumps(scores.to_dict() | told).encode())
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def train_options(arguments: argparse.Namespace, folder: Path, divisor: int) -> TrainOptions:
    """Our recipe, without what a foreign net has no part for."""
    width, height = sides(arguments.size, divisor)
    schedule = {"epochs": arguments.epochs} | ({} if arguments.lr is None else {"lr": arguments.lr})
    last = folder / "last.ckpt"
    # What comes last is done to the net at the size of its export.
    loss, schedule = {"aux": 0.0, "logit_adjustment": 0.0}, schedule | {"clean_statistics": 0.0}
    changes = {"loss": loss, "distillation": {"features": 0.0}, "schedule": schedule}
    return TrainOptions(
        data=arguments.data,
        out=folder / "net.pt",
        run_dir=folder,
        arch=arguments.net,
        width=width,
        height=height,
        recipe=read_recipe(arguments.recipe, changes),
        precision=arguments.precision,
        init=arguments.init,
        teacher=arguments.teacher,
        resume=arguments.resume and last.is_file(),
    )


def sides(size: str, divisor: int) -> tuple[int, int]:
    """Width and height of a size such as 480x360, rounded down to what the library takes."""
    width, height = (int(side) // divisor * divisor for side in size.split("x"))
    return width, height


def finish(net: ForeignNet, spec: ModelSpec, arguments: argparse.Namespace) -> None:
    """Do to the net what the recipe does last, by the training pictures at the size of `spec`."""
    recipe = read_recipe(arguments.recipe)
    size = {"width": spec.width, "height": spec.height}
    options = TrainOptions(data=arguments.data, out=Path("none.pt"), run_dir=Path("none"), recipe=recipe, **size)
    samples, pictures = open_training_set(open_dataset(arguments.data), options)
    finish_net(net, pictures.images, weights_of_classes(samples, recipe.loss, net.classes), recipe)


def adopt(spec: ModelSpec, folder: Path) -> Path:
    """The export in `folder` under the contract, beside it."""
    table = folder / "classes.csv"
    with written_whole(table) as temporary, temporary.open("w", newline="") as file:
        csv.writer(file).writerows([kind.name, *kind.rgb] for kind in spec.classes)
    mean, std = (",".join(map(str, values)) for values in (MEAN, STD))
    told = ["--dataset", spec.dataset, "--licence", spec.licence, "--name", spec.name]
    adopted = folder / "net.edge.onnx"
    pre: list[str | Path] = ["--classes", table, "--mean", mean, "--std", std, "--rgb"]
    print(edge_seg("adopt", folder / "net.onnx", *pre, *told, "--out", adopted), file=sys.stderr)
    return adopted


def judge(adopted: Path, test: str) -> float:
    """mIoU of the adopted export."""
    found: dict[str, Any] = json.loads(edge_seg("eval", adopted, "--data", test, "--json"))
    write_whole(adopted.with_name("adopted.json"), json.dumps(found).encode())
    return float(found["miou"])


def edge_seg(*words: str | Path) -> str:
    """What a command prints."""
    command: list[str | Path] = [sys.executable, "-m", "edge_seg.apps", *words]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"edge-seg {words[0]} ended with {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    main()
