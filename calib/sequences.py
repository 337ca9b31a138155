"""Which pictures belong to one drive: sets that must not share a sequence are split by it."""

from collections.abc import Sequence


def sequences(names: Sequence[str]) -> list[list[int]]:
    """The numbers of the pictures of each sequence, in order of the first ones: names are SEQUENCE_NUMBER.

    CamVid's 0001TP_006690 is of 0001TP. Where such names tell nothing, since all are of one sequence or most of a
    sequence of their own, it is `halves` that they are taken for.

    >>> sequences(["0001TP_006690", "0006R0_f00930", "0001TP_006720"])
    [[0, 2], [1]]
    >>> sequences(["000000", "000001", "000002", "000003"])
    [[0, 1], [2, 3]]
    """
    groups: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        groups.setdefault(name.rpartition("_")[0], []).append(number)
    if len(groups) > 1 and 2 * len(groups) <= len(names) + 1:
        return list(groups.values())
    return halves(len(names))


def halves(count: int) -> list[list[int]]:
    """The first part and the last of `count` pictures; a tenth at the middle, neighbours of both, is of neither.

    >>> [(half[0], half[-1]) for half in halves(100)]
    [(0, 44), (55, 99)]
    """
    gap = count // 10
    first = (count - gap + 1) // 2
    return [half for half in (list(range(first)), list(range(first + gap, count))) if half]
