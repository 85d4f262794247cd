"""JSON, CSV and hashes. A file or a folder appears whole or not at all, also if the power fails.

What is new goes to the disk before its name does: first the content (fsync), then the name (rename), then the folder
that holds the name (fsync).
"""
import contextlib
import csv
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .errors import UserError

UNFINISHED = ".unfinished-"  # how the names of files begin that are being written
BEING_WRITTEN = (f"{UNFINISHED}*", ".tmp??????")  # patterns of such names: ours, and those of safetensors


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`. It replaces `path` if the block ends well. If not, it is removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{UNFINISHED}{path.stem}-", suffix=path.suffix)
    os.close(handle)
    try:
        yield Path(name)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # mkstemp makes files that only their owner can read
        flush_file(name)
        os.replace(name, path)
        flush_folder(path.parent)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def partial_folder(out: Path) -> Path:
    """The folder that is filled first and then becomes `out`."""
    return out.with_name(out.name + ".partial")


@contextlib.contextmanager
def atomic_folder(out: Path) -> Iterator[Path]:
    """Give an empty folder beside `out`. It takes the place of `out` if the block ends well. If not, it is removed."""
    partial = partial_folder(out)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    replace_folder(partial, out)


def replace_folder(partial: Path, out: Path) -> None:
    """Put the folder `partial` in the place of `out`. What `out` held before is deleted, after that.

    Between two instants `out` is called .OUT.former. A call that is killed just there leaves both folders whole.
    """
    for folder, _, names in os.walk(partial):
        for name in names:
            flush_file(Path(folder) / name)
        flush_folder(folder)
    former = out.with_name(f".{out.name}.former")
    shutil.rmtree(former, ignore_errors=True)
    if out.exists():
        os.replace(out, former)
    try:
        os.replace(partial, out)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.replace(former, out)
        raise
    flush_folder(out.parent)
    shutil.rmtree(former, ignore_errors=True)


def flush_file(path: str | Path) -> None:
    """Wait until the content of a file is on the disk."""
    windows = os.name == "nt"  # it flushes no file that is open for reading only
    with contextlib.suppress(*[PermissionError] * windows), open(path, "r+b" if windows else "rb") as file:
        os.fsync(file.fileno())


def flush_folder(path: str | Path) -> None:
    """Wait until the names in a folder are on the disk. Windows has no such call, nor have some file systems."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as JSON."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file. Raises UserError if it is not valid."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({error}): restore or delete it.") from None


def read_optional_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object, or return {} if there is none. Raises UserError for anything else."""
    record = read_json(path) if path.is_file() else {}
    if not isinstance(record, dict):
        raise UserError(f"{path} holds no record of names and values: restore or delete it.")
    return record


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a header and rows."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_table(path: str | Path) -> tuple[list[str], list[list[str]]]:
    """(the first line, the rows). A row that is too short has empty cells at its end. Empty lines are passed over.

    Raises UserError if the file is no CSV, or if a row is too long.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            head, *rows = [row for row in csv.reader(file) if row] or [[]]
    except (csv.Error, ValueError) as error:
        raise UserError(f"{path} is not a CSV file ({error}): restore or delete it.") from None
    if any(len(row) > len(head) for row in rows):
        raise UserError(f"{path} has a row with more cells than its first line: restore or delete it.")
    return head, [row + [""] * (len(head) - len(row)) for row in rows]


def read_csv(path: str | Path, columns: Iterable[str] = ()) -> list[dict[str, str]]:
    """Read the rows as dictionaries. Raises UserError as `read_table` does, or if one of `columns` is missing."""
    head, rows = read_table(path)
    if missing := [name for name in columns if rows and name not in head]:
        raise UserError(f"{path} has no column {missing[0]}: restore or delete it.")
    return [dict(zip(head, row)) for row in rows]


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
