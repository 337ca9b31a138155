"""The HTML report as text: what stands in it, that it is whole, and that nothing in a name breaks it."""

import itertools
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from edge_seg.apps.profile.rows import Accuracy, Profile, Row
from edge_seg.apps.report.bars import span_ms
from edge_seg.apps.report.html import to_html

EMPTY = {"meta"}
TableRows = Callable[[str, str], list[str]]
SECTIONS = ["front", "rows", "loop", "classes", "int8", "layers", "soak", "machine"]


class Page(HTMLParser):
    """The elements of a page, each with its attributes, and its words by the element that they stand in."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.open += [] if tag in EMPTY else [tag]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"{tag} would stay open in HTML"
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append((self.open[-1] if self.open else "", data))

    def texts(self, tag: str) -> list[str]:
        """The words of all elements of a kind."""
        return [data for name, data in self.words if name == tag]

    def having(self, attribute: str) -> list[str]:
        """The values of an attribute, wherever it stands."""
        return [value for _, attributes in self.found if (value := attributes.get(attribute)) is not None]


def sections(page: Page) -> list[str]:
    return [str(attributes["aria-labelledby"]) for tag, attributes in page.found if tag == "section"]


def test_the_page_has_a_section_for_everything_and_links_to_each(profile: Profile) -> None:
    page = Page(to_html(profile))
    links = [value for value in page.having("href") if not value.startswith("#note")]

    assert sections(page) == SECTIONS
    assert links == [f"#{name}" for name in SECTIONS]
    assert page.texts("h1") == ["Accuracy against latency"]
    assert "highest mIoU, is edge-seg-s, openvino with mIoU 0.6431 at p95 8.40 ms" in page.texts("p")[1]
    assert page.texts("title")[0] == "edge-seg profile: edge-seg-s, edge-seg-n"


def test_nothing_is_loaded_and_nothing_runs(profile: Profile, evil_profile: Profile) -> None:
    for one in (profile, evil_profile):
        text = to_html(one)
        page = Page(text)

        assert not {tag for tag, _ in page.found} & {
            "script",
            "link",
            "img",
            "iframe",
            "image",
            "use",
            "object",
            "base",
        }
        assert not [key for _, attributes in page.found for key in attributes if key.startswith("on") or key == "src"]
        assert all(value.startswith("#") for value in page.having("href"))
        assert "url(" not in text and "@import" not in text
        policy = next(a["content"] for tag, a in page.found if tag == "meta" and a.get("http-equiv"))
        assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_names_that_are_markup_are_shown_as_text(evil_profile: Profile) -> None:
    text = to_html(evil_profile)
    page = Page(text)

    assert text.encode()
    assert "<script" not in text
    shown = [word for _, word in page.words if "<script>document.title='broken in'</script>" in word]
    assert len(shown) > 20
    assert any("*x*? line two" in word for word in page.texts("span"))
    assert any("[bold]道路標識[/bold]" in word for word in page.texts("span"))


def test_pictures_say_what_they_show_and_ids_are_unique(profile: Profile, evil_profile: Profile) -> None:
    for one in (profile, evil_profile):
        page = Page(to_html(one))
        ids = page.having("id")
        pictures = [attributes for tag, attributes in page.found if tag == "svg" and "aria-hidden" not in attributes]

        assert len(ids) == len(set(ids))
        assert all(name in ids for value in page.having("aria-labelledby") for name in value.split())
        assert all(picture["role"] == "img" and picture["viewbox"] for picture in pictures)
        assert all(len(str(picture["aria-labelledby"]).split()) == 2 for picture in pictures)
        assert len(page.texts("desc")) == len(pictures) > 20
        assert all(value[1:] in ids for value in page.having("href"))


def test_headings_go_down_one_step_at_a_time(profile: Profile) -> None:
    levels = [int(tag[1]) for tag, _ in Page(to_html(profile)).found if re.fullmatch("h[1-6]", tag)]

    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_tables_have_headings_for_rows_and_columns(profile: Profile) -> None:
    page = Page(to_html(profile))
    scopes = Counter(page.having("scope"))
    tables = [tag for tag, _ in page.found if tag == "table"]
    boxes = [a for _, a in page.found if str(a.get("class", "")).startswith("scroll")]

    assert scopes["row"] > len(profile.rows)
    assert scopes["col"] > 30
    assert len(boxes) == len(tables)
    assert all(box["tabindex"] == "0" and box["aria-label"] for box in boxes)


def test_the_table_tells_standing_disturbance_and_error(profile: Profile, table_rows: TableRows) -> None:
    rows = table_rows(to_html(profile), "rows")

    assert len(rows) == len(profile.rows)
    assert '<tr class="front">' in rows[4] and "<td>front</td></tr>" in rows[4]
    assert '<tr class="dominated">' in rows[5] and "<td>beaten by 5</td></tr>" in rows[5]
    assert rows[6].startswith("<tr><th") and rows[6].endswith("<td></td></tr>")  # batch 4 takes no part
    assert 'href="#note-1" aria-label="disturbed, note 1"' in rows[9]
    assert re.search(r'<td colspan="16" class="reason">TensorRT is not installed.*</td></tr>$', rows[11])
    assert "0.6431" in rows[4] and "8.40" in rows[4] and "84.0" in rows[4]


def test_the_front_is_told_step_by_step(profile: Profile, table_rows: TableRows) -> None:
    rows = table_rows(to_html(profile), "front")
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]

    assert [re.findall("</span>(.*?)</th>", row)[0] for row in rows][:2] == [
        "edge-seg-n, openvino",
        "edge-seg-s, openvino",
    ]
    assert cells[0] == ["0.5892", "5.10", "107.9", "", ""]
    assert cells[1] == ["0.6431", "8.40", "84.0", "+3.30", "+0.0539"]


def test_both_fronts_are_drawn_for_desks_and_phones(profile: Profile) -> None:
    text = to_html(profile)
    drawn = re.findall(r'<svg viewBox="([^"]*)"[^>]*class="(wide|narrow)">', text)

    assert drawn == [("0 0 1000 470", "wide"), ("0 0 358 330", "narrow")] * 2
    assert text.count('class="front-line"') == 4
    for drawing in filter(re.compile("front-line").search, re.findall("<svg viewBox.*?</svg>", text)):
        assert sorted(map(int, re.findall(r'class="label [^"]*">(\d+)', drawing))) == [1, 2, 3, 4, 5, 6, 8, 9, 10, 11]
    solid = re.findall(r'<g><title>(\d+) [^<]*</title>.*?class="c\d (solid|hollow)"', text)
    assert {number for number, look in solid if look == "solid"} == {"2", "3", "4", "5", "11"}
    assert {number for number, look in solid if look == "hollow"} == {"1", "6", "8", "9", "10"}


def test_the_cards_say_how_to_run_both_ends_of_the_front(profile: Profile) -> None:
    text = re.sub(r"</?span[^>]*>", "", to_html(profile))

    assert "<code>edge-seg run --model /models/edge-seg-s.onnx --runtime openvino</code>" in text
    assert "<code>edge-seg run --model /models/edge-seg-n.onnx --runtime openvino</code>" in text


def test_one_row_that_beats_all_has_one_card(make_row: Callable[..., Row]) -> None:
    text = to_html(Profile("", {}, (make_row(), make_row("other", p95=20.0, miou=0.2, disturbed="busy"))))

    assert "edge-seg-s, openvino is both the most accurate and the fastest: mIoU 0.6431 at p95 8.40 ms." in text
    assert text.count('class="card"') == 1


def test_a_front_of_a_disturbed_row_says_so(make_row: Callable[..., Row]) -> None:
    assert "at p95 8.40 ms (timed under disturbance)." in to_html(Profile("", {}, (make_row(disturbed="busy"),)))


def test_sections_without_data_are_left_out(make_row: Callable[..., Row], profile: Profile) -> None:
    latency_only = Page(to_html(Profile("", {}, (make_row(miou=None, loop=None),))))
    failed = Page(to_html(Profile("", {}, (profile.rows[11],))))
    nothing = Page(to_html(Profile("edge-seg profile x", {}, ())))

    assert sections(latency_only) == ["rows", "machine"]
    assert "no data" in latency_only.texts("td") and "mIoU" in latency_only.texts("th")
    assert "Fastest is edge-seg-s, openvino with p95 8.40 ms; accuracy was not measured." in latency_only.texts("p")
    assert sections(failed) == ["rows", "machine"]
    assert "No combination gave a latency: the table says why." in failed.texts("p")
    assert sections(nothing) == ["machine"]


def test_int8_is_compared_on_its_own_run_time_or_says_on_which(make_row: Callable[..., Row]) -> None:
    fp32 = make_row("net-fp32", "onnxruntime", miou=0.6)
    rows = (fp32, make_row("net", "openvino", miou=0.59), make_row("net", "onnxruntime", miou=0.61))
    text = to_html(Profile("", {}, rows))

    assert "against net-fp32, onnxruntime, another run-time; worst class" in text
    assert "against net-fp32, onnxruntime; worst class" in text
    assert ">+0.0100</text>" in text and ">-0.0100</text>" in text
    others = [replace(fp32, width=320), replace(fp32, name="other"), replace(fp32, accuracy=None)]
    for other in others:
        assert "int8" not in sections(Page(to_html(Profile("", {}, (other, *rows[1:])))))


def test_a_class_that_never_occurs_has_no_bar(make_row: Callable[..., Row]) -> None:
    accuracy = Accuracy("set", 2, 0.5, {"seen": 0.5, "never": None})
    rows = (make_row("n-fp32", accuracy=accuracy), make_row("n", accuracy=accuracy))
    text = to_html(Profile("", {}, rows))

    assert text.count(">absent</text>") == 2
    assert "seen 0.500, never absent" in text


def test_of_many_classes_the_worst_are_drawn_and_all_are_listed(
    make_row: Callable[..., Row], make_accuracy: Callable[..., Accuracy]
) -> None:
    names = tuple(f"class {i}" for i in range(60))
    rows = tuple(make_row(name, accuracy=make_accuracy(0.5, names)) for name in ("n-fp32", "n"))
    text = to_html(Profile("", {}, rows))

    assert "the 40 of 60 classes of lowest IoU" in text
    assert all(f'<th scope="row">{name}</th>' in text for name in names)


def test_files_of_one_precision_are_told_apart(make_row: Callable[..., Row]) -> None:
    rows = (make_row("a", name="net", sha256="1"), make_row("b", name="net", sha256="2"))
    text = to_html(Profile("", {}, rows))

    assert "</svg>a 0.6431</li>" in text and "</svg>b 0.6431</li>" in text


def test_all_waterfalls_have_one_scale(profile: Profile) -> None:
    loops = [row.loop for row in profile.rows if row.loop is not None]
    slowest = loops[0].stages_ms

    assert span_ms(loops) == pytest.approx(2.9 + 0.8 + slowest["infer"].p95)
    assert len(re.findall(r">Stages of \d", to_html(profile))) == len(loops)
