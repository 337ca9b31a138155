"""Bounded queues between threads that either side can end, so that no thread is left waiting."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")

POLL_S = 0.2
"""A waiting reader looks up this often, so that a signal handler's flag is seen."""


class EndedError(Exception):
    """Nothing more comes through a channel."""


class Channel(Generic[Item]):
    """Hands items over in order. Where `newest` is set, a full channel drops its oldest item instead of waiting.

    >>> channel: Channel[int] = Channel(2, newest=True)
    >>> [channel.put(number) for number in (1, 2, 3)], channel.dropped
    ([True, True, True], 1)
    >>> channel.close()
    >>> list(channel)
    [2, 3]
    """

    def __init__(self, capacity: int, *, newest: bool = False) -> None:
        self._items: deque[Item] = deque()
        self._capacity = capacity
        self._newest = newest
        self._changed = threading.Condition()
        self._closed = False
        self._error: BaseException | None = None
        self.dropped = 0

    def put(self, item: Item) -> bool:
        """Hand an item over, once there is room; False where the channel is closed."""
        with self._changed:
            while len(self._items) >= self._capacity and not self._closed:
                if self._newest:
                    self._items.popleft()
                    self.dropped += 1
                else:
                    self._changed.wait()
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def close(self, error: BaseException | None = None) -> None:
        """End the channel: the reader still gets what is in it, or else `error`, at once."""
        with self._changed:
            self._closed = True
            self._error = self._error or error
            self._changed.notify_all()

    def cancel(self) -> None:
        """End the channel for a reader that wants no more."""
        with self._changed:
            self._items.clear()
            self.close()  # before a waiting writer fills it again

    def get(self, timeout_s: float | None = None) -> Item | None:
        """The next item; None when `timeout_s` passes without one. EndedError at the end, or the writer's error."""
        with self._changed:
            while not self._items and not self._closed:
                if not self._changed.wait(timeout_s) and timeout_s is not None:
                    return None
            if self._error is not None:
                raise self._error
            if not self._items:
                raise EndedError
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def __iter__(self) -> Iterator[Item]:
        while True:
            try:
                item = self.get()
            except EndedError:
                return
            if item is not None:
                yield item


class Turns(Generic[Item]):
    """Channels taken in turn, as one: what is put goes round them, and what is got comes round in the same order.

    >>> turns = Turns([Channel[int](2), Channel[int](2)])
    >>> [turns.put(number) for number in (1, 2, 3)], turns.get(), turns.get(), turns.get()
    ([True, True, True], 1, 2, 3)
    """

    def __init__(self, channels: Sequence[Channel[Item]]) -> None:
        self.channels = channels
        self._puts = self._gets = 0

    @property
    def dropped(self) -> int:
        """Items that gave way to newer ones."""
        return sum(channel.dropped for channel in self.channels)

    def put(self, item: Item) -> bool:
        """Hand an item to the channel whose turn it is, as `Channel.put`."""
        self._puts += 1
        return self.channels[(self._puts - 1) % len(self.channels)].put(item)

    def get(self, timeout_s: float | None = None) -> Item | None:
        """The next item of the channel whose turn it is, as `Channel.get`."""
        item = self.channels[self._gets % len(self.channels)].get(timeout_s)
        self._gets += item is not None
        return item

    def close(self, error: BaseException | None = None) -> None:
        """End all channels, as `Channel.close`."""
        for channel in self.channels:
            channel.close(error)

    def cancel(self) -> None:
        """End all channels for a reader that wants no more."""
        for channel in self.channels:
            channel.cancel()
