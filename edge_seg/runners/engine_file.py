"""An engine and its sidecar: `net.engine` is TensorRT's plan, `net.engine.json` says what it is and where it runs.

A plan says nothing of itself before a GPU has loaded it, and fits one TensorRT, one GPU architecture and one operating
system. The sidecar has the spec, the fingerprint of the build, and the hash of the plan, so that an engine from
elsewhere, or one that is damaged, is told without loading it.
"""

import dataclasses
import hashlib
import json
import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_seg.errors import ModelError, SinkError
from edge_seg.files import check_path, read_text, write_whole
from edge_seg.spec import ModelSpec, parse_spec

if TYPE_CHECKING:
    from filelock import BaseFileLock

SUFFIX = ".engine"

LOCK_S = 60.0
"""How long a reader waits for one who is writing the engine that it reads."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What an engine was built of, by and for; where it differs, another engine would be built.

    `onnx` and `calibration` are SHA-256 of the ONNX file, with weights beside it, and of what it is calibrated by (""
    without), `sm` is the compute capability, such as "8.7", `system` the operating system and kind of CPU, `asked` the
    precision that was asked for, `batch` the least, the best and the largest N, `flags` what else was asked for.
    `precision` is what the layers may compute in, such as INT8+FP16.
    """

    onnx: str
    tensorrt: str
    driver: str
    gpu: str
    sm: str
    system: str
    asked: str
    batch: tuple[int, int, int]
    calibration: str = ""
    flags: tuple[str, ...] = ()
    precision: str = ""

    def differences(self, other: "Fingerprint") -> list[str]:
        """In words, in what another one differs, but for driver and precision, which follow from the rest.

        >>> one = Fingerprint("a" * 64, "10.3.0", "12.6", "Orin", "8.7", "Linux aarch64", "best", (1, 1, 1))
        >>> one.differences(dataclasses.replace(one, onnx="b" * 64, gpu="Thor", driver="13.0"))
        ['onnx has changed', 'gpu was Orin and is Thor']
        """
        names = [field.name for field in dataclasses.fields(self) if field.name not in ("driver", "precision")]
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in names]
        hashes = ("onnx", "calibration")
        return [
            f"{name} has changed" if name in hashes else f"{name} was {mine} and is {theirs}"
            for name, mine, theirs in pairs
            if mine != theirs
        ]


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What stands beside an engine: the spec, the fingerprint, and SHA-256 of the engine's bytes."""

    spec: ModelSpec
    fingerprint: Fingerprint
    engine: str

    def to_json(self) -> str:
        """JSON text that `parse_sidecar` reads back."""
        return json.dumps(dataclasses.asdict(self), indent=1)


def this_system() -> str:
    """Operating system and kind of CPU, as a fingerprint has them: such as "Linux aarch64"."""
    return f"{platform.system()} {platform.machine()}"


def sidecar_of(path: Path) -> Path:
    """The name of an engine's sidecar.

    >>> sidecar_of(Path("net.engine")).name
    'net.engine.json'
    """
    return path.with_name(path.name + ".json")


def parse_sidecar(text: str, name: str) -> Sidecar:
    """Read what `Sidecar.to_json` wrote; ModelError, which calls it `name`, where it is none."""
    try:
        found: dict[str, Any] = json.loads(text)
        told: dict[str, Any] = found["fingerprint"]
        least, best, most = map(int, told["batch"])
        fields = told | {"batch": (least, best, most), "flags": tuple(map(str, told["flags"]))}
        sidecar = Sidecar(parse_spec(json.dumps(found["spec"])), Fingerprint(**fields), str(found["engine"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{name} is no sidecar of an engine ({error}). Build the engine again: edge-seg build"
        ) from None
    return sidecar


def read_sidecar(path: Path) -> Sidecar:
    """The sidecar of the engine at `path`; ModelError where there is none, or it cannot be read."""
    check_path(path, ModelError)
    beside = sidecar_of(path)
    if not beside.is_file():
        raise ModelError(
            f"{beside} is missing: nothing says what {path.name} is, and for which GPU it was built. Build it again: "
            "edge-seg build MODEL.onnx"
        )
    return parse_sidecar(read_text(beside, ModelError), str(beside))


def read_engine(path: Path) -> tuple[bytes, Sidecar]:
    """The engine's bytes and its sidecar; ModelError where one is missing, cut short or of another engine."""
    sidecar = read_sidecar(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from None
    if sha256(content) != sidecar.engine:
        raise ModelError(
            f"{path} is not the engine that {sidecar_of(path).name} describes: it was cut short, altered or exchanged. "
            "Build it again: edge-seg build MODEL.onnx"
        )
    return content, sidecar


def read_whole_engine(path: Path) -> tuple[bytes, Sidecar]:
    """As `read_engine`, but where the two are not of one build, once more after whoever is writing them now."""
    try:
        return read_engine(path)
    except ModelError:
        lock = open_lock(path, LOCK_S) if lock_of(path).is_file() else None  # None: nothing was ever built here
        if lock is None:
            raise
        with suppress(OSError), lock:  # filelock's Timeout is an OSError too
            return read_engine(path)
        raise


def open_lock(path: Path, timeout_s: float = -1.0) -> "BaseFileLock | None":
    """The lock, not yet held, of the engine at `path`; None where filelock is missing.

    An installed edge-seg has it. Where its source alone was copied beside a TensorRT, for tests/gpu/bench.py, it may be
    missing: then processes that build the same engine at a time are not kept apart.
    """
    try:
        from filelock import FileLock
    except ModuleNotFoundError:
        return None
    return FileLock(lock_of(path), timeout=timeout_s)


def lock_of(path: Path) -> Path:
    """The file that is locked while the engine at `path` is built and written."""
    return path.with_name(f".{path.name}.lock")


def write_engine(path: Path, content: bytes, spec: ModelSpec, fingerprint: Fingerprint) -> None:
    """Write an engine and its sidecar; SinkError where that cannot be done.

    The engine last: between the two writes an engine of before has another hash than its sidecar says, and is refused.
    Whoever holds the lock of `open_lock` may write; `read_whole_engine` waits for that.
    """
    sidecar = Sidecar(spec, fingerprint, sha256(content))
    write_whole(sidecar_of(path), sidecar.to_json().encode())
    write_whole(path, content)


def sha256(content: bytes) -> str:
    """The hash by which files are told apart."""
    return hashlib.sha256(content).hexdigest()


def cache_folder(name: str) -> Path:
    """A folder of the user's cache, made where it is missing, below XDG_CACHE_HOME or ~/.cache.

    SinkError where it cannot be made.
    """
    root = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(root) if root else Path.home() / ".cache") / "edge-seg" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(
            f"{folder} cannot be made: {error.strerror}. Set XDG_CACHE_HOME to a folder that is yours, or build the "
            "engine by hand: edge-seg build MODEL.onnx --out FILE.engine"
        ) from None
    return folder
