"""The HTML report in a real browser: headless Chromium, driven over its own pipe, with the standard library alone."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_seg.apps.profile.rows import Profile
from edge_seg.apps.report.html import to_html

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium here"),
    pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX"),
]
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
AS_3_AND_4 = (
    "import fcntl, os, sys\n"
    "ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]\n"
    "for place, end in zip((3, 4), ends): os.dup2(end, place)\n"
    "os.execv(sys.argv[3], sys.argv[3:])"
)
"""Where the browser looks for its pipe. A shell could do it, but for descriptors of two digits."""
MOST_SILENT_S = 180
DESK, TABLET, PHONE = WIDTHS = 1280, 800, 390
HEIGHT = 800
SCHEME = "prefers-color-scheme"


class Browser:
    """A browser with one page, spoken to in Chrome's DevTools protocol."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = read, write
        self._held, self._count, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """Send a command and wait for its answer; events on the way are kept."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            self.events.append(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._held:
            assert select.select([self._read], [], [], MOST_SILENT_S)[0], "the browser says nothing"
            more = os.read(self._read, 1 << 16)
            assert more, "the browser has ended"
            self._held += more
        one, _, self._held = self._held.partition(b"\0")
        message: dict[str, Any] = json.loads(one)
        return message

    def open(self, page: Path, width: int) -> None:
        """Open a file in a window of `width` pixels, as a phone below 500, and wait until it is there."""
        self.events.clear()
        size = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.emulate()
        self.call("Page.navigate", url=page.as_uri())
        while not self.seen("Page.loadEventFired"):
            self.events.append(self._next())

    def emulate(self, *, media: str = "", scheme: str = "light") -> None:
        """Show the page as on paper or by night."""
        self.call("Emulation.setEmulatedMedia", media=media, features=[{"name": SCHEME, "value": scheme}])

    def seen(self, method: str) -> list[dict[str, Any]]:
        """The parameters of the events of a kind since the page was opened."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def value(self, expression: str) -> Any:  # noqa: ANN401 - whatever JSON holds
        """What JavaScript gives in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"]["value"]

    def picture(self) -> np.ndarray:
        """What the window shows, BGR."""
        content = base64.b64decode(self.call("Page.captureScreenshot")["data"])
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        return image


@contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    """Start a browser that keeps its things in `folder`, and end it."""
    to_browser, write = os.pipe()
    read, from_browser = os.pipe()
    options = [*OPTIONS, "--remote-debugging-pipe", f"--user-data-dir={folder}"]
    with subprocess.Popen(
        [sys.executable, "-c", AS_3_AND_4, str(to_browser), str(from_browser), str(PROGRAM), *options],
        pass_fds=[to_browser, from_browser],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            os.close(to_browser)
            os.close(from_browser)
            yield Browser(read, write)
        finally:
            os.close(write)  # which ends it; the kill is for one that hangs
            try:
                process.wait(MOST_SILENT_S)
            finally:
                process.kill()
                os.close(read)


LOOK = Path(__file__).with_name("look.js").read_text(encoding="utf-8")
"""What is measured of a page: JavaScript, the browser's, which no policy of the page's stops."""
PAPER = """({
    ground: getComputedStyle(document.body).backgroundColor,
    links: getComputedStyle(document.querySelector("nav")).display,
})"""


@dataclass(frozen=True)
class Visit:
    """A page in a window of some width: what the browser measured by day and by night, asked for and complained about,
    and showed.
    """

    address: str
    found: dict[str, Any]
    by_night: dict[str, Any]
    asked: list[str]
    complaints: list[dict[str, Any]]
    light: np.ndarray
    dark: np.ndarray


@dataclass(frozen=True)
class Visits:
    """All that the tests look at, so that each page is opened once for a width; and the ordinary page on paper."""

    ordinary: dict[int, Visit]
    evil: dict[int, Visit]
    paper: dict[str, str]
    pdf: bytes

    @property
    def all(self) -> list[Visit]:
        """The visits of both pages."""
        return [*self.ordinary.values(), *self.evil.values()]


@pytest.fixture(scope="module")
def visits(profile: Profile, evil_profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Visits:
    """A report with all sections, and one of names that are long, foreign, or markup, in windows of all widths."""
    folder = tmp_path_factory.mktemp("pages")
    ordinary, evil = folder / "report.html", folder / "evil.html"
    ordinary.write_text(to_html(profile), encoding="utf-8")
    evil.write_text(to_html(evil_profile), encoding="utf-8")
    with open_browser(folder / "browser") as browser:
        evils = {width: visit(browser, evil, width) for width in WIDTHS}
        ordinaries = {width: visit(browser, ordinary, width) for width in WIDTHS}
        browser.emulate(media="print", scheme="dark")
        paper = browser.value(PAPER)
        browser.emulate(scheme="dark")
        pdf = base64.b64decode(browser.call("Page.printToPDF", preferCSSPageSize=True)["data"])
    return Visits(ordinaries, evils, paper, pdf)


def visit(browser: Browser, page: Path, width: int) -> Visit:
    """Open a page by day, look at it, and once more by night."""
    browser.open(page, width)
    found, light = browser.value(LOOK), browser.picture()
    browser.emulate(scheme="dark")
    by_night, dark = browser.value(LOOK), browser.picture()
    asked = [event["request"]["url"] for event in browser.seen("Network.requestWillBeSent")]
    complaints = browser.seen("Log.entryAdded") + browser.seen("Runtime.exceptionThrown")
    return Visit(page.as_uri(), found, by_night, asked, complaints, light, dark)


def test_no_page_scrolls_sideways(visits: Visits) -> None:
    for pages in (visits.ordinary, visits.evil):
        for width, seen in pages.items():
            for whole, shown in (seen.found["page"], seen.by_night["page"]):
                assert whole <= shown <= width
            assert seen.found["outside"] == []


def test_the_wide_table_fits_a_desk_and_scrolls_in_its_own_box_on_a_phone(visits: Visits) -> None:
    (desk, room), (phone, small_room) = (visits.ordinary[width].found["rows"] for width in (DESK, PHONE))

    assert desk <= room
    assert phone > 2 * small_room


def test_names_in_tables_neither_touch_the_next_cell_nor_fall_to_pieces(visits: Visits) -> None:
    assert all(seen.found["overfull"] == 0 for seen in visits.all)
    assert all(max(seen.found["names"]) < 45 for seen in visits.ordinary.values())  # two lines


def test_of_two_pictures_the_one_for_this_width_is_shown(visits: Visits) -> None:
    for width, seen in visits.ordinary.items():
        assert len(seen.found["wide"]) == len(seen.found["narrow"]) == 2
        assert all(seen.found["wide"]) is (width > 680)
        assert all(seen.found["narrow"]) is (width < 680)


def test_letters_are_large_enough_to_read(visits: Visits) -> None:
    for width, seen in visits.ordinary.items():
        assert len(seen.found["letters"]) > 100
        assert min(seen.found["letters"]) >= (8.5 if width == TABLET else 9.5)


def test_words_in_a_picture_do_not_overlap(visits: Visits) -> None:
    for seen in visits.all:
        assert sum(map(len, seen.found["texts"])) > 100
        for texts in seen.found["texts"]:
            for (words, *box), (others, *other) in itertools.combinations(texts, 2):
                assert are_apart(box, other, by=-1), (seen.address, words, others)


def test_names_in_a_picture_cannot_be_taken_for_one(visits: Visits) -> None:
    for seen in visits.all:
        assert sum(map(len, seen.found["labels"])) > 10
        for names in seen.found["labels"]:
            assert all(are_apart(one, other, by=3) for one, other in itertools.combinations(names, 2)), seen.address


def are_apart(one: Sequence[float], other: Sequence[float], *, by: float) -> bool:
    """True for boxes that are `by` pixels apart, side by side; a box has blank edges above and below the letters."""
    (left, top, right, bottom), (x, y, end_x, end_y) = one, other
    return right + by <= x or end_x + by <= left or bottom <= y + 3 or end_y <= top + 3


def test_all_words_stand_out_by_day_and_by_night(visits: Visits) -> None:
    for seen in visits.all:
        for found in (seen.found, seen.by_night):
            assert len(found["contrasts"]) > 200
            assert [(words, ratio) for words, ratio in found["contrasts"] if ratio < 4.5] == []  # WCAG 2.2, 1.4.3


def test_nothing_is_asked_for_and_no_script_runs(visits: Visits) -> None:
    for seen in visits.all:
        assert seen.asked == [seen.address]
        assert seen.complaints == []
        assert seen.found["title"].startswith("edge-seg profile: ")
        assert (seen.found["scripts"], seen.found["mode"]) == (0, "CSS1Compat")


def test_both_colour_schemes_are_drawn(visits: Visits) -> None:
    for width, seen in visits.ordinary.items():
        assert seen.light.shape == seen.dark.shape == (HEIGHT, width, 3)
        assert seen.light[5, 5].tolist() == [255, 255, 255]
        assert seen.dark[5, 5].tolist() == [0x1C, 0x16, 0x10]
        assert (seen.light < 128).any(axis=2).mean() > 0.01  # letters
        assert (seen.dark > 160).any(axis=2).mean() > 0.01


def test_it_prints_by_day_on_a_few_pages(visits: Visits) -> None:
    assert visits.paper == {"ground": "rgb(255, 255, 255)", "links": "none"}
    assert visits.pdf.startswith(b"%PDF-")
    assert 6 <= visits.pdf.count(b"/Type /Page\n") <= 16
