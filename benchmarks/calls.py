"""What the longer benchmarks share: command lines as a user types them, and results that do not mix."""
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from stablesdg.storage.errors import UserError
from stablesdg.storage.files import atomic_folder, read_json, write_json
from stablesdg.storage.settings import require_same_settings

ROOT = Path(__file__).resolve().parent.parent


def call(command: Sequence[object], cwd: Path | None, log: Path) -> None:
    """Run `python COMMAND` in the folder cwd. The file `log` gets what it prints.

    Raises UserError with the command's last words if it fails.
    """
    words = [str(part) for part in command]
    script = [str(ROOT / words[0]), *words[1:]] if words[0].endswith(".py") else words
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf-8") as stream:
        stream.write(f"$ python {' '.join(words)}\n")
        stream.flush()
        code = subprocess.run([sys.executable, *script], cwd=cwd, env=os.environ | {"PYTHONPATH": str(ROOT)},
                              stdout=stream, stderr=stream).returncode
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


def copy_folder(source: Path, folder: Path, *without: str) -> None:
    """Copy `source` to `folder`, except files and folders that match the patterns `without`."""
    with atomic_folder(folder) as temporary:
        shutil.copytree(source, temporary, ignore=shutil.ignore_patterns(*without), dirs_exist_ok=True)
