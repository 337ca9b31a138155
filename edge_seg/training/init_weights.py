"""A net's first weights out of a file: what fits by name and shape is taken, and every tensor is accounted for."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from edge_seg.errors import DataError
from edge_seg.models import SegmentationNet
from edge_seg.training.unfold import executed, settle, unfolded
from edge_seg.training.weight_files import WeightFile, read_weights

PREFIXES = ("module.", "_orig_mod.", "net.", "model.")
"""What wrappers put before a net's names."""

LEAST_SHARE = 0.1
"""Of a net's kernels and matrices, that have to fit: below it, net and file have nothing to do with each other.
Vectors do not count, for those of any two nets are often of one length."""

COUNTER = ".num_batches_tracked"
"""BatchNorm's count of its steps: of one shape in all nets, so it is taken but says nothing."""

SHOWN = 3
"""Names of a kind on the summary's line; the file of the run has them all."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reshaped:
    """A tensor that file and net both have, with other shapes."""

    name: str
    found: Shape
    wanted: Shape


@dataclass(frozen=True, slots=True)
class InitReport:
    """What became of a file's tensors: taken, of another shape, missing in the file, or of no use to the net."""

    source: str
    taken: dict[str, Shape]
    reshaped: tuple[Reshaped, ...]
    missing: dict[str, Shape]
    unused: dict[str, Shape]

    @property
    def wanted(self) -> int:
        """How many tensors the net has."""
        return len(self.taken) + len(self.reshaped) + len(self.missing)

    @property
    def fitting(self) -> int:
        """How many kernels and matrices were taken."""
        return sum(len(shape) > 1 for shape in self.taken.values())

    @property
    def wanted_kernels(self) -> int:
        """How many kernels and matrices the net has."""
        others = [*self.missing.values(), *(tensor.wanted for tensor in self.reshaped)]
        return self.fitting + sum(len(shape) > 1 for shape in others)

    def summary(self) -> str:
        """One line: how many were taken, and the first names of what was not."""
        parts = [f"{len(self.taken)} of {self.wanted} tensors taken"]
        parts += [
            f"{r.name} is {list(r.found)} there, {list(r.wanted)} here: starts anew" for r in self.reshaped[:SHOWN]
        ]
        if len(self.reshaped) > SHOWN:
            parts.append(f"{len(self.reshaped) - SHOWN} more of another shape start anew")
        if self.missing:
            parts.append(f"{len(self.missing)} missing there start anew ({_first(self.missing)})")
        if self.unused:
            parts.append(f"{len(self.unused)} not used ({_first(self.unused)})")
        return f"--init {self.source}: {'; '.join(parts)}"

    def text(self) -> str:
        """A line per tensor, after the summary."""
        lines = [self.summary(), ""]
        lines += [f"taken     {name} {list(shape)}" for name, shape in self.taken.items()]
        lines += [f"anew      {r.name} {list(r.wanted)}: {list(r.found)} in the file" for r in self.reshaped]
        lines += [f"anew      {name} {list(shape)}: not in the file" for name, shape in self.missing.items()]
        lines += [f"not used  {name} {list(shape)}" for name, shape in self.unused.items()]
        return "\n".join(lines) + "\n"


def init_net(net: SegmentationNet, path: Path, arch: str, images: Iterable[Tensor]) -> InitReport:
    """Load what fits of the file `path` into `net`, an `arch`; DataError where nearly nothing does.

    `images`, batches of normalised pictures [N, 3, H, W], set the statistics of what an export had folded.
    """
    file = read_weights(path)
    wanted = _tensors(net)
    tensors = unfolded(file.tensors, file.folded, net) if file.folded else _best_names(file.tensors, wanted)
    report = _compare(path.name, without_counters(tensors), wanted)
    if report.fitting < LEAST_SHARE * report.wanted_kernels:
        raise _nothing_fits(report, path, arch, file)
    counters = [name for name in net.state_dict() if name.endswith(COUNTER) and name in tensors]
    net.load_state_dict({name: tensors[name] for name in [*report.taken, *counters]}, strict=False)
    if file.folded:
        norms = executed(net)[1].values()
        # A BatchNorm that was not folded, as one before its convolution, has statistics of its own in the file.
        settle(net, images, [n for n in norms if f"{n}.bias" in report.taken and f"{n}.bias" not in file.tensors])
    return report


def _tensors(net: SegmentationNet) -> dict[str, Tensor]:
    return without_counters(net.state_dict())


def without_counters(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All but BatchNorm's step counters, which fit everywhere and say nothing.

    >>> list(without_counters({"norm.weight": Tensor([1.0]), "norm.num_batches_tracked": Tensor([3.0])}))
    ['norm.weight']
    """
    return {name: tensor for name, tensor in tensors.items() if not name.endswith(COUNTER)}


def _best_names(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` with the prefixes stripped, or put on, that make most of them fit."""

    def fitting(named: dict[str, Tensor]) -> int:
        return sum(name in wanted and tensor.shape == wanted[name].shape for name, tensor in named.items())

    return max(_namings(dict(tensors)), key=fitting)


def _namings(tensors: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    while True:
        yield tensors
        yield {f"encoder.{name}": tensor for name, tensor in tensors.items()}  # a classifier's, for an encoder net
        stripped = {strip_prefix(name): tensor for name, tensor in tensors.items()}
        if stripped.keys() == tensors.keys():
            return
        tensors = stripped


def strip_prefix(name: str) -> str:
    """`name` without the first of PREFIXES that it starts with.

    >>> strip_prefix("module.net.head.weight"), strip_prefix("head.weight")
    ('net.head.weight', 'head.weight')
    """
    return next((name.removeprefix(prefix) for prefix in PREFIXES if name.startswith(prefix)), name)


def _compare(source: str, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> InitReport:
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in wanted.items()}
    return InitReport(
        source,
        taken={name: shape for name, shape in shapes.items() if found.get(name) == shape},
        reshaped=tuple(Reshaped(n, found[n], s) for n, s in shapes.items() if n in found and found[n] != s),
        missing={name: shape for name, shape in shapes.items() if name not in found},
        unused={name: shape for name, shape in found.items() if name not in shapes},
    )


def _nothing_fits(report: InitReport, path: Path, arch: str, file: WeightFile) -> DataError:
    there = {r.name: r.found for r in report.reshaped} | report.unused
    here = {r.name: r.wanted for r in report.reshaped} | report.missing
    holds = f" holds {file.arch} and" if file.arch else ""
    hint = f"Choose --arch {file.arch}." if file.arch else "Choose the --arch that the file is of."
    return DataError(
        f"{path}{holds} does not fit {arch}: {report.fitting} of {report.wanted_kernels} "
        "weight tensors have name and shape.\n"
        f"  found:    {_first(there)}\n  expected: {_first(here)}\n{hint}"
    )


def _first(shapes: Mapping[str, Shape]) -> str:
    """The first names with their shapes.

    >>> _first({"a": (1,), "b": (2, 3), "c": (), "d": ()})
    'a [1], b [2, 3], c [], ...'
    """
    shown = [f"{name} {list(shape)}" for name, shape in list(shapes.items())[:SHOWN]]
    return ", ".join(shown + ["..."] * (len(shapes) > SHOWN))
