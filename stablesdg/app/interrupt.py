"""Ctrl-C as a question that a loop asks between two steps, so that it stops where everything can be saved."""
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def stop_when_asked() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether Ctrl-C was pressed in this block. A second Ctrl-C stops at once."""
    if threading.current_thread() is not threading.main_thread():  # only there can signals be handled
        yield lambda: False
        return
    presses: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        presses.append(number)
        if len(presses) > 1:
            raise KeyboardInterrupt
        print("\nCtrl-C: saving after this iteration; once more stops at once", file=sys.stderr, flush=True)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(presses)
    finally:
        signal.signal(signal.SIGINT, before)
