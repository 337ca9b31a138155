"""The pictures of docs/profile.html that README.md shows, taken by headless Chromium:

    python tests/bench/screenshots.py

docs/profile.png is the report on a desk by day, docs/profile-phone.png on a phone by night, down to the Pareto front.
"""

import base64
import io
import sys
import tempfile
from pathlib import Path

from docs_parts import ROOT
from PIL import Image

from edge_seg.files import write_whole

sys.path.insert(0, str(ROOT / "tests" / "apps" / "report"))
from test_html_browser import PROGRAM, Browser, open_browser

SHOTS = {"profile.png": (1128, "light"), "profile-phone.png": (390, "dark")}
"""Width in pixels and colour scheme."""
END = "document.querySelector('#front ~ .scroll').getBoundingClientRect()"
COLOURS = 256


def main() -> None:
    """Take both pictures."""
    if PROGRAM is None:
        sys.exit("No Chromium here. On Debian and Ubuntu type: sudo apt-get install chromium")
    docs = ROOT / "docs"
    with tempfile.TemporaryDirectory() as folder, open_browser(Path(folder)) as browser:
        for name, (width, scheme) in SHOTS.items():
            browser.open(docs / "profile.html", width)
            browser.emulate(scheme=scheme)
            write_whole(docs / name, picture_of(browser, width))


def picture_of(browser: Browser, width: int) -> bytes:
    """The page from its top to the end of the front's table, as a PNG of few colours."""
    clip = {"x": 0, "y": 0, "width": width, "height": browser.value(f"{END}.bottom + scrollY") + 24, "scale": 1}
    shot = browser.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
    image = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
    out = io.BytesIO()
    # Adaptive palettes drop the few pixels of a mark, coarse ones the grounds of cards: the commonest colours are kept.
    counts = sorted(image.getcolors(1 << 24), reverse=True)[:COLOURS]
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for _, colour in counts for part in colour])
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


if __name__ == "__main__":
    main()
