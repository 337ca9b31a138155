"""Pictures without truth: the same files, and label files are not opened."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from edge_seg.data import open_dataset
from edge_seg.data.pictures import pictures_of


def test_label_files_are_not_opened(tmp_path: Path, write_camvid: Callable[..., None]) -> None:
    write_camvid(tmp_path, "val")
    dataset = open_dataset(f"camvid:{tmp_path}/val")
    whole = list(dataset)
    for path in (tmp_path / "valannot").iterdir():
        path.write_bytes(b"damaged")

    found = list(pictures_of(dataset))

    assert [(frame.index, frame.name, frame.truth) for frame in found] == [(0, "a", None), (1, "b", None)]
    assert all(np.array_equal(frame.image, before.image) for frame, before in zip(found, whole, strict=True))


def test_a_union_gives_the_pictures_of_its_sets(tmp_path: Path, write_camvid: Callable[..., None]) -> None:
    write_camvid(tmp_path, "val")
    (tmp_path / "classes.csv").write_text("name,r,g,b\nSky,1,2,3\n")
    sets = [f"camvid:{tmp_path}/val", "drive:seed=1,frames=2,size=96x72"]
    text = "".join(f'[[set]]\ndata = "{data}"\n' for data in sets)
    (tmp_path / "all.toml").write_text(f'classes = "classes.csv"\n{text}')
    (tmp_path / "valannot" / "a.png").write_bytes(b"damaged")

    found = list(pictures_of(open_dataset(f"union:{tmp_path / 'all.toml'}")))

    assert [(frame.index, frame.name) for frame in found] == [
        *((0, "a"), (1, "b")),
        *((2, "drive_1_000000"), (3, "drive_1_000001")),
    ]
    assert all(frame.truth is None for frame in found)
