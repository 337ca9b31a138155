"""What each part of a recipe brings: the same short training without it.

python tests/bench/ablation.py --data camvid:PATH --out runs/ablation [--size 240x180] [--epochs 40] [--seeds 1,2]
    [--only "the whole recipe" "drive frames" ...]

Each variant is trained once per seed and evaluated on the data set's test split and on rendered frames; a finished one
is not run again, an interrupted one goes on. The table tells, it chooses nothing: the recipe stays as it is.
"""

import argparse
import dataclasses
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_seg.data import open_dataset
from edge_seg.evaluate import evaluate
from edge_seg.recipe import read_recipe
from edge_seg.segmenter import open_segmenter
from edge_seg.train import default_test, train, train_and_evaluate
from edge_seg.training.options import TrainOptions

DRIVE = "drive:seed=1,frames=200"
WITH_VAL = "val among the training pictures"
WITH_TEACHER = "edge-seg-s as a teacher"
WITH_START = "a start from drive frames, as many epochs of 400"
WITHOUT: dict[str, dict[str, dict[str, Any]]] = {
    "the whole recipe": {},
    "drive frames": {"samples": {"drive_share": 0.0}},
    "scale 0.5 to 2.5 (1 instead)": {"samples": {"scale_least": 1.0, "scale_most": 1.0, "stretch": 0.0}},
    "mirror": {"samples": {"mirror": 0.0}},
    "colour": {"samples": {"colour": 0.0}},
    "rare-class crops": {"samples": {"rare": 0.0}},
    "class weights": {"loss": {"class_weights": "none"}},
    "logit adjustment": {"loss": {"logit_adjustment": 0.0}},
    "border term": {"loss": {"border": 0.0}},
    "Jaccard term": {"loss": {"jaccard": 0.0}},
    "auxiliary heads": {"loss": {"aux": 0.0}},
    "average of the weights": {"schedule": {"ema": 0.0}},
    "clean statistics": {"schedule": {"clean_statistics": 0.0}},
}
INSTEAD: dict[str, dict[str, dict[str, Any]]] = {
    "OHEM for cross-entropy": {"loss": {"kind": "ohem", "class_weights": "none"}},
    "mirror image around": {"samples": {"outside": "mirror"}},
    "elastic, a quarter": {"samples": {"elastic": 0.25}},
    "cosine for poly": {"schedule": {"decay": "cosine"}},
    "ClassMix, half": {"samples": {"mix": 0.5}},
    "no class above 3 times the lightest": {"loss": {"most_weight": 3.0}},
    WITH_VAL: {},
    WITH_TEACHER: {},
    WITH_START: {},
}


def main() -> None:
    """Train what is missing, and print the table."""
    arguments = parse_arguments()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    variants = {name: changes for name, changes in {**WITHOUT, **INSTEAD}.items() if name in arguments.only}
    found = {name: [mious_of(name, changes, seed, arguments) for seed in seeds] for name, changes in variants.items()}
    print(f"| {arguments.arch}, {arguments.size}, {arguments.epochs} epochs, seeds {arguments.seeds} | test | drive |")
    print("|---|---|---|")
    whole = list(zip(*found[next(iter(WITHOUT))], strict=True))
    for name, values in found.items():
        kind = "" if name == next(iter(WITHOUT)) else "without " if name in WITHOUT else "with "
        cells = (cell(mious, base) for mious, base in zip(zip(*values, strict=True), whole, strict=True))
        print(f"| {kind}{name} | {' | '.join(cells)} |")


def cell(mious: Sequence[float], whole: Sequence[float]) -> str:
    """Mean of the seeds, their spread, and the mean difference from the whole recipe with the same seeds.

    >>> cell([0.41, 0.43], [0.40, 0.41])
    '0.4200 (0.4100 to 0.4300), +0.0150'
    """
    mean = statistics.mean(mious)
    spread = f" ({min(mious):.4f} to {max(mious):.4f})" if len(mious) > 1 else ""
    return f"{mean:.4f}{spread}, {mean - statistics.mean(whole):+.4f}"


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    names = [*WITHOUT, *INSTEAD]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--test", help="set to judge on; of itself camvid:PATH/test for camvid:PATH")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arch", default="edge-seg-n")
    parser.add_argument("--recipe", default="camvid")
    parser.add_argument("--size", default="240x180")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="VARIANT")
    arguments = parser.parse_args()
    arguments.test = arguments.test or default_test(arguments.data)
    if arguments.test is None:
        parser.error(f"--test is missing: {arguments.data} brings no test set along.")
    if names[0] not in arguments.only:
        parser.error(f"--only: {names[0]!r} is what the others are compared with.")
    return arguments


def mious_of(name: str, changes: dict[str, dict[str, Any]], seed: int, arguments: argparse.Namespace) -> list[float]:
    """mIoU of the variant on test and on drive frames, trained where it was not yet."""
    label = "".join(letter if letter.isalnum() else "-" for letter in name)
    folder: Path = arguments.out / f"{label}-{seed}"
    result = folder / "mious.json"
    if not result.is_file():
        options = train_options(name, changes, seed, folder, arguments)
        scores = train_and_evaluate(options, arguments.test)
        assert scores is not None
        with open_segmenter(options.out) as segment:
            drive = evaluate(segment, open_dataset(DRIVE))
        result.write_text(json.dumps([scores.miou, drive.miou]))
    mious: list[float] = json.loads(result.read_text())
    return mious


def train_options(
    name: str, changes: dict[str, dict[str, Any]], seed: int, folder: Path, arguments: argparse.Namespace
) -> TrainOptions:
    """The variant's training, which goes on where it was interrupted."""
    schedule = {**changes.get("schedule", {}), "epochs": arguments.epochs}
    width, height = (int(side) for side in arguments.size.split("x"))
    options = TrainOptions(
        data=train_and_val(arguments.data, arguments.out) if name == WITH_VAL else arguments.data,
        out=folder / "net.pt",
        run_dir=folder,
        arch=arguments.arch,
        width=width,
        height=height,
        recipe=read_recipe(arguments.recipe, {**changes, "schedule": schedule}),
        seed=seed,
        teacher=Path("edge-seg-s-fp32") if name == WITH_TEACHER else None,
    )
    if name == WITH_START:
        options = dataclasses.replace(options, init=drive_start(options, arguments.epochs))
    return dataclasses.replace(options, resume=options.last.is_file())


def drive_start(options: TrainOptions, epochs: int) -> Path:
    """A net of the same kind that has seen rendered frames alone, trained where it was not yet."""
    folder = options.run_dir / "start"
    recipe = read_recipe("quick", {"schedule": {"epochs": epochs}})
    start = dataclasses.replace(options, data="drive:frames=400", out=folder / "net.pt", run_dir=folder, recipe=recipe)
    start = dataclasses.replace(start, resume=start.last.is_file())
    if not start.out.is_file():
        train(start)
    return start.out


def train_and_val(data: str, folder: Path) -> str:
    """The union of a data set's train and val splits, written into the folder."""
    table = "".join(f"{c.name},{','.join(map(str, c.rgb))}\n" for c in open_dataset(data).classes)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classes.csv").write_text(table)
    scheme, _, path = data.removesuffix("/train").partition(":")
    sets = "".join(f'[[set]]\ndata = "{scheme}:{Path(path).resolve()}/{split}"\n' for split in ("train", "val"))
    union = folder / "train-and-val.toml"
    union.write_text(f'classes = "classes.csv"\n{sets}')
    return f"union:{union}"


if __name__ == "__main__":
    main()
