"""Data sets by URI, such as `camvid:PATH/test`, `folder:PATH` or `drive:seed=1`: docs/data-sets.md lists them."""

from collections.abc import Callable

from edge_seg.data.camvid import open_camvid
from edge_seg.data.camvid_raw import open_camvid_raw
from edge_seg.data.cityscapes import open_cityscapes
from edge_seg.data.drive import Drive, parse_drive
from edge_seg.data.folders import open_folder, open_masks
from edge_seg.data.union import open_union
from edge_seg.errors import DataError
from edge_seg.types import Dataset

__all__ = ["DATASET_SCHEMES", "Drive", "open_dataset"]

DATASET_SCHEMES: dict[str, Callable[[str], Dataset]] = {
    "camvid": open_camvid,
    "camvid32": open_camvid_raw,
    "cityscapes": open_cityscapes,
    "folder": open_folder,
    "mask": open_masks,
    "union": lambda location: open_union(location, open_dataset),
    "drive": parse_drive,
}


def open_dataset(uri: str) -> Dataset:
    """Open a labelled data set; DataError with the accepted forms for another scheme.

    >>> len(open_dataset("drive:seed=1,frames=20"))
    20
    """
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme not in DATASET_SCHEMES:
        raise DataError(
            f"No data set {uri!r}. Type camvid:PATH/test or drive:seed=1; the schemes are {', '.join(DATASET_SCHEMES)}."
        )
    return DATASET_SCHEMES[scheme](rest)
