"""What `edge-seg train --qat` adds to a training: the net to go on with, its ranges, and the names of its files."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edge_seg.apps.calibration_data import check_calibration_data
from edge_seg.errors import SinkError
from edge_seg.files import check_path, same_file

if TYPE_CHECKING:
    from edge_seg.calib.ranges import Ranges
    from edge_seg.training.options import TrainOptions
    from edge_seg.training.tuning import Tuning

CALIBRATION_IMAGES = 120
"""As many as `edge-seg quantize` takes of a data set."""

OBSERVED = "observed.json"
"""Where the ranges that a run has observed itself lie in its folder, for --resume."""


def check_usage(qat: str | None, init: Path | None, fixed: Mapping[str, object], own: Mapping[str, object]) -> None:
    """Wrong usage where --qat lacks its net or comes with options that it fixes, and where its `own` come without it.

    Options by name; what was not given is None.
    """
    if qat is None:
        _refuse(own, "for a training with --qat alone; give that too")
        return
    _refuse(fixed, "--qat goes on with the net of --init as it is; leave them out")
    if init is None:
        raise typer.BadParameter("--qat fine-tunes a trained net. Give its FP32 file, such as --init edge-seg-s-fp32.")


def _refuse(options: Mapping[str, object], reason: str) -> None:
    given = [name for name, value in options.items() if value]
    if given:
        raise typer.BadParameter(f"{', '.join(given)}: {reason}.")


def tuned_output(out: Path | None, init: str) -> Path:
    """The FP32 file to write, beside which the others go; named after the model where it is not given.

    >>> tuned_output(None, "edge-seg-s-fp32").name
    'edge-seg-s-qat.onnx'
    """
    from edge_seg.weights import find_model

    if out is None:
        name = f"{find_model(init).stem}-qat"
        return Path("runs") / name / f"{name}.onnx"
    if check_path(out, SinkError).suffix != ".onnx" or out.is_dir():
        raise typer.BadParameter(f"--out {out}: expected the name of an ONNX file, such as {out.with_suffix('.onnx')}.")
    return out


def prepare(
    options: "TrainOptions", target: str | None, test: str, *, ranges: Path | None, method: str | None
) -> tuple["TrainOptions", "Tuning | None"]:
    """The options of a training that goes on with the net `options.init` as a target computes it, and its `Tuning`.

    Without a target, `options` as they are. Without a file of `ranges` they are observed on the training set.
    ModelError and DataError as `make_tuning` and `read_ranges` raise them, and for a data set of other classes or one
    that shares pictures with `test`; wrong usage for one called test, or val alone.
    """
    if target is None:
        return options, None
    check_calibration_data(options.data)
    _refuse_what_does_not_fit(options)
    from edge_seg.calib.fine_tune import make_tuning
    from edge_seg.calib.quantize import open_fp32
    from edge_seg.calib.ranges import NAMES
    from edge_seg.data import open_dataset
    from edge_seg.evaluate import check_classes
    from edge_seg.export.target import find_target, target_here
    from edge_seg.runners.contract import check_contract
    from edge_seg.train import open_test
    from edge_seg.training.distillation import open_teacher
    from edge_seg.weights import find_model

    method = method or "min-max"
    if method not in NAMES:
        raise typer.BadParameter(f"--method {method}: expected {', '.join(NAMES)}.")
    chosen = target_here() if target == "auto" else find_target(target)
    source = find_model(str(options.init))
    spec = check_contract(open_fp32(source), str(source))
    teacher = None if options.teacher is None else find_model(str(options.teacher))
    _refuse_replacing(options, {"--init": source, "--ranges": ranges, "--teacher": teacher})
    dataset = open_dataset(options.data)
    check_classes(spec.class_names, dataset.class_names, dataset.name)
    open_test(options.data, test)  # refused now, not when the ranges have been observed
    if options.teacher is not None:
        open_teacher(options.teacher, spec.class_names)
    own = replace(options, arch=spec.name, width=spec.width, height=spec.height, precision="fp32", init=None)
    return own, make_tuning(source, _ranges(own, source, ranges), chosen, method, options=own)


def _refuse_replacing(options: "TrainOptions", read: Mapping[str, Path | None]) -> None:
    """Wrong usage where the run would write over a file that it reads; those by option, None where not given.

    SinkError where a folder has the name of a file to write.
    """
    from edge_seg.calib.fine_tune import files_of

    for file in files_of(options.out):
        if file.is_dir():
            raise SinkError(f"{file} is a folder; a file of that name is written. Choose another --out.")
    for option, path in read.items():
        for output in (*files_of(options.out), options.last):
            if path is not None and same_file(output, path):
                raise typer.BadParameter(
                    f"--out {options.out}: {output} would replace the file of {option}. Give another --out."
                )


def _refuse_what_does_not_fit(options: "TrainOptions") -> None:
    published, bf16 = options.encoder_weights == "published", options.precision == "bf16"
    others = {"--freeze": options.freeze, "--compile": options.compile, "--encoder-weights published": published}
    _refuse(others | {"--precision bf16": bf16}, "--qat trains the whole net of --init, in FP32; leave them out")
    adjusted, clean = options.recipe.loss.logit_adjustment, options.recipe.schedule.clean_statistics
    last = {"logit_adjustment in the recipe": adjusted, "clean_statistics in the recipe": clean}
    _refuse(last, "--qat writes what it has trained as it is; leave --recipe out, or set it to 0 in your own")


def _ranges(options: "TrainOptions", model: Path, path: Path | None) -> "Ranges":
    """The ranges in a file, or those of the training set: observed now, or when the run to resume began."""
    from edge_seg.apps.cmd_quantize import observe_data
    from edge_seg.calib.quantize import open_fp32
    from edge_seg.calib.ranges import read_ranges, write_ranges
    from edge_seg.training.folder import is_first_process, owned_folder
    from edge_seg.training.saving import check_last

    observed = options.run_dir / OBSERVED
    if path is not None or (options.resume and observed.is_file()):
        return read_ranges(path or observed, open_fp32(model))
    with owned_folder(options):
        check_last(options)  # else ranges of an earlier run would be replaced
        found = observe_data(open_fp32(model), options.data, CALIBRATION_IMAGES)
        if is_first_process():  # of another machine the folder may not be there
            write_ranges(observed, found)
    return found


def summary(out: Path, tuning: "Tuning") -> str:
    """What was written, in a line."""
    from edge_seg.calib.fine_tune import files_of

    fp32, ranges, int8 = files_of(out)
    method = tuning.fixed["method"]
    asked = "" if method == "min-max" else f" --method {method}"
    again = f"edge-seg quantize {fp32} --ranges {ranges}{asked}"
    return f"{int8}: INT8 for {tuning.fixed['qat']}. For another target: {again}"
