"""What each part of a recipe brings: the same short training without it.

python tests/bench/ablation.py --data camvid:PATH --out runs/ablation [--size 240x180] [--epochs 40] [--seeds 1,2]

Each variant is trained and evaluated once per seed; a finished one is not run again, an interrupted one goes on. The
table tells, it chooses nothing: the recipe stays as it is.
"""

import argparse
import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

from edge_seg.recipe import read_recipe
from edge_seg.train import default_test, train_and_evaluate
from edge_seg.training.options import TrainOptions

WITHOUT: dict[str, dict[str, dict[str, Any]]] = {
    "the whole recipe": {},
    "drive frames": {"samples": {"drive_share": 0.0}},
    "scale 0.5 to 2.5 (1 instead)": {"samples": {"scale_least": 1.0, "scale_most": 1.0, "stretch": 0.0}},
    "mirror": {"samples": {"mirror": 0.0}},
    "colour": {"samples": {"colour": 0.0}},
    "rare-class crops": {"samples": {"rare": 0.0}},
    "class weights": {"loss": {"class_weights": "none"}},
    "border term": {"loss": {"border": 0.0}},
    "Jaccard term": {"loss": {"jaccard": 0.0}},
    "auxiliary heads": {"loss": {"aux": 0.0}},
    "average of the weights": {"schedule": {"ema": 0.0}},
}
INSTEAD: dict[str, dict[str, dict[str, Any]]] = {
    "OHEM for cross-entropy": {"loss": {"kind": "ohem", "class_weights": "none"}},
    "mirror image around": {"samples": {"outside": "mirror"}},
    "elastic, a quarter": {"samples": {"elastic": 0.25}},
    "cosine for poly": {"schedule": {"decay": "cosine"}},
    "ClassMix, half": {"samples": {"mix": 0.5}},
    "no class above 3 times the lightest": {"loss": {"most_weight": 3.0}},
}


def main() -> None:
    """Train what is missing, and print the table."""
    arguments = parse_arguments()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    found = {
        name: [miou_of(name, changes, seed, arguments) for seed in seeds]
        for name, changes in {**WITHOUT, **INSTEAD}.items()
    }
    whole = statistics.mean(found["the whole recipe"])
    trained = f"{arguments.arch}, {arguments.size}, {arguments.epochs} epochs, seeds {arguments.seeds}"
    print(f"| {trained} | mIoU | against it |")
    print("|---|---|---|")
    for name, values in found.items():
        kind = "" if name == "the whole recipe" else "without " if name in WITHOUT else "with "
        mean = statistics.mean(values)
        spread = f" ({min(values):.4f} to {max(values):.4f})" if len(values) > 1 else ""
        print(f"| {kind}{name} | {mean:.4f}{spread} | {mean - whole:+.4f} |")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arch", default="edge-seg-n")
    parser.add_argument("--recipe", default="camvid")
    parser.add_argument("--size", default="240x180")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seeds", default="1")
    return parser.parse_args()


def miou_of(name: str, changes: dict[str, dict[str, Any]], seed: int, arguments: argparse.Namespace) -> float:
    """mIoU on test of the variant, trained where it was not yet."""
    label = "".join(letter if letter.isalnum() else "-" for letter in name)
    folder: Path = arguments.out / f"{label}-{seed}"
    result = folder / "scores.json"
    if not result.is_file():
        schedule = {**changes.get("schedule", {}), "epochs": arguments.epochs}
        width, height = (int(side) for side in arguments.size.split("x"))
        options = TrainOptions(
            data=arguments.data,
            out=folder / "net.pt",
            run_dir=folder,
            arch=arguments.arch,
            width=width,
            height=height,
            recipe=read_recipe(arguments.recipe, {**changes, "schedule": schedule}),
            seed=seed,
        )
        options = dataclasses.replace(options, resume=options.last.is_file())
        scores = train_and_evaluate(options, default_test(arguments.data) or arguments.data)
        assert scores is not None
        result.write_text(json.dumps(scores.to_dict()))
    miou: float = json.loads(result.read_text())["miou"]
    return miou


if __name__ == "__main__":
    main()
