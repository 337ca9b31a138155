"""Names that no file can have, and files that are written whole."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_seg.apps.cmd_export import check_out
from edge_seg.apps.sources import is_images, open_source
from edge_seg.data import open_dataset
from edge_seg.data.images import ImageFolder
from edge_seg.data.video import VideoFile
from edge_seg.errors import DataError, EdgeSegError, ModelError, SinkError, SourceError
from edge_seg.files import check_writable, list_folder, same_file, write_together, written_whole
from edge_seg.weights import find_model

NOBODY = 65534


@pytest.fixture
def closed_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that this process may not look into; root may look everywhere, so it becomes another user."""
    folder, root = tmp_path / "closed", os.geteuid() == 0
    folder.mkdir()
    folder.chmod(0)
    if root:
        os.seteuid(NOBODY)
    yield folder
    if root:
        os.seteuid(0)
    folder.chmod(0o700)


def write(path: Path) -> None:
    """Write through `written_whole`."""
    with written_whole(path) as temporary:
        temporary.write_text("new")


def source(path: Path) -> None:
    """Open as `--source`."""
    with open_source(str(path)):
        pass


OPENERS: list[tuple[Callable[[Path], object], type[EdgeSegError]]] = [
    (lambda path: find_model(str(path)), ModelError),
    (lambda path: is_images(str(path)), SourceError),
    (source, SourceError),
    (VideoFile, SourceError),
    (lambda path: open_dataset(f"camvid:{path}/val"), DataError),
    (lambda path: open_dataset(f"camvid:{path}"), DataError),
    (lambda path: ImageFolder([Path("a.png")], labels=path), DataError),
    (write, SinkError),
]
NAMES = ["model", "images", "source", "film", "split", "camvid", "labels", "out"]


@pytest.mark.parametrize(("opener", "error"), OPENERS, ids=NAMES)
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("x" * 300, "File name too long"),
        ("x/" * 3000, "File name too long"),
        ("a\0b", "it holds a NUL"),
        ("file/b", "Not a directory"),
        ("ring", "Too many levels of symbolic links"),
    ],
    ids=["name", "path", "nul", "file", "ring"],
)
def test_a_name_that_no_file_can_have_is_told(
    tmp_path: Path, opener: Callable[[Path], object], error: type[EdgeSegError], name: str, reason: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "ring").symlink_to(tmp_path / "ring")

    with pytest.raises(error, match=rf"cannot be reached: {reason}.*\. Check the name"):
        opener(tmp_path / name)


@pytest.mark.parametrize(("opener", "error"), OPENERS, ids=NAMES)
def test_a_closed_folder_is_told(
    closed_folder: Path, opener: Callable[[Path], object], error: type[EdgeSegError]
) -> None:
    with pytest.raises(error, match=r"cannot be reached: Permission denied\. .* your rights on the folders above it"):
        opener(closed_folder / "a")


def test_a_folder_that_cannot_be_listed_is_told(closed_folder: Path) -> None:
    with pytest.raises(DataError, match=r"closed cannot be listed: Permission denied\. Give a folder that exists"):
        list_folder(closed_folder, DataError)


def test_files_are_the_same_under_any_name_but_not_where_there_is_none(tmp_path: Path) -> None:
    one, link = tmp_path / "one", tmp_path / "link"
    one.touch()
    link.symlink_to(one)

    assert same_file(one, tmp_path / "." / "link")
    assert not same_file(one, tmp_path / "two")
    assert not same_file("x" * 300, "x" * 300)


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    target, link = tmp_path / "store" / "4f2a", tmp_path / "mine.onnx"
    target.write_text("old")
    link.symlink_to(Path("store") / "4f2a")

    with written_whole(link) as temporary:
        assert temporary.suffix == ".onnx"
        temporary.write_text("new")

    assert link.is_symlink() and target.read_text() == link.read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == ["mine.onnx", "store"]
    assert os.listdir(tmp_path / "store") == ["4f2a"]


def test_a_link_to_nothing_yet_gets_its_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")

    write(tmp_path / "link")

    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_text() == "new"


@pytest.mark.parametrize("check", [check_writable, lambda path: check_out(path, Path("net.pt"))], ids=["any", "onnx"])
@pytest.mark.parametrize(
    ("target", "reason"), [("nowhere/a", "nowhere is no folder. Type: mkdir -p .*nowhere"), (".", "it is a folder")]
)
def test_whether_a_link_can_be_written_is_told_by_where_it_leads(
    check: Callable[[Path], object], target: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "link.onnx").symlink_to(target)
    (tmp_path / "fine.onnx").symlink_to("new")

    check(tmp_path / "fine.onnx")
    with pytest.raises(SinkError, match=rf"link\.onnx cannot be written: .*{reason}"):
        check(tmp_path / "link.onnx")


def test_a_replaced_file_keeps_its_mode_and_a_new_one_follows_the_umask(tmp_path: Path) -> None:
    (tmp_path / "private").touch(0o600)
    before = os.umask(0o027)
    try:
        write(tmp_path / "private")
        write(tmp_path / "fresh")
    finally:
        os.umask(before)

    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("private", "fresh")]
    assert modes == [0o600, 0o640]


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / f"{'x' * 251}.mp4"

    write(path)

    assert path.read_text() == "new"


def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to(os.devnull)

    with pytest.raises(SinkError, match=r"null cannot be written: it is no ordinary file\. Choose another name"):
        write(tmp_path / "null")


@pytest.mark.parametrize("last", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_of_files_that_go_together_nothing_is_touched_where_one_is_no_file(
    last: Callable[[Path], None], tmp_path: Path
) -> None:
    first, other = tmp_path / "a", tmp_path / "b"
    first.write_text("old")
    last(other)
    kind = stat.S_IFMT(other.stat().st_mode)

    for files in ({first: b"new", other: b"new"}, {other: b"new", first: b"new"}):
        with pytest.raises(SinkError, match="b cannot be written: it is no ordinary file"):
            write_together(files)
    assert first.read_text() == "old" and stat.S_IFMT(other.stat().st_mode) == kind
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_where_files_that_go_together_fail_what_another_wrote_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = tmp_path / "a", tmp_path / "b"

    def while_another_writes(path: Path, content: bytes) -> int:
        other.write_text("of another")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", while_another_writes)
    with pytest.raises(SinkError, match="a cannot be written: No space left"):
        write_together({first: b"new", other: b"new"})
    assert other.read_text() == "of another" and not first.exists()


def test_a_file_that_could_not_be_put_back_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").write_text("of another")

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        with pytest.raises(SinkError, match=r"closed cannot be replaced: Permission denied\. Delete it, or choose"):
            write_together({tmp_path / "new": b"new", tmp_path / "closed": b"new"})
    assert os.listdir(tmp_path) == ["closed"] and (tmp_path / "closed").read_text() == "of another"
