"""What torchrun says of this process: which one of how many it is. Needs no PyTorch, so that help stays quick.

torchrun --nproc_per_node=N SCRIPT starts N processes of one command. The first one speaks and writes. The others
compute, and say errors only.
"""
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO

from .errors import UserError

_by_itself = False  # within `by_itself`


def size() -> int:
    """How many processes share this command's work. One without torchrun."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ and not _by_itself else 1


def rank() -> int:
    """The number of this process, from 0 on."""
    return int(os.environ["RANK"]) if size() > 1 else 0


def local_rank() -> int:
    """The number of this process on its machine, from 0 on: it uses the GPU of that number."""
    return int(os.environ["LOCAL_RANK"]) if size() > 1 else 0


def is_first() -> bool:
    """Whether this process speaks and writes."""
    return rank() == 0


def refuse_many() -> None:
    """Raise UserError if there are several processes: for commands that do not share out their work."""
    if size() > 1:
        raise UserError("This command works in one process: type python in the place of torchrun and its options.")


@contextlib.contextmanager
def by_itself() -> Iterator[None]:
    """A block in which the first process works as if it were the only one. No other process may enter it."""
    global _by_itself
    before, _by_itself = _by_itself, True
    try:
        yield
    finally:
        _by_itself = before


class ErrorsOnly(io.TextIOBase):
    """The stream of errors. It says that it is no terminal, so that it gets no progress bars."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Pass text on."""
        return self.stream.write(text)

    def flush(self) -> None:
        """Pass everything on at once."""
        self.stream.flush()


@contextlib.contextmanager
def only_the_first_speaks() -> Iterator[None]:
    """A block in which all processes but the first print errors only."""
    if is_first():
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere), \
            contextlib.redirect_stderr(ErrorsOnly(sys.stderr)):
        yield
