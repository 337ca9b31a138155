"""Which pictures belong to one drive: sets that must not share a sequence are split by it."""

import re
from collections.abc import Sequence

CITYSCAPES = re.compile(r"(\D+)_\d{6}_\d{6}(?:_leftImg8bit)?")
"""CITY_SEQUENCE_FRAME: its sequences are short pieces of one drive through the city, so the city counts."""


def sequences(names: Sequence[str]) -> list[list[int]]:
    """The numbers of the pictures of each sequence, in order of the first ones; `halves` where names tell nothing.

    >>> sequences(["0001TP_006690", "0006R0_f00930", "0001TP_006720"])
    [[0, 2], [1]]
    >>> sequences(["000000", "000001", "000002", "000003"])
    [[0, 1], [2, 3]]
    """
    return named_sequences(names) or halves(len(names))


def named_sequences(names: Sequence[str]) -> list[list[int]]:
    """The same by names alone, SEQUENCE_NUMBER or Cityscapes' CITY_SEQUENCE_FRAME; none where these tell nothing.

    CamVid's 0001TP_006690 is of 0001TP. They tell nothing where all are of one sequence or most of one of their own.

    >>> named_sequences(["ulm_000001_000019_leftImg8bit", "ulm_000002_000019_leftImg8bit", "jena_000000_000019"])
    [[0, 1], [2]]
    """
    groups: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        groups.setdefault(sequence_of(name), []).append(number)
    return list(groups.values()) if len(groups) > 1 and 2 * len(groups) <= len(names) + 1 else []


def sequence_of(name: str) -> str:
    """What a picture's name says of its sequence, or "" where it says nothing.

    >>> sequence_of("0001TP_006690"), sequence_of("ulm_000001_000019"), sequence_of("000123")
    ('0001TP', 'ulm', '')
    """
    city = CITYSCAPES.fullmatch(name)
    return city[1] if city else name.rpartition("_")[0]


def halves(count: int) -> list[list[int]]:
    """The first part and the last of `count` pictures; a tenth at the middle, neighbours of both, is of neither.

    >>> [(half[0], half[-1]) for half in halves(100)]
    [(0, 44), (55, 99)]
    """
    gap = count // 10
    first = (count - gap + 1) // 2
    return [half for half in (list(range(first)), list(range(first + gap, count))) if half]
