"""CamVid in its public layout: `train.txt` beside `train/` and `trainannot/`, or the folders alone.

Brostow, Fauqueur, Cipolla: Semantic object classes in video (2009), with the 11 classes and the split of SegNet
(Badrinarayanan et al., 2017). The label files call void 11; here it is `types.VOID`.
"""

import time
from collections.abc import Iterator
from pathlib import Path

from edge_seg.data.images import IMAGE_SUFFIXES, check_label_size, label_paths, read_image, read_labels
from edge_seg.errors import DataError
from edge_seg.files import check_path, list_folder
from edge_seg.spec import CAMVID_CLASSES
from edge_seg.types import Frame

SPLITS = ("train", "val", "test")
FILE_VOID = 11


class CamVid:
    """One split of CamVid, or several joined: frames with image uint8 [H, W, 3] BGR and truth uint8 [H, W]."""

    class_names = tuple(c.name for c in CAMVID_CLASSES)

    def __init__(self, name: str, pairs: list[tuple[Path, Path]]) -> None:
        self.name = name
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Frame:
        image_path, labels_path = self.pairs[index]
        image = read_image(image_path)
        truth = read_labels(labels_path, classes=len(self.class_names), void=FILE_VOID)
        check_label_size(labels_path, truth, image)
        return Frame(image, index, time.perf_counter(), truth, image_path.stem)

    def __iter__(self) -> Iterator[Frame]:
        return (self[index] for index in range(len(self)))


def open_camvid(location: str) -> CamVid:
    """Open `PATH/SPLIT`, or `PATH` for train, where PATH holds the public layout; DataError where it does not."""
    path = Path(location)
    root, split = (path.parent, path.name) if path.name in SPLITS else (path, "train")
    if not check_path(root, DataError).is_dir():
        raise DataError(f"{root} is not a folder. Give CamVid as camvid:PATH/SPLIT, SPLIT one of {', '.join(SPLITS)}.")
    listing = root / f"{split}.txt"
    pairs = _read_list(listing) if listing.is_file() else _pair_folders(root, split)
    if not pairs:
        raise DataError(f"CamVid {split} in {root} is empty.")
    return CamVid(f"CamVid {split}", pairs)


def _read_list(listing: Path) -> list[tuple[Path, Path]]:
    """Pairs of a list file; SegNet's lists start with paths of another machine, so the last two parts count."""
    pairs = []
    for number, line in enumerate(listing.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if len(words) not in (0, 2):
            raise DataError(f"{listing}, line {number}: expected 'IMAGE LABELS', found {line!r}.")
        if words:
            image, labels = (_locate(listing.parent, word) for word in words)
            pairs.append((image, labels))
    return pairs


def _locate(root: Path, word: str) -> Path:
    wanted = root.joinpath(*Path(word).parts[-2:])
    candidates = [wanted, *(wanted.with_suffix(suffix) for suffix in IMAGE_SUFFIXES)]
    for path in candidates:
        if path.is_file():
            return path
    raise DataError(f"{wanted} is listed in {root}, but missing (nor is there one with another image suffix).")


def _pair_folders(root: Path, split: str) -> list[tuple[Path, Path]]:
    images, labels = root / split, root / f"{split}annot"
    if not (images.is_dir() and labels.is_dir()):
        raise DataError(f"{root} holds neither {split}.txt nor the folders {split}/ and {split}annot/.")
    found = [p for p in list_folder(images, DataError) if p.suffix.lower() in IMAGE_SUFFIXES]
    return list(zip(found, label_paths(found, labels), strict=True))
