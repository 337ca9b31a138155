"""CamVid in its public layout: `train.txt` beside `train/` and `trainannot/`, or the folders alone.

Brostow, Fauqueur, Cipolla: Semantic object classes in video (2009), with the 11 classes and the split of SegNet
(Badrinarayanan et al., 2017). The label files call void 11; here it is `types.VOID`.
"""

import os
from pathlib import Path

from edge_seg.data.images import IMAGE_SUFFIXES, LABEL_SUFFIXES, read_labels
from edge_seg.data.pairs import PairedImages, pair_by_stem
from edge_seg.errors import DataError
from edge_seg.files import check_path, read_text, same_file
from edge_seg.spec import CAMVID_CLASSES
from edge_seg.types import UInt8Array

SPLITS = ("train", "val", "test")
FILE_VOID = 11
CAMVID_LICENCE = "Trained on CamVid: for research, non-commercial use only"


def open_camvid(location: str) -> PairedImages:
    """Open `PATH/SPLIT`, or `PATH` for train, where PATH holds the public layout; DataError where it does not."""
    path = Path(location)
    root, split = (path.parent, path.name) if path.name in SPLITS else (path, "train")
    if not check_path(root, DataError).is_dir():
        raise DataError(f"{root} is not a folder. Give CamVid as camvid:PATH/SPLIT, SPLIT one of {', '.join(SPLITS)}.")
    listing = root / f"{split}.txt"
    pairs = _read_list(listing) if os.path.isfile(listing) else _pair_folders(root, split)
    if not pairs:
        raise DataError(f"CamVid {split} in {root} is empty.")
    return PairedImages(f"CamVid {split}", CAMVID_CLASSES, pairs, _read_truth, CAMVID_LICENCE)


def _read_truth(path: Path) -> UInt8Array:
    return read_labels(path, classes=len(CAMVID_CLASSES), void=FILE_VOID)


def layout_hint(images: Path, labels: Path) -> str:
    """What to type, after a space, for folders of images and labels that lie as CamVid's do; nothing for others."""
    images, labels = Path(os.path.abspath(images)), Path(os.path.abspath(labels))
    beside, split = images.parent / f"{images.name}annot", labels.name.removesuffix("annot")
    if os.path.isdir(beside) and not same_file(beside, labels):
        own = f" If they are CamVid's own, type --source camvid:{images}" if images.name in SPLITS else ""
        return f" There are labels in {beside}: type --labels {beside}.{own}"
    if labels.name == f"{split}annot" and split in SPLITS:
        return f" If they are CamVid's own, in which {FILE_VOID} is void, type --source camvid:{labels.parent}/{split}"
    return ""


def _read_list(listing: Path) -> list[tuple[Path, Path]]:
    """Pairs of a list file; SegNet's lists start with paths of another machine, so the last two parts count."""
    root, pairs = listing.parent, []
    for number, line in enumerate(read_text(listing, DataError).splitlines(), 1):
        if not line.strip():
            continue
        words = _part(root, line.strip())
        if len(words) != 2:
            raise DataError(
                f"{listing}, line {number}: expected 'IMAGE LABELS', found {line!r}. "
                "Where a path holds spaces, write a tab between the two."
            )
        image, labels = _find(root, words[0], IMAGE_SUFFIXES), _find(root, words[1], LABEL_SUFFIXES)
        if image is None or labels is None:
            raise DataError(
                f"{_place(root, words[0] if image is None else words[1])} is listed in {listing}, line {number}, but "
                "missing (nor is there one with another image suffix). Put it there, or remove the line."
            )
        pairs.append((image, labels))
    return pairs


def _part(root: Path, line: str) -> list[str]:
    """Image and labels of a line, parted by a tab, or by the only space at which both halves are files."""
    words = [word.strip() for word in line.split("\t") if word.strip()] if "\t" in line else line.split()
    if "\t" in line or len(words) <= 2:
        return words
    cuts = {(line[:at].strip(), line[at:].strip()) for at, sign in enumerate(line) if sign == " "}
    whole = [c for c in cuts if _find(root, c[0], IMAGE_SUFFIXES) and _find(root, c[1], LABEL_SUFFIXES)]
    return list(whole[0]) if len(whole) == 1 else words


def _place(root: Path, word: str) -> Path:
    return root.joinpath(*Path(word).parts[-2:])


def _find(root: Path, word: str, suffixes: tuple[str, ...]) -> Path | None:
    """The file that a list names, or its like with another suffix."""
    wanted = _place(root, word)
    candidates = [wanted, *(wanted.parent / f"{wanted.stem}{suffix}" for suffix in suffixes)]
    return next((path for path in candidates if os.path.isfile(path)), None)


def _pair_folders(root: Path, split: str) -> list[tuple[Path, Path]]:
    images, labels = root / split, root / f"{split}annot"
    if not (os.path.isdir(images) and os.path.isdir(labels)):
        raise DataError(f"{root} holds neither {split}.txt nor the folders {split}/ and {split}annot/.")
    return pair_by_stem(images, labels)
