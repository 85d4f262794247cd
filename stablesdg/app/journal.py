"""expand.json: what expand.py has typed, what each stage read and wrote, what it warned of, and what failed."""
import contextlib
import functools
import hashlib
import io
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..data.folders import SYSTEM_FILES
from ..storage.files import read_optional_json, sha256, write_json
from .stages import Stage

WARNING = "warning: "  # how the lines begin that are kept for the report


def fingerprint(paths: Iterable[Path], text: str = "") -> str:
    """One hash over files, all files in folders, and a text. What is not there counts, too; hidden files do not."""
    digest = hashlib.sha256(text.encode())
    for path in paths:
        inside = sorted(file for file in path.rglob("*") if file.is_file()
                        and not is_of_the_system(file.relative_to(path))) if path.is_dir() else [path]
        for file in inside:
            content = content_of(file, *times(file)) if file.is_file() else "missing"
            digest.update(f"{path.name} {file.relative_to(path).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def is_of_the_system(file: Path) -> bool:
    """Whether a file is hidden, or one that file managers write beside images."""
    return file.name in SYSTEM_FILES or any(part.startswith(".") for part in file.parts)


def times(file: Path) -> tuple[int, int]:
    """Size, and when the file was changed."""
    known = file.stat()
    return known.st_size, known.st_mtime_ns


@functools.cache
def content_of(file: Path, size: int, changed: int) -> str:
    """The file's sha256. What has not changed is not read again: weights are large, and many stages read them."""
    return sha256(file)


class Journal:
    """The file, read at the start and written after every change."""

    def __init__(self, file: Path, good: str | None) -> None:
        self.file = file
        before = read_optional_json(file)
        self.commands: list[dict[str, Any]] = before.get("commands", [])
        self.failed: list[dict[str, str]] = []
        self.good = good

    def entry(self, stage: Stage) -> dict[str, Any] | None:
        """What is noted of a stage."""
        return next((entry for entry in self.commands
                     if (entry["category"], entry["stage"]) == (stage.category, stage.name)), None)

    def begun(self, stage: Stage, read: str) -> dict[str, Any] | None:
        """The entry of the same command, if it began before with the same files. `read` is their fingerprint."""
        entry = self.entry(stage)
        return entry if entry and (entry["command"], entry["read"]) == (stage.command, read) else None

    def is_interrupted(self, stage: Stage, read: str) -> bool:
        """Whether a stage is unfinished and can be gone on with.

        One that replaces another result starts anew until it ends, if it would go on with that result.
        """
        entry = self.begun(stage, read)
        return (entry is not None and "wrote" not in entry
                and (stage.knows_its_own or not entry.get("replaces")))

    def is_done(self, stage: Stage, read: str) -> bool:
        """Whether the same command has ended before, and nothing that it read or wrote has changed since."""
        entry = self.begun(stage, read)
        return entry is not None and entry.get("wrote") == fingerprint(stage.writes)

    def begin(self, stage: Stage, read: str) -> None:
        """Note that a stage runs now, and whether it replaces another result."""
        before, begun = self.entry(stage), self.begun(stage, read)
        replaces = (begun.get("replaces", False) if begun and "wrote" not in begun
                    else any(path.exists() for path in stage.writes))
        self.commands = [entry for entry in self.commands if entry is not before]
        self.commands.append({"command": stage.command, "category": stage.category, "stage": stage.name,
                              "read": read, "replaces": replaces, "warnings": []})
        self.save()

    def end(self, stage: Stage, seconds: float, warnings: list[str]) -> None:
        """Note that a stage has ended well."""
        entry = self.entry(stage)
        assert entry is not None, "it was begun"
        entry |= {"wrote": fingerprint(stage.writes), "seconds": round(seconds, 1), "warnings": warnings,
                  "finished": time.strftime("%Y-%m-%d %H:%M:%S")}
        self.save()

    def fail(self, stage: Stage, why: str) -> None:
        """Note that a stage has failed."""
        self.failed.append({"category": stage.category, "stage": stage.name, "why": why})
        self.save()

    def describe_failures(self) -> str:
        """The failures in words."""
        return "; ".join(f"{one['category'] or 'all classes'}, {one['stage']} ({one['why']})" for one in self.failed)

    def save(self) -> None:
        """Write the file."""
        write_json(self.file, {"good": self.good or "", "commands": self.commands, "failed": self.failed})


class WarningsKept(io.TextIOBase):
    """A text stream that passes everything on and keeps the lines that are warnings."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.line, self.warnings = stream, "", []

    def write(self, text: str) -> int:
        """Pass text on."""
        self.line += text
        *lines, self.line = self.line.split("\n")
        self.warnings += [line.removeprefix(WARNING) for line in lines if line.startswith(WARNING)]
        return self.stream.write(text)

    def flush(self) -> None:
        """Pass everything on at once."""
        self.stream.flush()

    def isatty(self) -> bool:
        """Whether a person looks on."""
        return self.stream.isatty()


@contextlib.contextmanager
def keep_warnings() -> Iterator[list[str]]:
    """Give a list that holds, after the block, the warnings that were printed in it."""
    stream = WarningsKept(sys.stdout)
    with contextlib.redirect_stdout(stream):
        yield stream.warnings
