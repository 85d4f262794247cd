"""The virtual environment that `make demo` and `make test` set up for themselves. Needs Python alone."""
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path, PurePath

ROOT = Path(__file__).resolve().parents[2]


def environment_python(environment: PurePath, windows: bool) -> PurePath:
    """The interpreter of a virtual environment."""
    return environment / "Scripts" / "python.exe" if windows else environment / "bin" / "python"


def ensure_environment(requirements: str = "requirements.txt", root: Path = ROOT) -> Path:
    """Make root/.venv with these requirements, unless it is there already. Returns its interpreter."""
    environment = root / ".venv"
    python = Path(environment_python(environment, os.name == "nt"))
    if not python.is_file():
        print(f"making {environment}", flush=True)
        try:
            venv.create(environment, with_pip=True)
        except BaseException as error:  # Ctrl-C, too
            shutil.rmtree(environment, ignore_errors=True)  # a half one would be taken for whole the next time
            if not isinstance(error, (subprocess.CalledProcessError, OSError)):
                raise
            sys.exit(f"error: Python could not make {environment} ({error}). On Debian and Ubuntu, install "
                     "python3-venv.")
    contents = b"".join((root / name).read_bytes() for name in ("requirements.txt", requirements))
    wanted = hashlib.sha256(contents).hexdigest()
    done = environment / ("installed-" + requirements.replace("/", "-"))
    if not done.is_file() or done.read_text() != wanted:
        print(f"installing {requirements}; PyTorch is a large download", flush=True)
        if subprocess.run([python, "-m", "pip", "install", "-q", "-r", requirements], cwd=root).returncode:
            sys.exit("error: the packages could not be installed: pip says why above. The same command tries again.")
        done.write_text(wanted)
    return python


def run(python: Path, *command: str) -> None:
    """Run the environment's Python at the root of the project. Ends this process if the command fails."""
    code = subprocess.run([python, *command], cwd=ROOT).returncode
    if code:
        sys.exit(code)
