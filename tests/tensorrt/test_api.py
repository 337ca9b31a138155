"""Our calls against the real bindings of four generations: every name is there, or known not to be."""

import importlib
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_seg.runners.tensorrt_api import OPTIONAL, has

HERE = Path(__file__).parent
FOLDER = Path(sys.prefix) / "tensorrt"
"""Where `make` puts the bindings."""

bindings, touched, fake = (
    importlib.import_module("bindings"),
    importlib.import_module("touched"),
    importlib.import_module("fake"),
)

NAMES: dict[str, str] = touched.touched()


@pytest.fixture(params=[pytest.param(bindings.OLDEST, marks=pytest.mark.slow), *bindings.PACKAGES])
def version(request: pytest.FixtureRequest) -> str:
    """One generation whose bindings are installed."""
    found: str = request.param
    if not bindings.is_installed(FOLDER / found):
        pytest.skip(f"no bindings of TensorRT {found} in {FOLDER}: make installs those that there are")
    return found


def names_absent(version: str) -> frozenset[str]:
    """The attributes of the features that a generation lacks."""
    return frozenset(name for feature in fake.lacking(version) for name in OPTIONAL[feature])


def test_every_generation_has_what_we_touch(version: str) -> None:
    dump = bindings.dump(FOLDER / version)

    assert touched.missing(NAMES, dump, names_absent(version)) == []


def test_features_are_told_as_they_are(version: str) -> None:
    dump = bindings.dump(FOLDER / version)
    found = SimpleNamespace(**{name: SimpleNamespace(**dict.fromkeys(own, 0)) for name, own in dump.items()})

    assert {feature for feature in OPTIONAL if not has(found, feature)} == fake.lacking(version)


def test_a_name_that_a_binding_loses_is_told(version: str) -> None:
    """Otherwise the test above could not fail."""
    dump, absent = bindings.dump(FOLDER / version), names_absent(version)
    for name in (name for name in NAMES if not touched.known(name, absent)):
        kind, _, attribute = name.partition(".")
        less = dict(dump)
        if attribute:
            less[kind] = [other for other in dump[kind] if other != attribute]
        else:
            del less[kind]
        assert any(told.startswith(name) for told in touched.missing(NAMES, less, absent)), name


@pytest.mark.parametrize(
    ("kind", "algorithm"), [("entropy", "ENTROPY_CALIBRATION_2"), ("min-max", "MINMAX_CALIBRATION")]
)
def test_calibrators_answer_as_tensorrt_calls_them(version: str, kind: str, algorithm: str) -> None:
    if "calibrators" in fake.lacking(version):
        pytest.skip(f"TensorRT {version} has no calibrators any more")
    first = "4" if int(version.partition(".")[0]) >= 10 else "0"
    told = json.loads(bindings.run_with(FOLDER / version, str(HERE / "drive_calibrator.py"), kind, first))

    assert told == {
        "size": 2,
        "shown": [[7] * 24, [9] * 24],  # the last batch is smaller: TensorRT wants all of one size
        "cache": None,
        "written": ["TRT-1-X"],
        "algorithm": algorithm,
        "before": True,
        "after": None,
        "errors": ["a disk that is gone"],
        "still": 1,  # no cache is kept of half the pictures
        "known": "known",
        "more": None,
    }


OURS = """
import json, tensorrt as trt
from edge_seg.export.build_log import Watch, make_monitor
from edge_seg.runners.tensorrt_api import Log, make_logger
log, watch, phases = Log(), Watch(), []
logger = make_logger(trt, log)
trt.ILogger.log(logger, trt.ILogger.Severity.ERROR, "out of memory")
monitor = make_monitor(trt, watch, lambda *told: phases.append(told))
go_on = []
if monitor is not None:
    kind = trt.IProgressMonitor
    kind.phase_start(monitor, "Tactics", "Building", 2)
    go_on = [kind.step_complete(monitor, "Tactics", 0)]
    watch.stop(KeyboardInterrupt())
    go_on.append(kind.step_complete(monitor, "Tactics", 1))
    kind.phase_finish(monitor, "Tactics")
print(json.dumps([log.errors, phases, go_on]))
"""


def test_logger_and_monitor_answer_as_tensorrt_calls_them(version: str) -> None:
    """By the base class's functions, which go through C++ to ours."""
    errors, phases, go_on = json.loads(bindings.run_with(FOLDER / version, "-c", OURS))

    assert errors == ["out of memory"]
    if "progress" in fake.lacking(version):
        assert phases == []
    else:
        assert phases == [["Tactics", 0, 2], ["Tactics", 1, 2], ["Tactics", 2, 2]]
        assert go_on == [True, False]


TIMES = """
import json, tensorrt as trt
from edge_seg.runners.engine_inspector import make_profiler
profiler = make_profiler(trt)
trt.IProfiler.report_layer_time(profiler, "/net/Conv", 1.5)
print(json.dumps(profiler.times))
"""


def test_the_profiler_answers_as_tensorrt_calls_it(version: str) -> None:
    assert json.loads(bindings.run_with(FOLDER / version, "-c", TIMES)) == [["/net/Conv", 1.5]]


def test_the_fake_has_no_name_that_tensorrt_has_not(version: str) -> None:
    """But for what a generation is known to lack."""
    dump, absent = bindings.dump(FOLDER / version), names_absent(version)
    names = {f"{kind}.{name}": "fake.py" for kind, names in fake.surface().items() for name in names}

    assert touched.missing(names, dump, absent) == []


def test_no_other_file_touches_tensorrt() -> None:
    root = HERE.parents[1]
    sources = [
        path for folder in ("edge_seg", "export", "calib", "apps", "devices") for path in (root / folder).rglob("*.py")
    ]
    using = {str(path.relative_to(root)) for path in sources if re.search(r"\btrt\.|tensorrt_api", path.read_text())}
    through_links = {name for name in using if name.split("/")[1] in ("export", "calib", "apps", "devices")}

    assert using - through_links <= set(touched.FILES)
