"""Rebuild what docs/ tells of the bundled nets' speed, from one profile:

    python tests/bench/rebuild.py --data camvid:CamVid/test

Profiles the bundled nets on every run-time, with layers; writes docs/profile.html, and the rows into docs/benchmarks.md
between its two marks. What `--out` holds already is not measured again. The machine has to be quiet. Where the data and
`--out` lie is left out of what is written: it says camvid:CamVid and profile. Then take the README's pictures anew:
tests/bench/screenshots.py.
"""

import argparse
from pathlib import Path

from docs_parts import ROOT, run_edge_seg, write_part

from edge_seg.files import write_whole

MODELS = ("edge-seg-n", "edge-seg-n-fp32", "edge-seg-s", "edge-seg-s-fp32")


def main() -> None:
    """Profile, then put the reports in their places."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, default=Path("profile"))
    options = parser.parse_args()
    run_edge_seg("profile", *MODELS, "--runtimes", "all", "--data", options.data, "--layers", "--out", str(options.out))
    html, markdown = (
        without_paths((options.out / f"profile.{suffix}").read_text(encoding="utf-8"), options.data, options.out)
        for suffix in ("html", "md")
    )
    write_whole(ROOT / "docs" / "profile.html", html.encode())
    write_part("profile", section_of(markdown), by="rebuild.py")


def without_paths(report: str, data: str, out: Path) -> str:
    """The report as if the data's splits lay in CamVid, and it itself in `profile`.

    >>> without_paths("--data camvid:/a/b/test --out /c/d", "camvid:/a/b/test", Path("/c/d"))
    '--data camvid:CamVid/test --out profile'
    >>> without_paths("<span>--out</span> <span>/c/d</span>", "camvid:/a/b/test", Path("/c/d"))
    '<span>--out</span> <span>profile</span>'
    """
    folder = data.rpartition("/")[0]
    report = report.replace(f"{folder}/", "camvid:CamVid/").replace(f"--out {out}", "--out profile")
    return report.replace(f">{out}<", ">profile<")


def section_of(report: str) -> str:
    """The report's parts up to the layers, one level of headings down, with machine and command.

    >>> section_of("# Accuracy\\n\\nBest.\\n\\n## Rows\\n\\nR\\n\\n## Layers: a\\n\\nL\\n\\n## Machine\\n\\nM\\n")
    'Best.\\n\\n### Rows\\n\\nR\\n\\n### Machine\\n\\nM'
    """
    head, *sections = report.split("\n## ")
    kept = [head.partition("\n")[2], *(f"### {part}" for part in sections if not part.startswith("Layers: "))]
    return "\n\n".join(part.strip() for part in kept)


if __name__ == "__main__":
    main()
