"""Image files, label files and folders of them."""

import logging
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_seg.data.images import ImageFolder, label_paths, list_images, natural_key, read_image, read_labels
from edge_seg.errors import DataError, SourceError
from edge_seg.types import VOID, UInt8Array

MakePng = Callable[..., bytes]


def write(path: Path, image: UInt8Array) -> Path:
    """Write a picture with the suffix's codec."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(cv2.imencode(path.suffix, image)[1]))
    return path


def picture(height: int = 30, width: int = 40) -> UInt8Array:
    """Noise, which no codec shrinks to nothing."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@given(st.lists(st.integers(0, 10**6)))
def test_numbers_in_names_count_as_numbers(numbers: list[int]) -> None:
    names = [f"frame{number}.png" for number in numbers]

    assert sorted(names, key=natural_key) == [f"frame{number}.png" for number in sorted(numbers)]


@given(st.lists(st.text()))
def test_any_names_can_be_ordered(names: list[str]) -> None:
    assert sorted(sorted(names, key=natural_key)) == sorted(names)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_reads_every_suffix(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", np.full((8, 8, 3), (10, 120, 230), np.uint8))

    assert np.abs(read_image(path).astype(int) - (10, 120, 230)).max() < 12


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.6])
def test_a_truncated_image_is_an_error(tmp_path: Path, suffix: str, share: float) -> None:
    path = write(tmp_path / f"a{suffix}", picture())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    with pytest.raises(DataError, match=r"a\..* is damaged or no picture. Replace it"):
        read_image(path)


def test_a_missing_image_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.png cannot be read: No such file"):
        read_image(tmp_path / "a.png")


def test_lists_a_folder_a_glob_and_a_file_in_natural_order(tmp_path: Path) -> None:
    for name in ("f10.png", "f9.jpg", "f1.webp"):
        write(tmp_path / name, picture())
    (tmp_path / "notes.txt").touch()

    assert [p.name for p in list_images(str(tmp_path))] == ["f1.webp", "f9.jpg", "f10.png"]
    assert [p.name for p in list_images(f"{tmp_path}/*.png")] == ["f10.png"]
    assert [p.name for p in list_images(f"{tmp_path}/f9.jpg")] == ["f9.jpg"]


@pytest.mark.parametrize("location", ["", "/*.png", "/nowhere"])
def test_no_image_is_an_error(tmp_path: Path, location: str) -> None:
    with pytest.raises(SourceError, match=r"holds no image. Expected files ending in \.png, \.jpg"):
        list_images(f"{tmp_path}{location}")


def test_a_damaged_image_is_skipped_counted_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("0.png", "2.png"):
        write(tmp_path / name, picture())
    (tmp_path / "1.png").write_bytes(b"no picture")
    folder = ImageFolder(list_images(str(tmp_path)))

    with caplog.at_level(logging.WARNING):
        frames = list(folder)

    assert [(f.index, f.name) for f in frames] == [(0, "0"), (2, "2")]
    assert folder.skipped == 1
    assert "1.png is damaged" in caplog.text


@given(values=st.lists(st.sampled_from([0, 1, 2, 11]), min_size=1, max_size=30))
def test_labels_come_back_with_void(tmp_path_factory: pytest.TempPathFactory, values: list[int]) -> None:
    path = write(tmp_path_factory.mktemp("labels") / "a.png", np.array([values], np.uint8))

    assert read_labels(path, classes=3, void=11).tolist() == [[VOID if v == 11 else v for v in values]]


def test_unknown_label_values_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", np.array([[0, 7, 9, 255]], np.uint8))

    with pytest.raises(DataError, match=r"a\.png holds the values \[7, 9\]; expected 0 to 6, or 255 for void"):
        read_labels(path, classes=7)


def test_coloured_labels_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", picture())

    with pytest.raises(DataError, match=r"a\.png is uint8 \[30, 40, 3\]; labels are 8-bit pictures of one channel"):
        read_labels(path, classes=3)


@pytest.mark.parametrize(
    ("options", "name"), [([cv2.IMWRITE_WEBP_QUALITY, 80], "a.webp"), ([], "a.jpg"), ([], "a.png")]
)
def test_labels_that_are_compressed_with_loss_are_refused_under_any_name(
    tmp_path: Path, options: list[int], name: str
) -> None:
    encoded = cv2.imencode(".webp" if options else ".jpg", np.zeros((30, 40), np.uint8), options)[1]
    (tmp_path / name).write_bytes(bytes(encoded))

    with pytest.raises(DataError, match=rf"{name} is compressed with loss"):
        read_labels(tmp_path / name, classes=3)


def test_a_lossy_picture_in_an_extended_webp_is_found_behind_its_other_chunks(tmp_path: Path) -> None:
    plain = bytes(cv2.imencode(".webp", np.zeros((30, 40), np.uint8), [cv2.IMWRITE_WEBP_QUALITY, 80])[1])
    extended = b"VP8X" + (10).to_bytes(4, "little") + bytes([0x08, 0, 0, 0, 39, 0, 0, 29, 0, 0])
    odd = b"EXIF" + (3).to_bytes(4, "little") + b"abc" + b"\0"
    body = b"WEBP" + extended + odd + plain[12:]
    (tmp_path / "a.webp").write_bytes(b"RIFF" + len(body).to_bytes(4, "little") + body)

    with pytest.raises(DataError, match=r"a\.webp is compressed with loss"):
        read_labels(tmp_path / "a.webp", classes=3)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_label_pngs_of_few_bits_hold_the_numbers_themselves(tmp_path: Path, make_png: MakePng, bits: int) -> None:
    labels = (np.arange(2 * 9).reshape(2, 9) % 2**bits).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(make_png(labels, bits))

    assert read_labels(tmp_path / "a.png", classes=18).tolist() == labels.tolist()


def test_a_one_bit_label_png_of_opencvs_is_no_void(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 1, 0]], np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), 255 * labels, [cv2.IMWRITE_PNG_BILEVEL, 1])

    assert read_labels(tmp_path / "a.png", classes=2).tolist() == labels.tolist()


def test_palette_labels_are_refused_with_the_cause(tmp_path: Path, make_png: MakePng) -> None:
    palette = bytes([0, 0, 0, 128, 0, 0, 0, 128, 0])
    (tmp_path / "a.png").write_bytes(make_png(np.array([[0, 1, 2, 1]], np.uint8), 2, palette))

    told = r"a\.png is a palette picture; labels are .* of one channel\. .* of the numbers 0 to 2, and 255 for void\."
    with pytest.raises(DataError, match=told):
        read_labels(tmp_path / "a.png", classes=3)


def test_grey_labels_in_three_channels_are_those_of_one(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 2, VOID]], np.uint8)
    path = write(tmp_path / "a.png", np.repeat(labels[:, :, None], 3, axis=2))

    assert read_labels(path, classes=3).tolist() == labels.tolist()


def test_of_several_labels_of_a_stem_png_is_taken(tmp_path: Path) -> None:
    images = [write(tmp_path / "images" / "a.jpg", picture())]
    for suffix in (".bmp", ".jpg", ".png", ".tif"):
        write(tmp_path / "labels" / f"a{suffix}", np.zeros((30, 40), np.uint8))

    assert label_paths(images, tmp_path / "labels") == [tmp_path / "labels" / "a.png"]


def folder_with_labels(tmp_path: Path, labels: UInt8Array) -> ImageFolder:
    """One picture of 40x30 with the given labels of three classes."""
    write(tmp_path / "images" / "a.jpg", picture())
    write(tmp_path / "labels" / "a.png", labels)
    read_truth = partial(read_labels, classes=3)
    return ImageFolder(list_images(f"{tmp_path}/images"), labels=tmp_path / "labels", read_truth=read_truth)


def test_labels_go_with_the_image_of_their_stem(tmp_path: Path) -> None:
    (frame,) = folder_with_labels(tmp_path, np.full((30, 40), 2, np.uint8))

    assert frame.truth is not None
    assert np.array_equal(frame.truth, np.full((30, 40), 2, np.uint8))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((60, 80), np.uint8), r"a\.png is 80x60, but its image is 40x30\. Labels must have the image's size"),
        (np.full((30, 40), 3, np.uint8), r"a\.png holds the values \[3\]; expected 0 to 2, or 255 for void"),
    ],
)
def test_wrong_labels_name_the_file(tmp_path: Path, labels: UInt8Array, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(folder_with_labels(tmp_path, labels))


def test_missing_labels_are_an_error_at_once(tmp_path: Path) -> None:
    folder_with_labels(tmp_path, np.zeros((30, 40), np.uint8))
    write(tmp_path / "images" / "b.jpg", picture())

    with pytest.raises(DataError, match=r"labels lacks the labels of 1 of 2 images, the first b\.png"):
        ImageFolder(list_images(f"{tmp_path}/images"), labels=tmp_path / "labels")
    with pytest.raises(DataError, match=r"nowhere is not a folder. Give the folder of the label pictures"):
        ImageFolder(list_images(f"{tmp_path}/images"), labels=tmp_path / "nowhere")


def test_an_image_that_claims_to_be_huge_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", picture())
    content = bytearray(path.read_bytes())
    content[16:24] = (200_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)

    with pytest.raises(DataError, match=r"a\.png is damaged or no picture"):
        read_image(path)
