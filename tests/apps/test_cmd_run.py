"""`edge-seg run` as people type it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edge_seg.apps.cli import app, main
from edge_seg.data import open_dataset
from edge_seg.errors import DataError, ModelError, SinkError, SourceError
from edge_seg.metrics import ConfusionMatrix
from edge_seg.segmenter import open_segmenter
from edge_seg.spec import CAMVID_CLASSES, ModelSpec

DRIVE = "drive:seed=1,size=96x72,frames=6"
KEYS = {"model", "runtime", "precision", "frames", "dropped", "fps", "age_ms", "stages_ms"}
STAGES = ["capture", "pre", "infer", "post", "draw", "sink"]
ENV = {**os.environ, "DISPLAY": "", "WAYLAND_DISPLAY": ""}


def run(model: Path, *options: str) -> tuple[str, str]:
    """The command's stdout and stderr, headless."""
    arguments = ["run", "--model", str(model), "--headless", *options]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def usage_error(*options: str) -> str:
    """What the command says of wrong usage, on one line."""
    result = CliRunner().invoke(app, ["run", *options])
    assert result.exit_code == 2
    return " ".join(result.stderr.replace("│", " ").split())


def test_json_stands_alone_on_stdout_under_its_stable_keys(tiny_model: Path, clip: Path) -> None:
    out, err = run(tiny_model, "--source", str(clip), "--json")

    report = json.loads(out)
    assert set(report) == KEYS
    assert list(report["stages_ms"]) == STAGES
    assert all(set(times) == {"p50", "p95", "p99"} for times in (report["age_ms"], *report["stages_ms"].values()))
    assert (report["model"], report["precision"], report["frames"], report["dropped"]) == ("tiny", "FP32", 12, 0)
    assert "waterfall" not in out and "stage" in err


def test_the_miou_is_the_confusion_matrixs(tiny_model: Path) -> None:
    report = json.loads(run(tiny_model, "--source", DRIVE, "--json")[0])
    matrix = ConfusionMatrix(11)
    with open_segmenter(tiny_model) as segment:
        for frame in open_dataset(DRIVE):
            assert frame.truth is not None
            matrix.update(segment(frame.image).labels, frame.truth)

    assert set(report) == {*KEYS, "miou_truth", "class_iou"}
    assert report["miou_truth"] == matrix.miou()
    expected = [None if np.isnan(iou) else iou for iou in matrix.class_iou().tolist()]
    assert report["class_iou"] == dict(zip((c.name for c in CAMVID_CLASSES), expected, strict=True))


def test_writes_a_film_and_its_last_picture(tiny_model: Path, tmp_path: Path, clip: Path) -> None:
    film, picture = tmp_path / "a.mp4", tmp_path / "a.png"
    run(tiny_model, "--source", str(clip), "--out", str(film), "--out", str(picture))

    with av.open(str(film)) as container:
        frames = [f.to_ndarray(format="bgr24") for f in container.decode(video=0)]
        assert float(container.streams.video[0].average_rate or 0) == 25.0
    last = cv2.imread(str(picture))
    assert len(frames) == 12
    assert last is not None and last.shape == frames[-1].shape == (72, 96, 3)
    assert np.abs(frames[-1].astype(int) - last).mean() < 12
    assert sorted(os.listdir(tmp_path)) == ["a.mp4", "a.png"]


def test_the_summary_is_for_people(tiny_model: Path) -> None:
    out, _ = run(tiny_model, "--source", DRIVE, "--frames", "4")

    assert "tiny FP32 on " in out and "4 frames" in out and "0 dropped, 0 skipped" in out
    for part in (*STAGES, "p95", "█", "age", "Bicyclist", "mIoU (truth)"):
        assert part in out


def write_images(folder: Path) -> None:
    """Three images, the second damaged, and labels of void."""
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for number in range(3):
        image = bytes(cv2.imencode(".png", np.full((72, 96, 3), 80 * number, np.uint8))[1])
        (folder / "images" / f"{number}.png").write_bytes(image if number != 1 else image[:50])
        (folder / "labels" / f"{number}.png").write_bytes(
            bytes(cv2.imencode(".png", np.full((72, 96), number, np.uint8))[1])
        )


def test_a_folder_with_labels_gives_the_truths_iou_without_the_damaged_image(
    tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_images(tmp_path)
    out, err = run(tiny_model, "--source", f"{tmp_path}/images", "--labels", f"{tmp_path}/labels", "--json")

    report = json.loads(out)
    assert report["frames"] == 2
    assert set(report["class_iou"]) == {c.name for c in CAMVID_CLASSES}
    assert "1 skipped" in err
    assert "1.png is damaged" in caplog.text


def test_labels_of_another_class_table_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    write_images(tmp_path)
    (tmp_path / "classes.csv").write_text("void,0,0,0\nroad,128,64,128\n")

    with pytest.raises(DataError, match=r"images has other classes than the model: label 0 is road there, but Sky"):
        run(tiny_model, "--source", f"{tmp_path}/images", "--labels", f"{tmp_path}/labels")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--camera", "0", "--source", "a.mp4"], "--camera and --source exclude each other"),
        (["--camera", "-1"], "greater than or equal to 0"),
        (["--frames", "0"], "greater than or equal to 1"),
        (["--labels", "x", "--source", "a.mp4"], "--labels belongs to a folder or glob of images, not to a.mp4"),
        (["--out", "a.avi"], "--out a.avi: expected a name ending in .mp4 or .png"),
        (["--colour", "red"], "No such option"),
    ],
)
def test_wrong_usage_is_exit_code_2(options: list[str], message: str) -> None:
    assert message in usage_error(*options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (["--camera", "200"], SourceError, "Camera 200 does not open. Cameras found"),
        (["--source", "nowhere.mp4"], SourceError, "nowhere.mp4 does not exist"),
        (["--model", "nowhere.onnx"], ModelError, "nowhere.onnx"),
        (["--source", DRIVE, "--out", "nowhere/a.mp4"], SinkError, "nowhere/a.mp4 cannot be written"),
        (["--source", DRIVE, "--out", f"{'x' * 300}.mp4"], SinkError, "cannot be reached: File name too long"),
        (["--source", DRIVE, "--out", f"{__file__}/a.mp4"], SinkError, "cannot be reached: Not a directory"),
        (["--source", "x" * 300, "--labels", "x"], SourceError, "cannot be reached: File name too long"),
    ],
)
def test_bad_input_is_an_error_of_its_kind(
    tiny_model: Path, options: list[str], error: type[Exception], message: str
) -> None:
    arguments = ["run", "--model", str(tiny_model), "--headless", *options]
    with pytest.raises(error, match=message):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_other_classes_than_the_models_are_an_error(tmp_path: Path, tiny_model: Path) -> None:
    import onnx

    from edge_seg.spec import METADATA_KEY

    proto = onnx.load(tiny_model)
    (entry,) = (e for e in proto.metadata_props if e.key == METADATA_KEY)
    entry.value = ModelSpec("swapped", CAMVID_CLASSES[::-1], 96, 72, "nothing").to_json()
    onnx.save(proto, tmp_path / "swapped.onnx")
    arguments = ["run", "--model", f"{tmp_path}/swapped.onnx", "--headless", "--source", DRIVE]

    with pytest.raises(
        DataError, match="drive seed 1 has other classes than the model: label 0 is Sky there, but Bicyclist in"
    ):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_images_that_are_all_damaged_are_an_error(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"damaged")

    with pytest.raises(SourceError, match=r"gave no frame \(1 skipped\)"):
        run(tiny_model, "--source", str(tmp_path))


def test_main_prints_a_users_error_without_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", "--source", "nowhere.mp4", "--model", "nowhere.onnx"])

    assert caught.value.code == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("edge-seg: ") and "Traceback" not in captured.err
    assert captured.out == ""


def test_main_leaves_a_bug_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("edge_seg.segmenter.open_segmenter", broken)

    with pytest.raises(ValueError, match="a bug"):
        main(["run", "--headless"])


def test_version() -> None:
    import edge_seg

    assert CliRunner().invoke(app, ["--version"]).stdout == f"edge-seg {edge_seg.__version__}\n"


INTERRUPTED = """
import os, signal, sys
from edge_seg.apps import view
from edge_seg.apps.cli import main
plain, drawn = view.View.draw, []
def draw(*arguments):
    drawn.append(1)
    if len(drawn) == 5:
        os.kill(os.getpid(), signal.SIGINT)
    return plain(*arguments)
view.View.draw = draw
main(sys.argv[1:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_finishes_the_film_prints_the_summary_and_is_exit_code_0(tmp_path: Path, tiny_model: Path) -> None:
    source = "drive:seed=1,size=96x72,frames=1000000"
    arguments = ["run", "--model", str(tiny_model), "--source", source, "--out", f"{tmp_path}/a.mp4", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=ENV,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"] == 5
    assert "No display found: going on without a window." in done.stderr
    assert "Stopped after 5 frames; what was to be written is complete." in done.stderr
    with av.open(f"{tmp_path}/a.mp4") as container:
        assert sum(1 for _ in container.decode(video=0)) == 5
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from edge_seg.apps.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print([m for m in ('numpy', 'cv2', 'av', 'onnx', 'torch', 'openvino') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


def test_a_truncated_film_is_run_to_where_it_decodes(
    tiny_model: Path, tmp_path: Path, write_clip: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(20)]
    path = write_clip(tmp_path / "cut.mp4", images, movflags="faststart")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    report, err = run(tiny_model, "--source", str(path), "--json")

    frames = json.loads(report)["frames"]
    assert 5 < frames < 15
    assert f"{frames} frames" in err and ", 0 skipped" not in err
    assert "cut.mp4 is damaged or cut short" in caplog.text


def test_a_wrong_run_time_is_told_before_a_source_is_opened(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="Unknown run-time 'nonsense'"):
        run(tiny_model, "--runtime", "nonsense", "--source", "nowhere.mp4")
