"""`edge-seg quantize` behind gates: the pictures for both of its ends, the ladder as a table, and what is written."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edge_seg.apps.calibration_data import check_calibration_data, tell_zeros
from edge_seg.files import same_file, write_together

if TYPE_CHECKING:
    import onnx
    from rich.console import Group

    from edge_seg.calib.gates import Gates, Step
    from edge_seg.calib.ladder import Ladder
    from edge_seg.data.subset import Subset
    from edge_seg.spec import ModelSpec
    from edge_seg.types import Dataset, UInt8Array

GATE_IMAGES = 200
"""Most pictures that accuracy is judged by."""

FEW_JUDGED = 50
"""Pictures, below which the gates come with a warning."""

BF16 = "openvino-bf16"
"""The run-time that computes the FP32 file in shorter floats, beside OpenVINO's targets."""

ORDER_IMAGES = 6
"""Pictures by which layers are put in order, without a file of --sensitivity."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a ladder is asked for besides its gates.

    `images` of the data set to calibrate on, or the pictures of a `manifest`; `sensitivity` is the file that gives the
    order of the layers; with `copy_fp32` the FP32 file is copied where it is the result itself.
    """

    target: str
    images: int
    sensitivity: Path | None
    manifest: Path | None
    copy_fp32: bool


def quantize_behind_gates(source: Path, out: Path, data: str, gates: "Gates", *, wish: Wish, as_json: bool) -> None:
    """Climb the ladder, print it, and write the file that it ends with; exit code 1 where none passes."""
    from edge_seg.apps.output import print_report

    ladder = _measure(source, data, gates, wish)
    kept = ladder.chosen is None or (ladder.chosen.rung is None and not wish.copy_fp32)
    written = [] if kept else _write_chosen(ladder, out)
    report = {
        "model": str(source),
        "gates": {"max_drop": gates.max_drop, "max_class_drop": gates.max_class_drop, "min_speedup": gates.min_speedup},
        "rungs": [step.to_dict() for step in ladder.steps],
        "skipped": list(ladder.skipped),
        "chosen": None if ladder.chosen is None else ladder.chosen.name,
        "written": [str(path) for path in written],
    }
    print_report(report, ladder_table(ladder, written, source), as_json=as_json)
    if ladder.chosen is None:
        raise typer.Exit(1)


def _measure(source: Path, data: str, gates: "Gates", wish: Wish) -> "Ladder":
    from edge_seg.apps.progress import progress
    from edge_seg.calib.builder import Builder
    from edge_seg.calib.ladder import climb
    from edge_seg.calib.order import order_by_agreement
    from edge_seg.calib.quantize import open_fp32
    from edge_seg.calib.rung import Rung
    from edge_seg.calib.sensitivity_run import runtime_of
    from edge_seg.calib.speed import ROUNDS
    from edge_seg.export.target import is_timed_here, targets_of

    model = open_fp32(source)
    known = None if wish.sensitivity is None else _known_order(wish.sensitivity, model, wish.target)
    calibration, pictures, gate = _pictures(model, data, wish)
    targets, runtime = targets_of(wish.target)
    with progress("calibrate", None) as step:
        builder = Builder(model, pictures, calibration, on_image=step)
        first = [picture[0] for picture in pictures[:ORDER_IMAGES]]
        tell_zeros(builder.ranges(Rung(targets[0].name)))
        return climb(
            source,
            builder,
            gate,
            gates,
            targets=[found.name for found in targets],
            runtime=runtime_of(wish.target),
            shorter=BF16 if runtime == "openvino" else None,
            rounds=ROUNDS if is_timed_here(wish.target) else None,
            order=lambda rung: known or order_by_agreement(builder, rung, first),
            tell=lambda found: print(_line(found), file=sys.stderr),
        )


def _known_order(path: Path, model: "onnx.ModelProto", target: str) -> "list[tuple[str, ...]]":
    """The nodes of each layer, worst first, from a file of --sensitivity; a warning where it is of another target."""
    from edge_seg.calib.sensitivity import layers_in, target_in
    from edge_seg.export.target import targets_of

    found, measured = list(layers_in(path, model).values()), target_in(path)
    if measured is not None and measured not in [dialect.name for dialect in targets_of(target)[0]]:
        print(
            f"Warning: {path} was measured for {measured}, not for {target}, where other layers may cost most. "
            f"Measure there: edge-seg calib sensitivity MODEL --data ... --target {target}",
            file=sys.stderr,
        )
    return found


def _pictures(model: "onnx.ModelProto", data: str, wish: Wish) -> "tuple[str, list[UInt8Array], Subset]":
    """The name of what is calibrated on, its pictures, and the labelled pictures to judge by."""
    from edge_seg.data import open_dataset
    from edge_seg.evaluate import check_classes
    from edge_seg.runners.contract import check_contract

    dataset, spec = open_dataset(data), check_contract(model, "the model")
    check_classes(spec.class_names, dataset.class_names, dataset.name)
    found = _parted(dataset, spec, wish.images) if wish.manifest is None else _picked(dataset, spec, wish.manifest)
    if len(found[2]) < FEW_JUDGED:
        print(f"{len(found[2])} pictures tell losses below 0.01 from chance badly. Give a larger set.", file=sys.stderr)
    return found


def _parted(dataset: "Dataset", spec: "ModelSpec", images: int) -> "tuple[str, list[UInt8Array], Subset]":
    """Both of the labelled set."""
    from edge_seg.calib.images import calibration_images
    from edge_seg.calib.split import split

    calibration, gate, halved = split(dataset, images, GATE_IMAGES)
    print(f"{calibration.name}; {gate.name}", file=sys.stderr)
    if halved:
        print(
            f"Warning: names of {dataset.name} do not part it by sequences. It is halved, so that pictures of one "
            "drive may calibrate and judge, and losses look smaller. Name them SEQUENCE_NUMBER, of several sequences.",
            file=sys.stderr,
        )
    return calibration.name, list(calibration_images(calibration, spec, len(calibration))), gate


def _picked(dataset: "Dataset", spec: "ModelSpec", path: Path) -> "tuple[str, list[UInt8Array], Subset]":
    """Those of a manifest, and of the labelled set those of other sequences."""
    from edge_seg.calib.manifest import manifest_hash, manifest_images, read_manifest
    from edge_seg.calib.split import split_off

    manifest = read_manifest(path)
    check_calibration_data(*manifest.sources)
    gate, named = split_off(dataset, manifest, GATE_IMAGES)
    print(f"{path}, {len(manifest.pictures)} pictures to calibrate on; {gate.name}", file=sys.stderr)
    if not named:
        print(
            f"Warning: names of {dataset.name} tell no sequences. Drives that {path} has pictures of may judge, and "
            "losses look smaller. Name them SEQUENCE_NUMBER.",
            file=sys.stderr,
        )
    return manifest_hash(manifest), list(manifest_images(manifest, spec)), gate


def files_beside(out: Path) -> tuple[Path, Path]:
    """The files of ranges and rung that go with an INT8 file."""
    return out.with_suffix(".ranges.json"), out.with_suffix(".rung.toml")


def _write_chosen(ladder: "Ladder", out: Path) -> list[Path]:
    """The artefact, and for INT8 its ranges and rung beside it, from which it can be written again."""
    assert ladder.chosen is not None
    files = {out: ladder.content}
    if ladder.chosen.rung is not None and ladder.ranges is not None:
        ranges, rung = files_beside(out)
        files |= {ranges: ladder.ranges.to_json().encode(), rung: ladder.chosen.rung.to_toml().encode()}
    stale = stale_beside(out, kept=list(files))
    write_together(files)
    warn_of_stale(stale, out)
    return list(files)


def stale_beside(out: Path, kept: Sequence[Path]) -> list[Path]:
    """Ranges and rung beside `out` that will tell of an earlier file once `out` is replaced, but for those in `kept`.

    One alone is not a ladder's, and where there is no `out` they are of none.
    """
    beside = files_beside(out)
    if not all(path.is_file() for path in (out, *beside)):
        return []
    return [path for path in beside if not any(same_file(path, other) for other in kept)]


def warn_of_stale(stale: Sequence[Path], out: Path) -> None:
    """Say so where there are some; they stay, since a person may have written them."""
    if stale:
        tell = "tells" if len(stale) == 1 else "tell"
        print(f"Warning: {' and '.join(map(str, stale))} {tell} of an earlier {out.name}.", file=sys.stderr)


def _line(step: "Step") -> str:
    verdict = "passes" if not step.reasons else ", ".join(step.reasons)
    return f"{step.name}: {step.drop:+.4f} mIoU lost, {_times(step)} times as fast; {verdict}"


def _times(step: "Step") -> str:
    return "?" if step.speed is None else f"{step.speed.speedup:.2f}"


def ladder_table(ladder: "Ladder", written: list[Path], source: Path) -> "Group":
    """Each rung with what it lost and how fast it is; why rungs do not pass; then what was chosen.

    `source` is the FP32 file.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("", "rung", "lost", "worst class", "times as fast", "passes")
    for number, step in enumerate(ladder.steps, 1):
        worst = Text(f"{step.worst_class} {step.drops[step.worst_class]:+.4f}")
        passes = "no" if step.reasons else "yes"
        table.add_row(str(number), Text(step.name), f"{step.drop:+.4f}", worst, _times(step), passes)
    lines = [f"{number}: {'; '.join(step.reasons)}" for number, step in enumerate(ladder.steps, 1) if step.reasons]
    skipped = [f"Skipped: {note}" for note in ladder.skipped]
    return Group(table, *map(Text, [*lines, *skipped, _conclusion(ladder, written, source)]))


def _conclusion(ladder: "Ladder", written: list[Path], source: Path) -> str:
    if ladder.chosen is None:
        told = "No rung passes: nothing is written. Allow a larger --max-drop, or train for INT8: edge-seg train --qat"
        only_tensorrt = {step.rung.target for step in ladder.steps if step.rung is not None} == {"tensorrt"}
        return f"{told}. Or without INT8: edge-seg build {source} --precision fp16" if only_tensorrt else told
    if ladder.chosen.rung is None:
        file = f"{written[0]} is its copy" if written else "Nothing is written"
        line = f"edge-seg run --model {(written or [source])[0]} --runtime {ladder.chosen.runtime}"
        return f"Chosen: {ladder.chosen.name}, no INT8. {file}. Type: {line}"
    return f"Chosen: {ladder.chosen.name}. Written: {', '.join(map(str, written))}"
