"""What a training needs to know before its first step."""

import dataclasses
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import torch

from edge_seg.recipe import Recipe
from edge_seg.weights import find_model

PRECISIONS = ("auto", "bf16", "fp32")


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What `train` needs: where the data is, and the schedule, which is fixed before the first step."""

    data: str
    out: Path
    run_dir: Path
    arch: str = "edge-seg-s"
    width: int = 480
    height: int = 360
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 1
    workers: int = 1
    precision: str = "auto"
    val: str | None = None
    init: Path | None = None
    teacher: Path | None = None
    encoder_weights: str = "random"
    freeze: str | None = None
    resume: bool = False
    compile: bool = False
    devices: int = 1
    nodes: int = 1

    @property
    def on_gpu(self) -> bool:
        """Whether CUDA's devices train, where there are any."""
        return torch.cuda.is_available()

    @property
    def use_bf16(self) -> bool:
        """bf16 where the hardware multiplies it: emulated, as on an older CPU, it is twice as slow as FP32."""
        if self.precision != "auto":
            return self.precision == "bf16"
        if self.on_gpu:
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        cpuinfo = Path("/proc/cpuinfo")
        flags = cpuinfo.read_text() if cpuinfo.is_file() else ""
        return "amx_bf16" in flags or "avx512_bf16" in flags

    def fixed(self) -> dict[str, object]:
        """What a run and its resumed rest must have in common beside their data, by the names that errors tell."""
        names = "arch", "size", "seed", "freeze", "processes", "compile"
        own = {name: getattr(self, name) for name in names}
        return own | {"teacher": _content(self.teacher), "bf16": self.use_bf16} | recipe_fields(self.recipe)

    def first_weights(self) -> dict[str, object]:
        """What a run begins with, by the names that errors tell; its resumed rest may leave it out."""
        return {"init": _content(self.init), "encoder_weights": self.encoder_weights}

    @property
    def processes(self) -> int:
        """How many processes train together."""
        return self.devices * self.nodes

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures that the net is trained on."""
        return self.width, self.height

    @property
    def last(self) -> Path:
        """The checkpoint that `resume` goes on from."""
        return self.run_dir / "last.ckpt"


def recipe_fields(recipe: Recipe) -> dict[str, object]:
    """What a recipe says, by the names that errors tell.

    >>> recipe_fields(Recipe())["[loss] aux"]
    0.4
    """
    tables: dict[str, dict[str, object]] = dataclasses.asdict(recipe)
    return {f"[{table}] {name}": value for table, found in tables.items() for name, value in found.items()}


def _content(model: Path | None) -> str | None:
    if model is None:
        return None
    return f"sha256 {hashlib.sha256(find_model(str(model)).read_bytes()).hexdigest()[:16]}"
