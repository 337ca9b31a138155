"""Names and reasons that come from users' files, made fit for the files that are written here."""

import html
import re

_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]+")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]#|~$!])")


def plain(text: str) -> str:
    r"""A text in one line that can be encoded: no control characters, and `?` for what a file name holds undecoded.

    >>> plain("two\nlines\x00"), plain("caf\udce9")
    ('two lines ', 'caf?')
    """
    return _UNSEEN.sub(" ", text.encode("utf-8", "replace").decode())


def to_markup(text: str) -> str:
    """A text as content or attribute of HTML and SVG.

    >>> to_markup('<script>"a" & b</script>')
    '&lt;script&gt;&quot;a&quot; &amp; b&lt;/script&gt;'
    """
    return html.escape(plain(text))


def to_markdown_cell(text: str) -> str:
    r"""A text in a Markdown table or paragraph, shown as it is.

    >>> to_markdown_cell("a|b <i> edge_seg")
    'a\\|b &lt;i&gt; edge\\_seg'
    """
    return _MARKDOWN.sub(r"\\\1", html.escape(plain(text), quote=False))


def fenced(text: str) -> str:
    """A text as a Markdown block of code, whatever ticks it holds."""
    shown = plain(text)
    longest = max((len(ticks) for ticks in re.findall("`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{shown}\n{fence}"


def signed(value: float) -> str:
    """A difference of IoU to four digits, with its sign and without -0.

    >>> signed(0.00223), signed(-0.00001)
    ('+0.0022', '+0.0000')
    """
    return f"{round(value, 4) + 0.0:+.4f}"


def interval(seconds: float, *, many: bool = False) -> str:
    """What the parts of a soak are called.

    >>> interval(60.0), interval(15.0), interval(15.0, many=True)
    ('minute', 'interval of 15 s', 'intervals of 15 s')
    """
    name, length = ("minute", "") if seconds == 60.0 else ("interval", f" of {seconds:.3g} s")
    return f"{name}{'s' if many else ''}{length}"


def percent(share: float) -> str:
    """A share of 1 in percent.

    >>> percent(0.1234), percent(0.0004)
    ('12 %', '0.0 %')
    """
    return f"{100 * share:.{0 if share >= 0.0995 else 1}f} %"


def compact(value: float) -> str:
    """A number with three digits, without exponent where it is of everyday size.

    >>> compact(0.2134), compact(68.94), compact(3034.2)
    ('0.213', '68.9', '3034')
    """
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
