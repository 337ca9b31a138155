"""CamVid as its authors give it: 960x720 pictures and label pictures in the colours of 32 classes.

Brostow, Fauqueur, Cipolla: Semantic object classes in video (2009). Layouts: the authors' (`701_StillsRaw_full/`,
`LabeledApproved_full/`, `label_colors.txt`), or the common copies' (`SPLIT/`, `SPLIT_labels/`, `class_dict.csv`).
"""

from pathlib import Path

from edge_seg.data.camvid import CAMVID_LICENCE, SPLITS
from edge_seg.data.class_table import read_class_table
from edge_seg.data.images import IMAGE_SUFFIXES
from edge_seg.data.pairs import PairedImages, check_one_to_one, need_folder, need_labels, need_pairs
from edge_seg.errors import DataError
from edge_seg.files import list_folder

EXAMPLE = "camvid32:CamVid or camvid32:CamVid/test"
TABLES = ("label_colors.txt", "class_dict.csv")
LABEL_END = "_L.png"


def open_camvid_raw(location: str) -> PairedImages:
    """Open PATH, all 701 pictures, or `PATH/SPLIT`.

    DataError where PATH holds neither layout, and for an image without labels or labels without an image.
    """
    path = Path(location)
    split = path.name if path.name in SPLITS else ""
    root = path.parent if split else path
    names = (split, f"{split}_labels") if split else ("701_StillsRaw_full", "LabeledApproved_full")
    images, labels = (need_folder(root / name, EXAMPLE) for name in names)
    tables = [root / name for name in TABLES if (root / name).is_file()]
    if not tables:
        raise DataError(f"{root} has no table of colours: neither {' nor '.join(TABLES)}.")
    table = read_class_table(tables[0])
    found = [p for p in list_folder(images, DataError) if p.suffix.lower() in IMAGE_SUFFIXES]
    pairs = [(image, need_labels(image, labels / f"{image.stem}{LABEL_END}")) for image in found]
    kept = [path for path in list_folder(labels, DataError) if path.name.endswith(LABEL_END)]
    check_one_to_one(images, labels, need_pairs(pairs, str(images)), kept)
    return PairedImages(f"CamVid32 {split}".strip(), table.classes, pairs, table.read_truth, CAMVID_LICENCE)
