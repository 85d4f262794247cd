"""Ctrl-C, and SIGTERM as batch systems and closing machines send it: stop where everything can be saved.

A loop asks between two steps whether it is to stop. Everything else stops at once, by KeyboardInterrupt.
"""
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from ..storage.torchrun import is_first

Handler = Callable[[int, FrameType | None], None]
received: list[int] = []  # signals that asked this process to stop, in their order


@contextlib.contextmanager
def handled_by(handler: Handler, numbers: Sequence[int]) -> Iterator[None]:
    """A block in which `handler` gets these signals. In a thread they stay as they are: it cannot handle them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)


def stop(number: int, frame: FrameType | None) -> None:
    """Do what Python does on Ctrl-C."""
    received.append(number)
    raise KeyboardInterrupt


@contextlib.contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """A block that SIGTERM stops as Ctrl-C does, so that it says what is saved."""
    received.clear()
    with handled_by(stop, [signal.SIGTERM]):
        yield


def exit_code() -> int:
    """What a process that was stopped ends with, by the custom of shells: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (received[0] if received else signal.SIGINT)


@contextlib.contextmanager
def stop_when_asked() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether one of the signals came in this block. A second one stops at once."""
    count = 0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        received.append(number)
        if count > 1:
            raise KeyboardInterrupt
        name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
        if is_first():
            print(f"\n{name}: saving after this iteration; once more stops at once", file=sys.stderr, flush=True)

    with handled_by(note, [signal.SIGINT, signal.SIGTERM]):
        yield lambda: count > 0
