"""The parts of a split as plain folders, for tools that know nothing of split.json."""
import shutil
from collections.abc import Mapping
from pathlib import Path

from ..storage.errors import UserError
from ..storage.files import atomic_folder
from .parts import PARTS


def require_empty(out: Path) -> None:
    """Raise UserError if the folder holds anything."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not empty: pass a new folder.")


def export_parts(files: Mapping[str, Path], parts: Mapping[str, str], out: Path) -> int:
    """Copy images to OUT/PART/CATEGORY/FILE. The folder appears whole or not at all. Returns the number of images.

    files, parts  by name, CATEGORY/FILE. What was left out of all parts is left out here, too
    """
    require_empty(out)
    kept = [name for name in sorted(files) if parts[name] in PARTS]
    with atomic_folder(out) as partial:
        for name in kept:
            copy_into(partial, Path(parts[name]) / name, files[name])
    return len(kept)


def copy_into(out: Path, target: Path, file: Path) -> str:
    """Copy a file to OUT/TARGET. Returns TARGET as text."""
    (out / target).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, out / target)
    return target.as_posix()
