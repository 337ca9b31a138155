"""Nets of other libraries, trained from scratch by our own training, for what is told of adopted nets.

    python tests/bench/foreign_nets.py --net torchvision-lraspp --data camvid:CamVid --out runs/foreign --epochs 180

Trains the net, exports it in its own manner (`torch.onnx.export`: RGB, ImageNet's mean and standard deviation, float
NCHW in, logits out), gives the export the deploy contract with `edge-seg adopt`, and judges that with `edge-seg eval`.
No published weights are used. `--teacher edge-seg-s-fp32` saves epochs; the table says so. `--resume` goes on with an
interrupted training, where there is one; a finished one is not done again: choose another --out.

segmentation-models-pytorch and transformers are no dependencies of edge-seg. An environment on top of its own:

    python -m venv foreign
    python -c "import site; print(site.getsitepackages()[0])" > foreign/lib/python3.11/site-packages/edge_seg.pth
    foreign/bin/pip install --no-deps segmentation-models-pytorch transformers tokenizers regex
"""

import argparse
import csv
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from edge_seg.checkpoint import read_checkpoint
from edge_seg.errors import ModelError
from edge_seg.files import write_whole, written_whole
from edge_seg.models import SegmentationNet
from edge_seg.models.registry import MODELS
from edge_seg.recipe import read_recipe
from edge_seg.spec import INPUT_MIDDLE, INPUT_SCALE, ModelSpec
from edge_seg.train import default_test, train_and_evaluate
from edge_seg.training.options import TrainOptions

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, of red, green and blue in 0..1: what these libraries' nets are used with."""


class Library(NamedTuple):
    """How a library's nets give logits at their own stride, to train by, and what they give, to export."""

    logits: Callable[[Any, Tensor], Tensor]
    full: Callable[[Any, Tensor], Tensor]
    divisor: int = 1


def _torchvision_logits(net: Any, x: Tensor) -> Tensor:  # noqa: ANN401
    found = net.backbone(x)
    logits: Tensor = net.classifier(found.get("out", found))
    return logits


LIBRARIES = {
    "torchvision": Library(_torchvision_logits, lambda net, x: net(x)["out"]),
    # Without the up-sampling and the softmax, which come after the first module of the head.
    "smp": Library(lambda net, x: net.segmentation_head[0](net.decoder(net.encoder(x))), lambda net, x: net(x), 32),
    "transformers": Library(lambda net, x: net(x).logits, lambda net, x: net(x).logits),
}


def build_torchvision(name: str, classes: int) -> nn.Module:
    """A segmentation net of torchvision."""
    from torchvision.models import segmentation

    net: nn.Module = getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=classes)
    return net


def build_smp(name: str, encoder: str, classes: int) -> nn.Module:
    """A net of segmentation-models-pytorch."""
    import segmentation_models_pytorch as smp  # type: ignore[import-not-found,unused-ignore]

    net: nn.Module = getattr(smp, name)(encoder_name=encoder, encoder_weights=None, classes=classes)
    return net


def build_transformers(classes: int) -> nn.Module:
    """SegFormer of transformers, whose default configuration is that of B0 (Xie et al., 2021)."""
    import transformers  # type: ignore[import-not-found,unused-ignore]

    net: nn.Module = transformers.SegformerForSemanticSegmentation(transformers.SegformerConfig(num_labels=classes))
    return net


NETS: dict[str, Callable[[int], nn.Module]] = {
    "torchvision-lraspp": lambda classes: build_torchvision("lraspp_mobilenet_v3_large", classes),
    "torchvision-deeplabv3": lambda classes: build_torchvision("deeplabv3_mobilenet_v3_large", classes),
    "smp-unet": lambda classes: build_smp("Unet", "resnet18", classes),
    "smp-fpn": lambda classes: build_smp("FPN", "resnet18", classes),
    "smp-deeplabv3plus": lambda classes: build_smp("DeepLabV3Plus", "mobilenet_v2", classes),
    "smp-segformer": lambda classes: build_smp("Segformer", "mit_b0", classes),
    "transformers-segformer": build_transformers,
}


class LogitsAsFeatures(nn.Identity):
    """The head of a net whose features are its logits."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.in_channels = self.out_channels = classes


class ForeignNet(SegmentationNet):
    """A foreign net in the place of one of ours: it takes our normalised BGR pictures, and its features are its logits.

    It has no auxiliary heads, so the recipe's `aux` has to be 0; a teacher teaches it by logits alone.
    """

    def __init__(self, net: nn.Module, classes: int, library: Library) -> None:
        super().__init__()
        self.classes, self.net, self.library = classes, net, library
        self.head = LogitsAsFeatures(classes)  # type: ignore[assignment]
        self.aux_heads = nn.ModuleList()

    def features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The logits three times, at the foreign net's own stride."""
        mean, std = (torch.tensor(values, device=x.device)[:, None, None] for values in (MEAN, STD))
        rgb = (x.flip(1) * INPUT_SCALE + INPUT_MIDDLE) / 255
        logits = self.library.logits(self.net, (rgb - mean) / std)
        return logits, logits, logits

    def heads(self, features: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """The same: the recipe's `aux` of 0 leaves two of them out."""
        at4, at8, at16 = features
        return at4, at8, at16

    def pyramid(self, x: Tensor) -> Iterator[Tensor]:
        """Nothing that is known."""
        raise ModelError("A foreign net does not tell its encoder's features.")

    def encoder_parts(self) -> list[nn.Module]:
        """None that are known, so that nothing can be frozen."""
        return []


class Exported(nn.Module):
    """The foreign net as its library's users have it: float RGB pictures in, logits alone out."""

    def __init__(self, foreign: ForeignNet) -> None:
        super().__init__()
        self.net, self.full = foreign.net, foreign.library.full

    def forward(self, x: Tensor) -> Tensor:
        return self.full(self.net, x)


def main() -> None:
    """Train, export, adopt and judge what is not finished; print a row of Markdown."""
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    library = LIBRARIES[options.net.partition("-")[0]]
    MODELS[options.net] = lambda classes: ForeignNet(NETS[options.net](classes), classes, library)  # type: ignore[assignment,return-value]
    folder: Path = options.out / options.net
    found = train_net(options, folder, library.divisor)
    _, spec, net = read_checkpoint(folder / "net.pt")
    assert isinstance(net, ForeignNet)
    export(net, spec, folder / "net.onnx", exporter=options.exporter)
    adopted = judge(adopt(spec, folder), judged_on(options))
    millions = sum(parameter.numel() for parameter in net.parameters()) / 1e6
    size = f"{spec.width}x{spec.height}"
    print("| net | size | epochs | teacher | million weights | mIoU, PyTorch | mIoU, adopted FP32 |")
    print("|---|---|---|---|---|---|---|")
    scores = [f"{millions:.1f}", f"{found['miou']:.4f}", f"{adopted:.4f}"]
    cells = [options.net, size, found["epochs"], found["teacher"], *scores]
    print(f"| {' | '.join(map(str, cells))} |")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", required=True, choices=NETS)
    parser.add_argument("--data", required=True)
    parser.add_argument("--test", help="the set to judge on; camvid's own by default")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", default="camvid")
    parser.add_argument("--epochs", type=int, default=180)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--size", default="480x360", help="rounded down to what the net's library takes")
    parser.add_argument("--precision", default="auto", choices=("auto", "bf16", "fp32"))
    parser.add_argument("--teacher", type=Path, help="such as edge-seg-s-fp32; of its logits alone")
    parser.add_argument("--exporter", default="torchscript", choices=("torchscript", "dynamo"), help="of torch.onnx")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    return parser.parse_args()


def train_net(arguments: argparse.Namespace, folder: Path, divisor: int) -> dict[str, Any]:
    """The trained net's scores in PyTorch, and what it was trained by; trains it where there are none yet."""
    result = folder / "scores.json"
    if not result.is_file():
        start = time.perf_counter()
        scores = train_and_evaluate(train_options(arguments, folder, divisor), judged_on(arguments))
        assert scores is not None
        told = {"epochs": arguments.epochs, "teacher": str(arguments.teacher or "none")}
        told |= {"seconds_since_start": time.perf_counter() - start}
        write_whole(result, json.dumps(scores.to_dict() | told).encode())
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def judged_on(arguments: argparse.Namespace) -> str:
    """The set to judge on."""
    return arguments.test or default_test(arguments.data) or arguments.data


def train_options(arguments: argparse.Namespace, folder: Path, divisor: int) -> TrainOptions:
    """Our recipe, without what a foreign net has no part for."""
    width, height = (int(side) // divisor * divisor for side in arguments.size.split("x"))
    schedule = {"epochs": arguments.epochs} | ({} if arguments.lr is None else {"lr": arguments.lr})
    last = folder / "last.ckpt"
    changes = {"loss": {"aux": 0.0, "logit_adjustment": 0.0}, "distillation": {"features": 0.0}, "schedule": schedule}
    return TrainOptions(
        data=arguments.data,
        out=folder / "net.pt",
        run_dir=folder,
        arch=arguments.net,
        width=width,
        height=height,
        recipe=read_recipe(arguments.recipe, changes),
        precision=arguments.precision,
        teacher=arguments.teacher,
        resume=arguments.resume and last.is_file(),
    )


def export(net: ForeignNet, spec: ModelSpec, out: Path, *, exporter: str) -> None:
    """Write the library's own net as ONNX, with a free batch, by either of PyTorch's exporters."""
    pictures = torch.zeros(2, 3, spec.height, spec.width)
    named: dict[str, Any] = {"input_names": ["input"], "output_names": ["logits"]}
    if exporter == "torchscript":
        axes = {"input": {0: "batch"}, "logits": {0: "batch"}}
        named |= {"dynamo": False, "opset_version": 17, "dynamic_axes": axes}
    else:
        named |= {"dynamic_shapes": ({0: torch.export.Dim("batch")},), "external_data": False}
    with written_whole(out) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shapes that are constants, and of the exporter's own future
        torch.onnx.export(Exported(net).eval(), (pictures,), temporary, **named)


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
