"""What INT8 loses and gains: accuracy by class on every run-time, speed in pairs, and the share of the tail.

    python tests/bench/int8.py edge-seg-s-fp32=edge-seg-s edge-seg-n-fp32=edge-seg-n --data camvid:PATH/test

Each pair is an FP32 file and its INT8 file. FP32's scores are those on OpenVINO in FP32. Speed is a ratio of two
processes that take turns (edge_seg.calib.speed); the tail's share is that of the run-time's own profile
(edge_seg.apps.profile.layers).
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from edge_seg.apps.profile.layers import profile_layers, tail_share
from edge_seg.calib.gates import compare_scores
from edge_seg.calib.speed import ROUNDS, compare_speed
from edge_seg.data import open_dataset
from edge_seg.evaluate import Scores, evaluate
from edge_seg.segmenter import open_segmenter
from edge_seg.weights import find_model

RUNTIMES = ("onnxruntime", "openvino")


def main() -> None:
    """Print the tables."""
    arguments = parse_arguments()
    pairs = [tuple(map(find_model, pair.split("="))) for pair in arguments.pairs]
    if arguments.data:
        print(
            "| net | run-time | mIoU FP32 | mIoU INT8 | lost | worst class | class average lost |\n"
            "|---|---|---|---|---|---|---|"
        )
        for exact, short in pairs:
            for row in accuracy_rows(exact, short, arguments.data):
                print(f"| {row} |", flush=True)
        print()
    print("| net | first | second | first, ms | second, ms | times as fast (rounds) |\n" + "|---" * 6 + "|")
    for exact, short in pairs:
        for row in speed_rows(exact, short, arguments.rounds):
            print(f"| {row} |", flush=True)
    print("\n| net | run-time | share of the tail |\n" + "|---" * 3 + "|")
    for _, short in pairs:
        for runtime in RUNTIMES:
            share = tail_share(profile_layers(short, runtime, threads=0, label=short.name, roof=False))
            print(f"| {short.name} | {runtime} | {share:.1%} |", flush=True)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", help="FP32=INT8, bundled names or paths")
    parser.add_argument("--data", help="labelled set; without it, speed alone")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    return parser.parse_args()


def accuracy_rows(exact: Path, short: Path, data: str) -> Iterator[str]:
    """Rows of what INT8 lost on each run-time."""
    before = scores_of(exact, "openvino", data)
    for runtime in RUNTIMES:
        after = scores_of(short, runtime, data)
        drop, drops = compare_scores(before, after)
        worst = max(drops, key=lambda name: drops[name])
        average = (before.class_accuracy or 0) - (after.class_accuracy or 0)
        yield (
            f"{short.name} | {runtime} | {before.miou:.4f} | {after.miou:.4f} | {drop:+.4f} | "
            f"{worst} {drops[worst]:+.4f} | {average:+.4f}"
        )


def scores_of(path: Path, runtime: str, data: str) -> Scores:
    """The scores of an artefact."""
    with open_segmenter(path, runtime) as segment:
        return evaluate(segment, open_dataset(data))


def speed_rows(exact: Path, short: Path, rounds: int) -> Iterator[str]:
    """Rows of paired speeds."""
    for (first, on_first), (second, on_second) in (
        ((exact, "onnxruntime"), (short, "onnxruntime")),
        ((exact, "openvino"), (short, "openvino")),
        ((exact, "onnxruntime"), (short, "openvino")),
        ((exact, "openvino-bf16"), (short, "openvino")),
    ):
        found = compare_speed((first, on_first), (second, on_second), rounds=rounds)
        yield (
            f"{short.name} | FP32 on {on_first} | INT8 on {on_second} | {found.first_ms:.2f} | {found.second_ms:.2f} | "
            f"{found.speedup:.2f} ({found.least:.2f} to {found.most:.2f})"
        )


if __name__ == "__main__":
    main()
