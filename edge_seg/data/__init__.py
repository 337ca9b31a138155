"""Data sets by URI: `camvid:PATH/SPLIT` and `drive:seed=1`."""

from collections.abc import Callable

from edge_seg.data.camvid import CamVid, open_camvid
from edge_seg.data.drive import Drive, parse_drive
from edge_seg.errors import DataError
from edge_seg.types import Dataset

__all__ = ["DATASET_SCHEMES", "CamVid", "Drive", "open_dataset"]

DATASET_SCHEMES: dict[str, Callable[[str], Dataset]] = {"camvid": open_camvid, "drive": parse_drive}


def open_dataset(uri: str) -> Dataset:
    """Open a labelled data set; DataError with the accepted forms for another scheme.

    >>> len(open_dataset("drive:seed=1,frames=20"))
    20
    """
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme not in DATASET_SCHEMES:
        raise DataError(f"No data set {uri!r}. Type camvid:PATH/test or drive:seed=1.")
    return DATASET_SCHEMES[scheme](rest)
