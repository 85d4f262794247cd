"""What the longer benchmarks share: command lines as a user types them, run once, and results that do not mix."""
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stablesdg.storage.errors import UserError
from stablesdg.storage.files import atomic_folder, read_json, read_optional_json, write_json
from stablesdg.storage.settings import require_same_settings

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Job:
    """One command line, and how to see that it is finished."""
    command: tuple[object, ...]
    done: Path  # a file that is there at the end
    kind: str = ""  # what it is called (default: its command line)
    seeds: int = 0  # where `done` is a result of classify.py: how many it must hold
    copy: tuple[Path, Path] | None = None  # (from, to) before it, unless the second is there
    without: tuple[str, ...] = ()  # patterns of what is not copied

    def missing(self) -> int:
        """How many trainings are still to be done. Where none are counted: 1, or 0 if it is finished."""
        if self.seeds:
            return max(0, self.seeds - len(read_optional_json(self.done).get("rows", ())))
        return 0 if self.done.is_file() else 1

    def text(self) -> str:
        """The command line."""
        return "python " + shlex.join(map(str, self.command))


def run(job: Job, place: Path, count: str = "") -> float:
    """Run a command unless it is finished. What it prints goes into log.txt of the folder `place`.

    Prints `count`, what the command is called, and its minutes. Returns its seconds, 0 if it was finished.
    """
    if job.copy and not job.copy[1].exists():
        source, folder = job.copy
        with atomic_folder(folder) as temporary:
            shutil.copytree(source, temporary, ignore=shutil.ignore_patterns(*job.without), dirs_exist_ok=True)
    if not job.missing():
        return 0.0
    start = time.monotonic()
    print(f"{count} {job.kind or job.text()}".strip(), end="  ", flush=True)
    try:
        call(job.command, place / "log.txt")
    finally:
        seconds = time.monotonic() - start
        print(f"{seconds / 60:.1f} min", flush=True)
    return seconds


def call(command: Sequence[object], log: Path) -> None:
    """Run `python COMMAND`. The file `log` gets what it prints.

    Raises UserError with the command's last words if it fails.
    """
    words = [str(part) for part in command]
    script = [str(ROOT / words[0]), *words[1:]] if words[0].endswith(".py") else words
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf-8") as stream:
        stream.write(f"$ python {' '.join(words)}\n")
        stream.flush()
        code = subprocess.run([sys.executable, *script], env=os.environ | {"PYTHONPATH": path}, stdout=stream,
                              stderr=stream).returncode
    if code:
        last = log.read_text(encoding="utf-8").strip().splitlines()[-1]
        raise UserError(f"python {' '.join(words)} ended with exit code {code} ({last}); all it printed is in {log}.")


def keep_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write settings.json. Raises UserError if the folder holds results that were made with other settings."""
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
    file = Path(folder) / "settings.json"
    if file.is_file():
        require_same_settings(folder, read_json(file), settings, "pass another --out")
    write_json(file, settings)
