"""`edge-seg calib`: the steps of calibration, one by one."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_seg.apps import cmd_cache, cmd_sensitivity
from edge_seg.apps.calibration_data import IMAGES, check_calibration_data, image_count, tell_zeros
from edge_seg.files import check_writable, same_file

if TYPE_CHECKING:
    from rich.console import Group

    from edge_seg.calib.images import Selection
    from edge_seg.calib.ranges import Ranges


def register(app: typer.Typer) -> None:
    """Add the group of commands to the command line."""
    calib = typer.Typer(help="Calibration, step by step: the pictures, the ranges, the layers.", no_args_is_help=True)
    calib.command(help="Pick the pictures of a calibration set, diverse by content, and write them as a manifest.")(
        images
    )
    calib.command(help="Observe the ranges of an FP32 model's tensors, for edge-seg quantize --ranges.")(observe)
    cmd_sensitivity.register(calib)
    cmd_cache.register(calib)
    app.add_typer(calib, name="calib")


def images(
    *,
    data: Annotated[
        list[str], typer.Option(help="Data set, folder of images, or video file; several times for several.")
    ],
    out: Annotated[Path, typer.Option(help="Manifest to write (.json).")],
    model: Annotated[
        str | None, typer.Option(help="FP32 model, bundled name or path, whose classes the set is to show.")
    ] = None,
    count: Annotated[int, typer.Option("--images", min=1, help="Number of pictures to pick.")] = 120,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Another one picks another set.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON on stdout.")] = False,
) -> None:
    """Pick, write the manifest, and report what was picked and what is wrong with it."""
    from edge_seg.apps.output import print_report
    from edge_seg.apps.progress import progress
    from edge_seg.calib.images import pick_images, plan_images
    from edge_seg.calib.manifest import write_manifest

    _check_manifest(out)
    check_calibration_data(*data)
    _check_model(model)
    plan = plan_images(data, count, seed=seed)
    with progress("calib images", plan.candidates) as step:
        selection = pick_images(plan, model=model, on_image=step)
    write_manifest(out, selection.manifest)
    for warning in selection.warnings:
        print(f"Warning: {warning}", file=sys.stderr)
    if model is None:
        print("Domain not checked, nor classes: give --model.", file=sys.stderr)
    print_report(selection.to_dict(), images_tables(selection, str(out)), as_json=as_json)


def observe(
    model: Annotated[str, typer.Argument(help="Bundled name or path of an FP32 ONNX.")],
    *,
    out: Annotated[
        Path | None, typer.Option(help="Ranges to write (.json); MODEL's name with .ranges.json if not given.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Data set: camvid:PATH takes its train images.")] = None,
    manifest: Annotated[Path | None, typer.Option(help="Instead: the set that edge-seg calib images wrote.")] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="Number of images of --data, spread evenly.", show_default=str(IMAGES))
    ] = None,
) -> None:
    """Observe in one pass, write the ranges, and say so."""
    from edge_seg.apps.cmd_quantize import observe_data
    from edge_seg.calib.quantize import open_fp32
    from edge_seg.calib.ranges import write_ranges
    from edge_seg.weights import find_model

    if (data is None) == (manifest is None):
        raise typer.BadParameter("Give either --data or --manifest.")
    count = image_count(images, manifest)
    if data is not None:
        check_calibration_data(data)
    source = find_model(model)
    path = _ranges_path(out, source)
    if manifest is not None and same_file(path, manifest):
        raise typer.BadParameter(f"--out {path} is the manifest itself. Choose another name.")
    if data is not None:
        ranges = observe_data(open_fp32(source), data, count)
    else:
        assert manifest is not None
        ranges = _observe_manifest(source, manifest)
    _ranges_path(out, source)  # once more: it may have come meanwhile
    write_ranges(path, ranges)
    print(
        f"{path}: ranges of {len(ranges.tensors)} tensors over {ranges.images} images. Next: edge-seg quantize {model} "
        f"--ranges {path}",
        file=sys.stderr,
    )


def _ranges_path(out: Path | None, source: Path) -> Path:
    """The ranges file to write; without a name of the user's own nothing is replaced."""
    from edge_seg.weights import place_beside

    path = out or place_beside(source).with_suffix(".ranges.json")
    _check_manifest(path)
    if out is None and path.exists():  # such as those that a fine-tuned net was trained with
        raise typer.BadParameter(f"{path} is there already. To replace it: --out {path}")
    return path


def _check_model(model: str | None) -> None:
    """ModelError for an ONNX file that is no FP32 model: its labels are what the set is to be calibrated for."""
    from edge_seg.calib.quantize import open_fp32
    from edge_seg.weights import find_model

    if model is not None and find_model(model).suffix == ".onnx":
        open_fp32(find_model(model))


def _observe_manifest(model: Path, path: Path) -> "Ranges":
    from edge_seg.apps.progress import progress
    from edge_seg.calib.manifest import manifest_hash, manifest_images, read_manifest
    from edge_seg.calib.quantize import open_fp32
    from edge_seg.calib.ranges import observe as observe_images
    from edge_seg.runners.contract import read_onnx_spec

    manifest = read_manifest(path)
    check_calibration_data(*manifest.sources)
    pictures = manifest_images(manifest, read_onnx_spec(model))
    with progress("calibrate", len(manifest.pictures)) as step:
        ranges = observe_images(open_fp32(model), pictures, pictures=manifest_hash(manifest), on_image=step)
    tell_zeros(ranges)
    return ranges


def _check_manifest(out: Path) -> None:
    """Before any work: wrong usage for another suffix, SinkError where no file can be written."""
    if out.suffix != ".json":
        raise typer.BadParameter(f"--out {out}: expected a name ending in .json.")
    check_writable(out)


def images_tables(selection: "Selection", name: str) -> "Group":
    """What was picked of each source, and the classes that a model sees in it."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    report = selection.to_dict()
    pictures = selection.manifest.pictures
    sources = Table(title=f"{name}: {len(pictures)} of {selection.candidates} candidates", title_justify="left")
    sources.add_column("source")
    sources.add_column("pictures", justify="right")
    sources.add_column("picked", justify="right")
    for number, (uri, available) in enumerate(zip(selection.manifest.sources, selection.available, strict=True)):
        sources.add_row(uri, str(available), str(sum(picture.source == number for picture in pictures)))
    lines = [f"scenes {report['scenes']}", f"unreadable {selection.unreadable}, of one colour {selection.blank}"]
    if selection.mirrored is not None:
        lines.append(f"labels of mirrored pictures that agree {selection.mirrored:.3f}")
    told = Text("\n".join([*lines, f"hash {report['hash']}"]), overflow="ignore", no_wrap=True)
    classes = Table("class", "share", "pictures that show it")
    for kind, (share, shown) in selection.classes.items():
        classes.add_row(kind, f"{share:.4f}", str(shown))
    return Group(sources, told, classes) if selection.classes else Group(sources, told)
