"""`edge-seg lint`: what a target will refuse, run in float or run slowly, before it is deployed there."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_seg.errors import SinkError
from edge_seg.files import check_path, same_file, write_whole

if TYPE_CHECKING:
    from rich.console import Group

    from edge_seg.export.lint import Finding

SHOWN = 2
"""Places of a finding that are named to people; --json names all."""


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(help="Tell what a target will refuse, run in float or run slowly. Exit code 1 where it refuses.")(lint)


def lint(
    model: Annotated[str, typer.Argument(help="Bundled name or path of an ONNX file.")],
    *,
    target: Annotated[
        str,
        typer.Option(
            help="openvino (files of either of its dialects), onnxruntime-x86, x86-novnni, onnxruntime-arm, tensorrt, "
            "or auto: this machine."
        ),
    ],
    jetpack: Annotated[
        str | None, typer.Option(help="JetPack of the Jetson: 5.1, 6.0 to 6.2, 7.0 to 7.2; also as 6.2.1 or 6.")
    ] = None,
    tensorrt: Annotated[
        str | None,
        typer.Option(help="TensorRT: 8.5, 8.6, 10.3, 10.13, 10.16 or 11.4, also as 8.5.2; 8.5 where not given."),
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Write a new file with what can be mended mechanically.")] = False,
    out: Annotated[Path | None, typer.Option(help="File of --fix; MODEL.fixed.onnx where not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON on stdout.")] = False,
) -> None:
    """Check, mend where asked, and print what is left."""
    from edge_seg.apps.output import print_report
    from edge_seg.export.lint import find_goal
    from edge_seg.export.lint import lint as lint_model
    from edge_seg.export.lint_fix import fix as fix_model
    from edge_seg.runners.contract import load_onnx
    from edge_seg.weights import find_model

    _check_usage(target, jetpack, tensorrt, out, fix=fix)
    goal = find_goal(target, jetpack, tensorrt)
    path = find_model(model)
    written = _fixed_path(out, path) if fix else None
    loaded = load_onnx(path)
    findings = lint_model(loaded, goal)
    fixed = fix_model(loaded, goal, [finding.rule for finding in findings], folder=path.parent) if fix else []
    if fixed and written is not None:
        findings = lint_model(loaded, goal)
        write_whole(written, loaded.SerializeToString())
    report = {
        "model": model,
        "target": goal.target.name,
        "runtime": goal.runtime,
        "findings": [finding.to_dict() for finding in findings],
        "fixed": fixed,
        "written": str(written) if fixed else None,
    }
    head = _head(model, goal.label, findings) + (_told(fixed, written) if fix else "")
    print_report(report, findings_text(head, findings), as_json=as_json)
    if any(finding.severity == "refused" for finding in findings):
        raise typer.Exit(1)


def _check_usage(target: str, jetpack: str | None, tensorrt: str | None, out: Path | None, *, fix: bool) -> None:
    """Wrong usage for options that do not go together."""
    if jetpack is not None and tensorrt is not None:
        raise typer.BadParameter("--jetpack and --tensorrt both name a TensorRT. Give one of them.")
    if (jetpack or tensorrt) and target != "tensorrt":
        raise typer.BadParameter(f"--jetpack and --tensorrt belong to --target tensorrt, not to {target}.")
    if out is not None and not fix:
        raise typer.BadParameter("--out is the file that --fix writes. Add --fix.")


def _fixed_path(out: Path | None, source: Path) -> Path:
    """The file to write; wrong usage unless it is an ONNX name other than the source's."""
    from edge_seg.weights import place_beside

    path = out or place_beside(source).with_suffix(".fixed.onnx")
    if path.suffix != ".onnx":
        raise typer.BadParameter(f"--out {path}: expected a name ending in .onnx.")
    if same_file(check_path(path, SinkError), source):
        raise typer.BadParameter(f"--out {path} is the model itself. Choose another name.")
    return path


def _head(model: str, label: str, findings: "list[Finding]") -> str:
    """What was looked at, and the worst that was found."""
    refused = sum(finding.severity == "refused" for finding in findings)
    if not findings:
        return f"{model} for {label}: nothing to complain of."
    several = f"{len(findings)} findings" if len(findings) > 1 else "1 finding"
    return f"{model} for {label}: {several}, {refused or 'none'} of them refused."


def _told(fixed: list[str], written: Path | None) -> str:
    if not fixed:
        return " Nothing of it can be mended mechanically; no file is written."
    return f" Mended {', '.join(fixed)}: {written}"


def findings_text(head: str, findings: "list[Finding]") -> "Group":
    """The findings for people, worst first; the advice once for what breaks one rule in several ways."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    lines: list[Text | Padding] = [Text(head)]
    for place, finding in enumerate(findings):
        share = "" if finding.share is None else f", {finding.share:.1%} of the convolutions' multiplications"
        more = f" and {len(finding.where) - SHOWN} more" if len(finding.where) > SHOWN else ""
        told = [f"at {', '.join(finding.where[:SHOWN])}{more}{share}"]
        if [finding.rule] != [following.rule for following in findings[place + 1 : place + 2]]:
            told += [f"expected {finding.expected}", finding.fix]
        lines.append(Text(f"{finding.severity:9}{finding.rule}: {finding.found}", style="bold"))
        lines += [Padding(Text(line), (0, 0, 0, 9), expand=False) for line in told]
    return Group(*lines)
