"""Folders, links, list of packages and wheel say the same thing."""

import importlib
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
FOLDERS = ("edge_seg", "export", "calib", "apps", "devices")
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES: list[str] = PYPROJECT["tool"]["setuptools"]["packages"]
HEAVY = ("torch", "cv2", "onnxruntime", "openvino", "onnx", "av", "lightning", "numpy")


def own_files(pattern: str) -> list[Path]:
    """Files of the five folders, relative to the root; the links are not followed."""
    found = (path for folder in FOLDERS for path in (ROOT / folder).rglob(pattern))
    return sorted(path.relative_to(ROOT) for path in found if path.resolve() == path)


def import_name(path: Path) -> str:
    """Name under which a folder or file of the tree is imported.

    >>> import_name(Path("export/to_onnx.py")), import_name(Path("edge_seg/data"))
    ('edge_seg.export.to_onnx', 'edge_seg.data')
    """
    parts = path.with_suffix("").parts
    return ".".join(parts if parts[0] == "edge_seg" else ("edge_seg", *parts))


def test_every_package_on_disk_is_listed() -> None:
    assert sorted(import_name(path.parent) for path in own_files("__init__.py")) == sorted(PACKAGES)


def test_every_module_lies_in_a_package() -> None:
    assert {import_name(path.parent) for path in own_files("*.py")} == set(PACKAGES)


@pytest.mark.parametrize("name", FOLDERS[1:])
def test_a_link_points_at_its_folder(name: str) -> None:
    link = ROOT / "edge_seg" / name

    assert link.is_file() or link.resolve() == ROOT / name  # a plain text file on Windows


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy of what it is made of."""
    pytest.importorskip("setuptools", minversion="77")
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    build = f"import setuptools.build_meta as backend; backend.build_wheel({str(out)!r})"
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=tree, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_the_modules_the_models_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    data = [Path("edge_seg/py.typed"), *own_files("*.onnx"), *own_files("*.toml"), *own_files("*.json")]
    data += own_files("LICENSE")
    expected = {f"{import_name(path).replace('.', '/')}.py" for path in own_files("*.py")}
    expected |= {path.as_posix() for path in data}

    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert shipped == expected


def test_the_bundled_models_are_25_mb_together_at_most() -> None:
    assert 0 < sum((ROOT / path).stat().st_size for path in own_files("*.onnx")) <= 25e6


def test_the_wheel_carries_both_licences(wheel: zipfile.ZipFile) -> None:
    licences = [name.partition("/licenses/")[2] for name in wheel.namelist() if "/licenses/" in name]

    assert sorted(licences) == ["LICENSE", "edge_seg/weights/LICENSE"]


@pytest.mark.parametrize("name", [import_name(path) for path in own_files("*.py") if path.stem != "__main__"])
def test_every_module_imports(name: str) -> None:
    try:
        module = importlib.import_module(name.removesuffix(".__init__"))
    except ModuleNotFoundError as error:
        if str(error.name).startswith("edge_seg"):
            raise
        pytest.skip(f"needs {error.name}")
    assert module.__doc__


def loaded_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after `code`."""
    program = f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    return {name.partition(".")[0] for name in done.stderr.split()}


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_after("import edge_seg") & set(HEAVY)


@pytest.mark.parametrize("command", [[], ["run"], ["train"], ["export"], ["quantize"], ["eval"], ["models"]])
def test_help_loads_nothing_heavy(command: list[str]) -> None:
    code = (
        "from edge_seg.apps.cli import main\n"
        f"try: main([*{command}, '--help'])\n"
        "except SystemExit as end: assert not end.code"
    )

    assert not loaded_after(code) & set(HEAVY)


def test_the_lowest_versions_tested_are_the_lower_bounds() -> None:
    named = re.findall(r"^([a-z-]+)==(\S+)", (ROOT / "constraints/lowest.txt").read_text(), re.MULTILINE)
    versions = dict(named)
    bounds = [re.match(r"([a-z-]+)>=([\d.]+)", line) for line in PYPROJECT["project"]["dependencies"]]

    for bound in bounds:
        assert bound is not None
        tested, wanted = versions[bound[1]].split("."), bound[2].split(".")
        assert tested[: len(wanted)] == wanted, f"constraints/lowest.txt has another {bound[1]}: see CONTRIBUTING.md"


def test_the_version_is_the_same_everywhere() -> None:
    import edge_seg

    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert PYPROJECT["project"]["version"] == edge_seg.__version__
    assert f"## [{edge_seg.__version__}]" in changelog
