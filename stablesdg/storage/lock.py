"""One run at a time in a folder. The operating system drops a lock when its process ends, however it ends."""
import contextlib
import errno
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import UserError
from .files import BEING_WRITTEN
from .torchrun import is_first

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

NAME = ".lock"
UNFINISHED_SECONDS = 60
TAKEN = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)  # what a system answers if another process holds the lock


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """A block in which no other run works in `folder`. Raises UserError if one is at work there."""
    with _held(folder / NAME, folder):
        remove_unfinished(folder)
        yield


@contextlib.contextmanager
def alone_at(folder: Path) -> Iterator[None]:
    """As `alone_in`, for a folder that is replaced as a whole: its lock lies beside it."""
    folder = folder.absolute()
    with _held(folder.with_name(f".{folder.name}{NAME}"), folder):
        yield


@contextlib.contextmanager
def _held(file: Path, folder: Path) -> Iterator[None]:
    """Hold the lock on `file`. Afterwards the file goes, and so do the folders that were made for it, if empty.

    Of the processes that torchrun starts, the first holds it for all.
    """
    if not is_first():
        yield
        return
    made = [parent for parent in file.absolute().parents if not parent.exists()]
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = _open(file, folder)
        try:
            yield
        finally:
            if sys.platform == "win32":  # it removes no open file
                os.close(handle)
            with contextlib.suppress(OSError):
                os.unlink(file)
            if sys.platform != "win32":
                os.close(handle)
    finally:
        with contextlib.suppress(OSError):  # not empty, or gone
            for parent in made:
                parent.rmdir()


def remove_unfinished(folder: Path) -> None:
    """Remove the files that a killed run was writing. What is younger than a minute may be another command's."""
    for file in [file for pattern in BEING_WRITTEN for file in folder.glob(pattern)]:
        with contextlib.suppress(OSError):
            if time.time() - file.stat().st_mtime > UNFINISHED_SECONDS:
                file.unlink()


def _open(file: Path, folder: Path) -> int:
    """The handle of the locked file. A file that its owner removed in the meantime locks nothing: try the next one."""
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(handle)
            if _is_still(file, handle):
                return handle
        except OSError as error:
            os.close(handle)
            if error.errno in TAKEN:
                raise UserError(f"Another run is at work in {folder}: wait until it ends, or take another "
                                "folder.") from None
            raise
        os.close(handle)


def _lock(handle: int) -> None:
    """Lock an open file, or raise OSError at once. A file system that knows no locks is used without."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in TAKEN:
            raise


def _is_still(file: Path, handle: int) -> bool:
    """Whether the open file is the one that lies at its path."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(file))
    except FileNotFoundError:
        return False
