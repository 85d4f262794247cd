"""What the longer benchmarks share: the project's own command lines as a user types them, and results that do not mix."""
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from stablesdg.storage.errors import UserError
from stablesdg.storage.files import read_json, write_json


def call(command, cwd, log):
    """Run `python COMMAND` in the folder cwd; the file `log` gets what it prints. Raises UserError with its last words."""
    command = [str(part) for part in command]
    script = [str(ROOT / command[0]), *command[1:]] if command[0].endswith(".py") else command
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf-8") as stream:
        stream.write(f"$ python {' '.join(command)}\n")
        stream.flush()
        code = subprocess.run([sys.executable, *script], cwd=cwd, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=stream,
                              stderr=stream).returncode
    if code:
        last = log.read_text(encoding="utf-8").strip().splitlines()[-1]
        raise UserError(f"python {' '.join(command)} ended with exit code {code} ({last}); all it printed is in {log}.")


def keep_settings(folder, settings):
    """Write settings.json, or refuse a folder whose results were made with other settings."""
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in settings.items()}
    file = Path(folder) / "settings.json"
    before = read_json(file) if file.is_file() else settings
    if changed := [f"{k} was {before.get(k)}" for k in settings if before.get(k) != settings[k]]:
        raise UserError(f"{folder} holds results of other settings ({', '.join(changed)}): pass another --out.")
    write_json(file, settings)


@contextmanager
def atomic_folder(folder):
    """A temporary folder that takes the name `folder` when the block ends without an error."""
    temporary = folder.with_name(folder.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    yield temporary
    temporary.replace(folder)


def copy_folder(source, folder, *without):
    """A copy of `source` under the name `folder`, but for files and folders that match the patterns `without`."""
    with atomic_folder(folder) as temporary:
        shutil.copytree(source, temporary, ignore=shutil.ignore_patterns(*without), dirs_exist_ok=True)
