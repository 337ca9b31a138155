"""The real Python bindings of TensorRT, one generation each, without TensorRT's libraries and without a GPU.

    python tests/tensorrt/bindings.py FOLDER              # installs what is missing of them into FOLDER
    python tests/tensorrt/bindings.py FOLDER --with-8.5   # 8.5.3.1 too: a download of 549 MB, and it wants Python 3.10,
                                                          # of which an environment is made with NumPy 1.23 and OpenCV

NVIDIA publishes the bindings as packages of their own, a megabyte each. They link TensorRT's libraries, which are
replaced by empty ones that have the few entry points they ask for: then the package loads, and every class, enum and
signature can be looked at. Nothing can be built or run with it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

PACKAGES = {
    "8.6.1": "tensorrt-bindings==8.6.1",
    "10.3.0": "tensorrt-cu12-bindings==10.3.0",
    "10.16.0.72": "tensorrt-cu12-bindings==10.16.0.72",
    "11.4.0.106": "tensorrt-cu13-bindings==11.4.0.106",
}
"""The requirement of each generation's bindings, by version."""

OLDEST = "8.5.3.1"
"""The version whose bindings come in one wheel with its libraries alone, for Python up to 3.10."""

BESIDE_OLDEST = ("numpy==1.23.5", "opencv-python-headless==4.10.0.84", "onnx==1.17.0", "typer>=0.29", "rich", "tomli")
"""What an environment beside so old a TensorRT may have, of which our code has to be content."""

ENTRY_POINTS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "getNvOnnxParserVersion",
    "getBuilderPluginRegistry",
    "getPluginRegistry",
    "initLibNvInferPlugins",
    "_ZN14nvcaffeparser117createCaffeParserEv",  # up to 8.6
    "_ZN14nvcaffeparser123shutdownProtobufLibraryEv",
    "_ZN11nvuffparser15createUffParserEv",
    "_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi",
)
"""What the bindings ask of TensorRT's libraries, by the linker's names."""

LIBRARY = re.compile(rb"lib(?:nvinfer|nvinfer_plugin|nvonnxparser|nvparsers)\.so\.\d+")

PACKAGE = "from tensorrt_bindings import *\nfrom tensorrt_bindings import __version__\n"
"""What makes `import tensorrt` find them."""

DUMP = """
import json, tensorrt
names = {name: getattr(tensorrt, name) for name in dir(tensorrt)}
print(json.dumps({name: dir(found) if isinstance(found, type) else [] for name, found in names.items()}))
"""


def main(folder: Path, *, with_oldest: bool) -> None:
    """Install the bindings that are missing; those that cannot be are told and left out."""
    for version, requirement in PACKAGES.items():
        install(folder / version, requirement)
    if with_oldest:
        install_oldest(folder / OLDEST)


def install(place: Path, requirement: str) -> None:
    """The bindings of one generation for this Python, where there are any."""
    if (place / "tensorrt.py").is_file():
        return
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run([*pip, "--only-binary=:all:", "--target", place, requirement], check=False)
    if done.returncode:
        print(f"{requirement}: pip finds none for this Python; tests of it are left out", file=sys.stderr)
    elif write_stand_ins(place / "tensorrt_bindings"):
        (place / "tensorrt.py").write_text(PACKAGE)  # last: where it is, all is


def install_oldest(place: Path) -> None:
    """The bindings of 8.5 and an environment of Python 3.10 for them, where that is installed."""
    python = python310()
    if python is None:
        print(f"TensorRT {OLDEST}: no Python 3.10 here; tests of it are left out", file=sys.stderr)
        return
    if not (place / "tensorrt.py").is_file():
        install_oldest_bindings(place, python)
    if not Path(python_of(place)).is_file():
        install_environment(place / "venv", python)


def install_environment(venv: Path, python: str) -> None:
    """A Python for the bindings of 8.5, with the packages of its time."""
    beside = venv.with_name("venv.part")
    subprocess.run([python, "-m", "venv", "--clear", beside], check=True)
    pip = [beside / "bin" / "python", "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    if subprocess.run([*pip, "--only-binary=:all:", *BESIDE_OLDEST], check=False).returncode:
        print(f"TensorRT {OLDEST}: pip could not fetch {', '.join(BESIDE_OLDEST)}; tests are left out", file=sys.stderr)
        return
    beside.rename(venv)  # last: where it is, all is; its python takes its place from where it lies


def python_of(place: Path) -> str:
    """The Python that loads the bindings of a place."""
    return str(place / "venv" / "bin" / "python") if place.name == OLDEST else sys.executable


def is_installed(place: Path) -> bool:
    """Whether the bindings of a place are there, and a Python for them."""
    return (place / "tensorrt.py").is_file() and Path(python_of(place)).is_file()


def install_oldest_bindings(place: Path, python: str) -> None:
    """The bindings of 8.5 without its libraries."""
    package = place / "tensorrt_bindings"
    package.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as downloads:
        pip = [python, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps", "-d", downloads]
        if subprocess.run([*pip, "--only-binary=:all:", f"tensorrt=={OLDEST}"], check=False).returncode:
            print(f"TensorRT {OLDEST}: pip could not fetch it; tests of it are left out", file=sys.stderr)
            return
        with ZipFile(next(Path(downloads).glob("*.whl"))) as wheel:
            for name in ("tensorrt.so", "__init__.py"):
                (package / name).write_bytes(wheel.read(f"tensorrt/{name}"))
    if write_stand_ins(package):
        (place / "tensorrt.py").write_text(PACKAGE)


def python310() -> str | None:
    """An interpreter of Python 3.10 that works, on the path or of pyenv, whose own command may point at nothing."""
    known = [shutil.which("python3.10"), *map(str, Path.home().glob(".pyenv/versions/3.10*/bin/python"))]
    for python in filter(None, known):
        if subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0:
            return python
    return None


def write_stand_ins(package: Path) -> bool:
    """Empty libraries beside the bindings, by the names that these ask for; False without a compiler."""
    if shutil.which("gcc") is None:
        print("gcc is missing: tests of TensorRT's bindings are left out", file=sys.stderr)
        return False
    needed = sorted({name.decode() for name in LIBRARY.findall((package / "tensorrt.so").read_bytes())})
    source = package / "stand_in.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in ENTRY_POINTS))
    for library in needed:
        command = ["gcc", "-shared", "-fPIC", source, "-o", package / library, f"-Wl,-soname,{library}"]
        subprocess.run(command, check=True)
    return True


def run_with(place: Path, *arguments: str) -> str:
    """What Python prints with the bindings of `place` as `tensorrt`, in a process of its own."""
    paths = {"PYTHONPATH": str(place), "LD_LIBRARY_PATH": str(place / "tensorrt_bindings")}
    here = str(Path(__file__).parents[2])
    environment = os.environ | paths | {"PYTHONPATH": os.pathsep.join([paths["PYTHONPATH"], here])}
    done = subprocess.run(
        [python_of(place), *arguments], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def dump(place: Path) -> dict[str, list[str]]:
    """Every name of the package, with the attributes of those that are classes."""
    found: dict[str, list[str]] = json.loads(run_with(place, "-c", DUMP))
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), with_oldest="--with-8.5" in sys.argv[2:])
