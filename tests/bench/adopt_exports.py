"""Exports of other libraries' nets, adopted: how many pixels are labelled as by the original.

    python tests/bench/adopt_exports.py [--out runs/exports] [--nets smp-fpn transformers-segformer]

Every net of `foreign_libraries.py` with weights of chance, by both of PyTorch's exporters, with a free batch and with a
batch of one, at 96x64. BatchNorm's statistics are those of drive frames: with those of a new net most would see one
class everywhere. `foreign_nets.py` says which environment it needs.
"""

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from foreign_libraries import EXPORTERS, MEAN, NETS, STD, ForeignNet, build_foreign, export
from torch import nn

from edge_seg.data.class_table import ClassTable
from edge_seg.data.drive import Drive
from edge_seg.export.adopt import AdoptOptions, adopt
from edge_seg.export.adopt_input import Normalisation
from edge_seg.models.deploy import normalise
from edge_seg.spec import CAMVID_CLASSES

SIZE = (96, 64)
LEAST_EQUAL = 0.999
"""Mean and standard deviation go into weights, whose rounding may turn a pixel between two classes."""
OPTIONS = AdoptOptions(ClassTable(Path("camvid"), CAMVID_CLASSES), Normalisation(MEAN, STD))


def main() -> None:
    """A row for each file; exit code 1 where one is not adopted, or more than rounding makes other labels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/exports"))
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS), metavar="NET")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    print("| net | exporter | batch | opset | classes seen | equal pixels |\n|---|---|---|---|---|---|")
    files = [(name, exporter, batch) for name in options.nets for exporter in EXPORTERS for batch in (None, 1)]
    shares = [row(*file, options.out) for file in files]
    print(
        f"\n{sum(share > 0 for share in shares)} of {len(shares)} files are adopted, {shares.count(1)} label every "
        f"pixel as the original; the least share of equal pixels is {min(shares):.4%}."
    )
    sys.exit(min(shares) < LEAST_EQUAL)


def settled(net: ForeignNet) -> ForeignNet:
    """The net with the statistics of eight drive frames in its BatchNorm layers."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all that it sees
    frames = np.stack([frame.image for frame in Drive(3, *SIZE, 8)])
    with torch.no_grad():
        net.train().features(normalise(torch.from_numpy(frames).permute(0, 3, 1, 2)))
    return net.eval()


def row(name: str, exporter: str, batch: int | None, folder: Path) -> float:
    """Export, adopt, and tell; the share of equal pixels, 0 where it cannot be adopted."""
    torch.manual_seed(0)
    path = folder / f"{name}.{exporter}.{batch or 'free'}.onnx"
    told = f"| {name} | {exporter} | {batch or 'free'} |"
    try:
        export(settled(build_foreign(name, len(CAMVID_CLASSES))), SIZE, path, exporter=exporter, batch=batch)
        found = adopt(path, path.with_suffix(".edge.onnx"), OPTIONS)
    except Exception as error:  # whatever an exporter makes of a net
        print(f"{told} {type(error).__name__}: {(str(error).splitlines() or [''])[0]} | | |", flush=True)
        return 0.0
    print(f"{told} {found.opset} | {found.classes_seen} | {found.agreement:.4%} |", flush=True)
    return found.agreement


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
