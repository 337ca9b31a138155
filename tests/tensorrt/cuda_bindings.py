"""The real cuda-python, three generations of it, on a libcuda that only tells what it was asked: no GPU, no driver.

python tests/tensorrt/cuda_bindings.py FOLDER      # installs what is missing of them into FOLDER
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = {
    "11.8.7": ("cuda-bindings==11.8.7",),
    "12.2.1": ("cuda-python==12.2.1",),  # its module is cuda.cuda
    "13.4.4": ("cuda-bindings==13.4.4", "cuda-pathfinder==1.8.3"),
}
"""The requirements of each generation, by version."""

LIBRARY = "libcuda.so.1"

STAND_IN = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tell(const char *name, const char *format, size_t one, size_t other) {
    const char *broken = getenv("BROKEN");
    fprintf(stderr, format, one, other);
    return broken && !strcmp(broken, name) ? 901 : 0;
}
int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuStreamBeginCapture_v2(size_t stream, int mode) { return tell("begin", "begin %zu %zu\\n", stream, mode); }
int cuStreamEndCapture(size_t stream, size_t *graph) { *graph = 0x1000; return tell("end", "end %zu\\n", stream, 0); }
int cuGraphInstantiateWithFlags(size_t *made, size_t graph, unsigned long long flags) {
    *made = 0x2000;
    return tell("instantiate", "instantiate %zx %zu\\n", graph, flags);
}
int cuGraphDestroy(size_t graph) { return tell("destroy", "destroy %zx\\n", graph, 0); }
int cuGraphLaunch(size_t made, size_t stream) { return tell("launch", "launch %zx %zu\\n", made, stream); }
int cuGraphExecDestroy(size_t made) { return tell("give up", "give up %zx\\n", made, 0); }
int cuGetProcAddress_v2(const char *name, void **found, int version, unsigned long long flags, int *status) {
    const char *endings[] = {"", "_v2", "WithFlags"};
    char whole[256];
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    *found = 0;
    for (int i = 0; i < 3 && !*found; i++) {
        snprintf(whole, sizeof whole, "%s%s", name, endings[i]);
        *found = dlsym(library, whole);
    }
    if (status) *status = *found ? 0 : 1;
    return *found ? 0 : 500;
}
int cuGetProcAddress(const char *name, void **found, int version, unsigned long long flags) {
    return cuGetProcAddress_v2(name, found, version, flags, 0);
}
"""
"""A driver's library in C, with what `edge_seg.runners.cuda_graph` needs of it; BROKEN names what fails."""


def main(folder: Path) -> None:
    """Install the generations that are missing; those that cannot be are told and left out."""
    for version, requirements in PACKAGES.items():
        install(folder / f"cuda-{version}", requirements)


def install(place: Path, requirements: tuple[str, ...]) -> None:
    """One generation for this Python, where there is one, with its stand-in for libcuda."""
    if (place / LIBRARY).is_file():
        return
    if shutil.which("gcc") is None:
        print("gcc is missing: tests of cuda-python are left out", file=sys.stderr)
        return
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run([*pip, "--only-binary=:all:", "--target", place, *requirements], check=False)
    if done.returncode:
        print(f"{requirements[0]}: pip finds none for this Python; tests of it are left out", file=sys.stderr)
        return
    make_library(place)  # last: where it is, all is


def make_library(folder: Path, *, without: str = "") -> None:
    """The stand-in for libcuda, if asked for `without` one of its functions, as that of an older driver."""
    source = folder / "stand_in.c"
    source.write_text(STAND_IN.replace(without, "otherwise") if without else STAND_IN)
    library = ["-shared", "-fPIC", source, "-o", folder / LIBRARY, f"-Wl,-soname,{LIBRARY}", "-ldl"]
    subprocess.run(["gcc", *library], check=True)


def run_with(place: Path, program: str, *, broken: str = "", library: Path | None = None) -> tuple[str, list[str]]:
    """What a program prints with the cuda-python of `place`, and the calls that its libcuda saw, one a line.

    `library` is the folder of another libcuda.
    """
    paths = os.pathsep.join([str(place), str(Path(__file__).parents[2])])
    environment = os.environ | {"PYTHONPATH": paths, "LD_LIBRARY_PATH": str(library or place), "BROKEN": broken}
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.splitlines()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
