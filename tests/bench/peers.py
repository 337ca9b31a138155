"""Our INT8 files against those of other quantizers: same FP32 nets, same run-time, paired; pictures as below.

    python tests/bench/peers.py --data camvid:CamVid/train --test camvid:CamVid/test --envs ENVS --out runs/peers

A net is a bundled one (`edge-seg-n-fp32`, compared with `edge-seg-n` as it is shipped), a pair `FP32.onnx=INT8.onnx`,
or an FP32 file alone, which is quantized here for this machine's target by min-max ranges. All peers calibrate on the
same pictures: those of --manifest, else 120 of --data spread evenly. So does ours of an FP32 file alone. Any other
file of ours was calibrated on what the gates of `edge-seg quantize` set apart for it (120 pictures of CamVid's train
set, of other sequences than those that judged the ladder's rungs). With `--data camvid:PATH/train` and no manifest
the peers get these pictures too, where the ranges beside the file name them; else ours had its own. The table's head
and results.json say which it was.

The peers are `quantize_static` of ONNX Runtime, NNCF and nvidia-modelopt, each by its defaults and by what its
documentation recommends (`peer_quantizers.py`), in an environment of its own under --envs, made with venv and pip where
it is missing: together about 8 GB, of which modelopt takes 6.5.

Each peer is given the whole contract graph, bytes in and labels out, as its user would have it. Where it fails on that
or quantizes nothing, and with `--part core` in any case, it is given the float core (`peer_core.py`): from the
normalised picture to the logits before their last up-sampling, which is put back between the ends as they are. Ours
always is the whole file, with its integer ends: they are part of what is compared. NNCF on OpenVINO's graph writes an
IR file, which only OpenVINO reads; it always gets the whole graph.

On x86 CPUs without VNNI files of 8-bit weights are computed exactly on ONNX Runtime, and ONNX files of them are not
run on OpenVINO, which would add their products wrongly; a net whose file of ours is one has no rows there. Peers are
asked for 7 bits too. IR files are run as they are.

Accuracy is that of finished files, and nothing is chosen on it, so the judging set may be a test set. Intervals are
those of a paired bootstrap over its pictures. Latency is that of the whole file with the run-time's own choice of
threads: run it under `taskset -c 0` for one core, and with nothing else on the machine.

Whatever is written is not made again: a quantized file while net and pictures are the same, an evaluation or a
comparison of speed while the files are. To time anew, delete *.speedup.json and *.ours_faster.json.
"""

import argparse
import functools
import json
import os
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peer_files import Net, prepare, quantized_by, sha256
from peer_quantizers import RECIPES
from peer_scores import Artefact, confusion_by_picture, kept, speed_between

from edge_seg.bootstrap import class_iou, hits_and_unions, miou_interval
from edge_seg.data import open_dataset
from edge_seg.files import write_whole
from edge_seg.runners.cpu import lacks_vnni
from edge_seg.types import Dataset

OURS = "edge-seg quantize"


def main() -> None:
    """Quantize, judge and time what is missing; print the table and write results.json."""
    options = parse_arguments()
    dataset = open_dataset(options.test)
    places = [int(i) for i in np.linspace(0, len(dataset) - 1, min(options.images, len(dataset))).round()]
    results: list[dict[str, Any]] = []
    peers: dict[str, Any] = {}
    pictures: dict[str, str] = {}
    for entry in options.nets:
        net, ours = prepare(entry, options)
        files, pictures[net.name] = {"FP32": net.fp32, OURS: ours}, net.told
        for recipe in options.recipes:
            if (made := quantized_by(recipe, net, options)) is not None:
                title = RECIPES[recipe].title + (" (core)" if ".core." in made.path.name else "")
                files[title], peers[f"{net.name}: {title}"] = made.path, made.told
        for runtime in options.runtimes:
            results += compare(net, files, runtime, dataset=dataset, places=places, options=options)
    report = {"machine": machine(), "data": options.test, "images": len(places), "calibration": pictures}
    report |= {"peers": peers, "rows": results}
    write_whole(options.out / "results.json", json.dumps(report, indent=1).encode())
    used = sorted({f"{name} {version}" for told in peers.values() for name, version in told["packages"].items()})
    print(f"{dataset.name}, {len(places)} images; {report['machine']}. The peers' packages: {', '.join(used)}.")
    print("".join(f"Calibrated, {name}: {told}.\n" for name, told in pictures.items()))
    print(f"{to_markdown(results)}\n\n{verdict(results)}")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", default=["edge-seg-n-fp32", "edge-seg-s-fp32"], metavar="FP32[=INT8]")
    parser.add_argument(
        "--data", required=True, help="set to calibrate with: the bundled file's 120 images, or any 120"
    )
    parser.add_argument("--manifest", type=Path, help="pictures of `edge-seg calib images` instead, for every net")
    parser.add_argument("--test", required=True, help="labelled set to judge on")
    parser.add_argument("--images", type=int, default=10**6, help="of the judging set, spread evenly; all by default")
    parser.add_argument("--envs", type=Path, required=True, help="folder of the peers' environments")
    parser.add_argument("--out", type=Path, required=True, help="folder for quantized files, scores and results.json")
    usual = [name for name, recipe in RECIPES.items() if lacks_vnni() or not recipe.without_vnni]
    parser.add_argument("--recipes", type=_names(RECIPES), default=usual, help=f"of {', '.join(RECIPES)}")
    parser.add_argument("--runtimes", type=_names(("onnxruntime", "openvino")), default=["onnxruntime", "openvino"])
    parser.add_argument("--part", choices=("whole", "core"), default="whole", help="of the graph, for the peers")
    parser.add_argument("--threads", type=int, default=1, help="of the evaluations, not of what is timed")
    parser.add_argument("--accuracy-only", action="store_true", help="time nothing: for a busy machine")
    options = parser.parse_args()
    if options.data == options.test:
        parser.error("--test is --data: files are not judged on what they were calibrated with")
    return options


def _names(known: Any) -> Any:  # noqa: ANN401
    def parse(text: str) -> list[str]:
        unknown = [name for name in text.split(",") if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: expected some of {', '.join(known)}")
        return text.split(",")

    return parse


def compare(
    net: Net,
    files: dict[str, Path],
    runtime: str,
    *,
    dataset: Dataset,
    places: list[int],
    options: argparse.Namespace,
) -> Iterator[dict[str, Any]]:
    """A row for the FP32 file, for ours, and for each peer's that the run-time reads and runs."""
    readable = {title: path for title, path in files.items() if path.suffix == ".onnx" or runtime == "openvino"}
    artefacts: dict[str, Artefact] = {title: (path, runtime) for title, path in readable.items()}
    counts: dict[str, NDArray[np.int64]] = {}
    for title, artefact in artefacts.items():
        key = {"file": sha256(artefact[0]), "data": options.test, "places": places}
        judge = functools.partial(confusion_by_picture, artefact, dataset, places, threads=options.threads)
        try:
            matrices = kept(net.folder / f"{slug(title)}.{runtime}.scores.json", key, judge)
        except Exception as error:  # whatever a run-time makes of a file that it cannot run
            if title == "FP32":
                raise
            print(f"{net.name}: {title} does not run on {runtime}: {error}", file=sys.stderr)
            if title == OURS:
                return
            continue
        counts[title] = hits_and_unions(np.array(matrices, np.int64))
    for title in counts:
        row = {"net": net.name, "runtime": runtime, "file": title}
        yield row | accuracy(counts, title, dataset) | ({} if options.accuracy_only else speed(net, artefacts, title))


def accuracy(counts: dict[str, NDArray[np.int64]], title: str, dataset: Dataset) -> dict[str, Any]:
    """mIoU, what it lost against FP32, the class that lost most, and how far ours is above it; with intervals."""
    iou = {name: class_iou(of_net.sum(0)) for name, of_net in counts.items()}
    lost = iou["FP32"] - iou[title]
    worst = int(np.nanargmax(lost))
    found: dict[str, Any] = {"miou": float(np.nanmean(iou[title]))}
    found["class_iou"] = dict(zip(dataset.class_names, iou[title].tolist(), strict=True))
    if title != "FP32":
        found["drop"] = float(np.nanmean(iou["FP32"])) - found["miou"]
        found["drop_interval"] = miou_interval(counts[title], counts["FP32"])
        found["worst_class"], found["worst_class_drop"] = dataset.class_names[worst], float(lost[worst])
    if title not in ("FP32", OURS):
        found["ours_above"] = float(np.nanmean(iou[OURS])) - found["miou"]
        found["ours_above_interval"] = miou_interval(counts[title], counts[OURS])
    return found


def speed(net: Net, artefacts: dict[str, Artefact], title: str) -> dict[str, Any]:
    """How many times as fast as FP32 it is, and ours as it, each in turns."""
    artefact, found = artefacts[title], {}
    for name, first, second in (("speedup", artefacts["FP32"], artefact), ("ours_faster", artefact, artefacts[OURS])):
        if first == second or title == "FP32":
            continue
        key = {"first": sha256(first[0]), "second": sha256(second[0])}
        path = net.folder / f"{slug(title)}.{artefact[1]}.{name}.json"
        found[name] = kept(path, key, functools.partial(speed_between, first, second))
    return found


def slug(title: str) -> str:
    """A title as a part of a file name.

    >>> slug("NNCF ONNX, MIXED")
    'nncf-onnx-mixed'
    """
    return re.sub(r"\W+", "-", title.lower()).strip("-")


def machine() -> str:
    """What it ran on."""
    from importlib.metadata import version

    cpuinfo = Path("/proc/cpuinfo")
    cpu = re.search(r"model name\s*: (.*)", cpuinfo.read_text() if cpuinfo.is_file() else "")
    names = ", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "openvino", "numpy"))
    cores = len(os.sched_getaffinity(0))
    return f"{cpu[1] if cpu else platform.machine()}, {cores} cores, load {os.getloadavg()[0]:.1f}; {names}"


def to_markdown(rows: list[dict[str, Any]]) -> str:
    """A line for each row."""
    lines = [
        "| net | run-time | file | mIoU | drop (95 %) | worst class | ours above (95 %) | ms | speed-up | ours to it |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [row["net"], row["runtime"], row["file"], f"{row['miou']:.4f}"]
        cells += [_difference(row, "drop"), "", _difference(row, "ours_above"), ""]
        cells += [_times(row, "speedup"), _times(row, "ours_faster")]
        if "worst_class" in row:
            cells[5] = f"{row['worst_class']} {row['worst_class_drop']:+.4f}"
        if "speedup" in row:
            cells[7] = f"{row['speedup']['second_ms']:.1f}"
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _difference(row: dict[str, Any], name: str) -> str:
    if name not in row:
        return ""
    low, high = row[f"{name}_interval"]
    return f"{row[name]:+.4f} ({low:+.4f} to {high:+.4f})"


def _times(row: dict[str, Any], name: str) -> str:
    return f"{row[name]['speedup']:.2f} ({row[name]['least']:.2f} to {row[name]['most']:.2f})" if name in row else ""


def verdict(rows: list[dict[str, Any]]) -> str:
    """In how many of the comparisons ours is better and worse: in mIoU beyond the interval, in every round of speed."""
    intervals = [row["ours_above_interval"] for row in rows if "ours_above_interval" in row]
    better, worse = sum(low > 0 for low, _ in intervals), sum(high < 0 for _, high in intervals)
    told = f"mIoU of ours against {len(intervals)} files: above the interval {better} times, below it {worse} times."
    speeds = [row["ours_faster"] for row in rows if "ours_faster" in row]
    faster, slower = sum(s["least"] > 1 for s in speeds), sum(s["most"] < 1 for s in speeds)
    return (
        f"{told} Latency: of {len(speeds)} faster in every round {faster} times, slower in every round {slower} times."
    )


if __name__ == "__main__":
    main()
