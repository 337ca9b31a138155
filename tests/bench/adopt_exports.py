"""Exports of other libraries' nets, adopted: whether each pixel is labelled as by the original.

    python tests/bench/adopt_exports.py [--out runs/exports] [--nets smp-fpn transformers-segformer]

Every net of `foreign_libraries.py` with weights of chance, by both of PyTorch's exporters, with a free batch and with a
batch of one, at 96x64. `foreign_nets.py` says which environment it needs.
"""

import argparse
import sys
import warnings
from pathlib import Path

import torch
from foreign_libraries import EXPORTERS, MEAN, NETS, STD, build_foreign, export

from edge_seg.data.class_table import ClassTable
from edge_seg.export.adopt import AdoptOptions, adopt
from edge_seg.export.adopt_input import Normalisation
from edge_seg.spec import CAMVID_CLASSES

SIZE = (96, 64)
OPTIONS = AdoptOptions(ClassTable(Path("camvid"), CAMVID_CLASSES), Normalisation(MEAN, STD))


def main() -> None:
    """A row for each file; exit code 1 where one is not adopted or is labelled otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/exports"))
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS), metavar="NET")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    print("| net | exporter | batch | opset | classes seen | equal pixels |\n|---|---|---|---|---|---|")
    files = [(name, exporter, batch) for name in options.nets for exporter in EXPORTERS for batch in (None, 1)]
    equal = [row(*file, options.out) for file in files]
    print(f"\n{sum(equal)} of {len(equal)} files are adopted and label every pixel as the original.")
    sys.exit(not all(equal))


def row(name: str, exporter: str, batch: int | None, folder: Path) -> bool:
    """Export, adopt, and tell; whether all pixels are equal."""
    torch.manual_seed(0)
    path = folder / f"{name}.{exporter}.{batch or 'free'}.onnx"
    told = f"| {name} | {exporter} | {batch or 'free'} |"
    try:
        export(build_foreign(name, len(CAMVID_CLASSES)), SIZE, path, exporter=exporter, batch=batch)
        found = adopt(path, path.with_suffix(".edge.onnx"), OPTIONS)
    except Exception as error:  # whatever an exporter makes of a net
        print(f"{told} {type(error).__name__}: {(str(error).splitlines() or [''])[0]} | | |", flush=True)
        return False
    print(f"{told} {found.opset} | {found.classes_seen} | {found.agreement:.4%} |", flush=True)
    return found.agreement == 1


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
