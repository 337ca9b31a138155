"""Picture sizes as they are typed: WxH."""

import re

import typer

LEAST_SIDE, MOST_SIDE = 32, 4096


def parse_size(size: str, option: str = "--size") -> tuple[int, int]:
    """Width and height of WxH; the net halves a picture five times, so less than 32 leaves nothing.

    >>> parse_size("480x360")
    (480, 360)
    """
    match = re.fullmatch(r"(\d{1,4})x(\d{1,4})", size)
    if match is None or not all(LEAST_SIDE <= int(side) <= MOST_SIDE for side in match.groups()):
        raise typer.BadParameter(
            f"{option} {size}: expected WxH, such as 480x360, of {LEAST_SIDE} to {MOST_SIDE} pixels."
        )
    return int(match[1]), int(match[2])
