"""CamVid in its public layout: `train.txt` beside `train/` and `trainannot/`, or the folders alone.

Brostow, Fauqueur, Cipolla: Semantic object classes in video (2009), with the 11 classes and the split of SegNet
(Badrinarayanan et al., 2017). The label files call void 11; here it is `types.VOID`.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from edge_seg.data.images import IMAGE_SUFFIXES, LABEL_SUFFIXES, check_label_size, label_paths, read_image, read_labels
from edge_seg.errors import DataError
from edge_seg.files import check_path, list_folder, same_file
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
    pairs = _read_list(listing) if os.path.isfile(listing) else _pair_folders(root, split)
    if not pairs:
        raise DataError(f"CamVid {split} in {root} is empty.")
    return CamVid(f"CamVid {split}", pairs)


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
    for number, line in enumerate(_read_text(listing).splitlines(), 1):
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


def _read_text(listing: Path) -> str:
    try:
        return listing.read_text(encoding="utf-8-sig")  # some editors start a file with a mark
    except OSError as error:
        raise DataError(f"{listing} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{listing} is not UTF-8 text, at byte {error.start}. Save it as UTF-8.") from None


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
    found = [p for p in list_folder(images, DataError) if p.suffix.lower() in IMAGE_SUFFIXES]
    return list(zip(found, label_paths(found, labels), strict=True))
