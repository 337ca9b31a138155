"""The queue between threads."""

import threading

import pytest

from edge_seg.apps.channel import Channel, EndedError


def test_hands_over_in_order_and_waits_when_full() -> None:
    channel: Channel[int] = Channel(2)

    def write() -> None:
        for number in range(100):
            channel.put(number)
        channel.close()

    writer = threading.Thread(target=write)
    writer.start()
    assert list(channel) == list(range(100))
    writer.join()
    assert channel.dropped == 0


def test_a_reader_that_leaves_wakes_a_waiting_writer() -> None:
    channel: Channel[int] = Channel(1)
    taken: list[bool] = []
    writer = threading.Thread(target=lambda: taken.extend(channel.put(number) for number in range(3)))
    writer.start()
    assert channel.get() == 0  # from here the writer can only end by the next line

    channel.cancel()

    writer.join()
    assert taken[0] is True and taken[-1] is False
    assert not channel.put(9)


def test_an_error_overtakes_what_is_waiting() -> None:
    channel: Channel[int] = Channel(2)
    channel.put(1)
    channel.close(KeyError("lost"))

    with pytest.raises(KeyError, match="lost"):
        channel.get()


def test_a_reader_with_a_timeout_looks_up() -> None:
    channel: Channel[int] = Channel(1)

    assert channel.get(timeout_s=0.0) is None
    channel.close()
    with pytest.raises(EndedError):
        channel.get(timeout_s=0.0)
