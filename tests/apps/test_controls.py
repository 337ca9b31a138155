"""Keys and signals."""

import os
import signal

import pytest

from edge_seg.apps.controls import Controls


def press(keys: str) -> Controls:
    """Controls after some keys."""
    controls = Controls()
    for key in keys:
        controls.press(ord(key))
    return controls


@pytest.mark.parametrize(
    ("keys", "state"),
    [
        ("", (False, False, True)),
        ("q", (True, False, True)),
        ("Q", (True, False, True)),
        (" ", (False, True, True)),
        ("  ", (False, False, True)),
        ("o", (False, False, False)),
        ("oxO", (False, False, True)),
    ],
)
def test_keys(keys: str, state: tuple[bool, bool, bool]) -> None:
    controls = press(keys)

    assert (controls.quit, controls.paused, controls.overlay) == state


def test_only_s_asks_for_a_screenshot_and_no_key_does_nothing() -> None:
    controls = Controls()

    assert [controls.press(key) for key in (ord("s"), ord("S"), ord("x"), -1, 0x100000 + ord("s"))] == [
        True, True, False, False, True,
    ]  # fmt: skip
    assert (controls.quit, controls.paused, controls.overlay) == (False, False, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_interrupts(number: signal.Signals) -> None:
    controls, before = Controls(), signal.getsignal(number)

    with controls.on_signals():
        os.kill(os.getpid(), number)
        assert controls.quit
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before
