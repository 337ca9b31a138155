"""The calibration set: pictures spread evenly over a data set, or those of any sources that differ most."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np

from edge_seg.calib.candidates import Candidate, look_at, share_out, spread
from edge_seg.calib.diversity import Floats, choose, find_scenes
from edge_seg.calib.domain import BLANK_CONTRAST, class_warnings, fit_warnings, picture_warnings, shown_in
from edge_seg.calib.manifest import Manifest, Picture, manifest_hash
from edge_seg.calib.pictures import Pictures, open_pictures
from edge_seg.errors import DataError
from edge_seg.resize import resize_image
from edge_seg.segmenter import open_segmenter
from edge_seg.spec import ModelSpec
from edge_seg.types import Dataset, UInt8Array
from edge_seg.weights import find_model

FEWEST_IMAGES = 8
"""Ranges of fewer pictures are those of a scene, not of a domain."""

CANDIDATES = 10
"""Candidates for each picture that is wanted, at most."""


def pick_indices(available: int, wanted: int) -> list[int]:
    """Indices of `wanted` pictures spread evenly over `available`: neighbours in a drive look alike.

    >>> pick_indices(22, 8)
    [0, 3, 6, 9, 12, 15, 18, 21]
    """
    images = min(available, wanted)
    _need_enough(images)
    return [int(i) for i in np.linspace(0, available - 1, images).round()]


def _need_enough(images: int, found: str = "") -> None:
    if images < FEWEST_IMAGES:
        raise DataError(f"{images} calibration images are too few{found}; give at least {FEWEST_IMAGES}, better 100.")


def calibration_images(dataset: Dataset, spec: ModelSpec, wanted: int) -> Iterator[UInt8Array]:
    """Pictures uint8 [1, H, W, 3] BGR at the model's size, chosen by `pick_indices`."""
    for index in pick_indices(len(dataset), wanted):
        yield resize_image(dataset[index].image, spec.width, spec.height)[None]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The sources by URI, opened, and the places in each of them that are candidates for `wanted` pictures."""

    uris: tuple[str, ...]
    sources: tuple[Pictures, ...]
    places: tuple[list[int], ...]
    wanted: int
    seed: int

    @property
    def candidates(self) -> int:
        """How many pictures are to be looked at."""
        return sum(map(len, self.places))


@dataclass(frozen=True, slots=True)
class Selection:
    """A calibration set, and what is told of it.

    `blank` counts the candidates that show nothing. `classes` has each class's mean share of the picked pictures and
    the number of them that show it, by the model's labels; `mirrored` is the mean `mirror_agreement` of candidates.
    Both are empty without a model.
    """

    manifest: Manifest
    available: tuple[int, ...]
    candidates: int
    unreadable: int
    blank: int
    classes: dict[str, tuple[float, int]] = field(default_factory=dict)
    mirrored: float | None = None
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """The keys of `edge-seg calib images --json`."""
        pictures = self.manifest.pictures
        picked = [sum(p.source == number for p in pictures) for number in range(len(self.available))]
        rows = zip(self.manifest.sources, self.available, picked, strict=True)
        light = sorted(picture.brightness for picture in pictures)
        return {
            "images": len(pictures),
            "hash": manifest_hash(self.manifest),
            "sources": [{"uri": uri, "available": available, "images": count} for uri, available, count in rows],
            "candidates": self.candidates,
            "unreadable": self.unreadable,
            "blank": self.blank,
            "scenes": len({picture.scene for picture in pictures}),
            "brightness": {"least": light[0], "median": light[len(light) // 2], "most": light[-1]},
            "classes": {name: {"share": share, "images": count} for name, (share, count) in self.classes.items()},
            "mirror_agreement": self.mirrored,
            "warnings": list(self.warnings),
        }


def plan_images(uris: Sequence[str], wanted: int, *, seed: int = 1) -> Plan:
    """Open the sources and spread up to CANDIDATES candidates for each wanted picture over them.

    `seed` chooses within equal stretches of each source. DataError or SourceError for a source that cannot be opened,
    and DataError for too few pictures.
    """
    _need_enough(wanted)
    sources = tuple(open_pictures(uri) for uri in uris)
    _need_enough(min(wanted, sum(map(len, sources))))
    counts = share_out([len(source) for source in sources], CANDIDATES * wanted)
    places = tuple(
        spread(len(source), count, np.random.default_rng([seed, number]))
        for number, (source, count) in enumerate(zip(sources, counts, strict=True))
    )
    return Plan(tuple(uris), sources, places, wanted, seed)


def pick_images(plan: Plan, *, model: str | None = None, on_image: Callable[[], None] = lambda: None) -> Selection:
    """Choose of the candidates those that differ most by `diversity.choose`; the same set for the same plan and model.

    With `model`, a path or bundled name, the classes of its labels take part in the choice. DataError where too few
    pictures are left, without those that are damaged, blank or near copies of others; ModelError for the model.
    `on_image` is called after each candidate.
    """
    path = None if model is None else find_model(model)
    with nullcontext() if path is None else open_segmenter(path) as segment:
        spec = None if segment is None else segment.spec
        looked = look_at(plan.sources, plan.places, segment=segment, on_image=on_image)
    pairs = list(zip(looked, _number_scenes(looked), strict=True))
    seen = [(candidate, scene) for candidate, scene in pairs if candidate.look.contrast >= BLANK_CONTRAST]
    chosen = _choose(seen, plan)
    pictures = tuple(_to_picture(candidate, scene) for candidate, scene in chosen)
    manifest = Manifest(plan.uris, pictures, plan.seed)
    if path is not None and spec is not None:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        manifest = dataclasses.replace(manifest, model=spec.name, model_sha256=digest)
    counts = tuple(map(len, plan.sources))
    selection = Selection(manifest, counts, plan.candidates, plan.candidates - len(looked), len(looked) - len(seen))
    told = dataclasses.replace(selection, warnings=tuple(picture_warnings(pictures, plan.wanted)))
    return told if spec is None else _judge(told, _shares(chosen), looked, spec)


def _number_scenes(candidates: Sequence[Candidate]) -> list[int]:
    """The scene of each candidate, counted over all sources; `candidates` are in order of their sources."""
    scenes: list[int] = []
    for source in sorted({candidate.source for candidate in candidates}):
        thumbnails = [candidate.look.thumbnail for candidate in candidates if candidate.source == source]
        first = scenes[-1] + 1 if scenes else 0
        scenes += [first + scene for scene in find_scenes(np.stack(thumbnails))]
    return scenes


def _choose(seen: Sequence[tuple[Candidate, int]], plan: Plan) -> list[tuple[Candidate, int]]:
    """The chosen candidates with their scenes; DataError where too few are left."""
    lost = f" (of {plan.candidates} candidates, the others damaged, of one colour, or near copies)"
    _need_enough(len(seen), lost)
    shares = None if seen[0][0].shares is None else _shares(seen)
    looks, scenes = [candidate.look for candidate, _ in seen], [scene for _, scene in seen]
    numbers = choose(looks, scenes, plan.wanted, shares=shares, seed=plan.seed)
    _need_enough(len(numbers), lost)
    return [seen[number] for number in numbers]


def _shares(pairs: Sequence[tuple[Candidate, int]]) -> Floats:
    """The classes' shares [K, C] of candidates that a model has seen."""
    return np.array([candidate.shares for candidate, _ in pairs], np.float32)


def _to_picture(candidate: Candidate, scene: int) -> Picture:
    look = candidate.look
    return Picture(
        source=candidate.source,
        index=candidate.index,
        name=candidate.name,
        width=candidate.width,
        height=candidate.height,
        sha256=candidate.sha256,
        scene=scene,
        brightness=look.brightness,
        contrast=look.contrast,
        saturation=look.saturation,
    )


def _judge(selection: Selection, shares: Floats, looked: Sequence[Candidate], spec: ModelSpec) -> Selection:
    """The selection with what the model's labels say of it."""
    means, shown = shares.mean(axis=0), shown_in(shares)
    classes = {name: (round(float(means[n]), 5), shown[n]) for n, name in enumerate(spec.class_names)}
    mirrored = float(np.mean([candidate.mirrored for candidate in looked if candidate.mirrored is not None]))
    told = class_warnings(shares, spec) + fit_warnings(selection.manifest.pictures, mirrored, spec)
    return dataclasses.replace(
        selection, classes=classes, mirrored=round(mirrored, 4), warnings=(*selection.warnings, *told)
    )
