"""Which files of a folder are images, what they are called, and which folders are classes."""
from pathlib import Path

from ..storage.errors import UserError

EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}
SYSTEM_FILES = (".DS_Store", "Thumbs.db", "desktop.ini")  # what file managers write beside images
MOST_FOLDERS_NAMED = 8  # in an error


def list_images(folder: str | Path) -> list[Path]:
    """The image files of one folder, sorted by name. Raises UserError if there are none."""
    folder = require_folder(folder)
    files = sorted(f for f in folder.iterdir() if has_image_ending(f) and not is_hidden(f))
    if strange := [f.name for f in files if not is_unicode(f.name)]:
        raise UserError(f"{folder} holds a file whose name is no Unicode ({ascii(strange[0])}): rename it.")
    if not files:
        inside = [f.name for f in sorted(folder.iterdir()) if f.is_dir() and not is_hidden(f)]
        named = ", ".join(inside[:MOST_FOLDERS_NAMED])
        advice = f": it holds the folders {named}, pass one of those" if inside else ""
        raise UserError(f"{folder} holds no images ({', '.join(sorted(EXTENSIONS))}){advice}.")
    return files


def list_categories(folder: str | Path) -> list[Path]:
    """The subfolders that hold images, sorted by name: one for each class. Raises UserError for none or links."""
    folder = require_folder(folder)
    found = [f for f in sorted(folder.iterdir()) if f.is_dir() and not is_hidden(f) and holds_images(f)]
    if linked := [f for f in found if f.is_symlink()]:
        raise UserError(f"{linked[0]} is a link to {linked[0].resolve()}, whose runs would lie elsewhere: make it a "
                        "folder of its own, with the images or links to them.")
    if not found:
        advice = f", as the folder above it may ({folder.resolve().parent})." if holds_images(folder) else "."
        raise UserError(f"{folder} holds no folders of images: it should have one folder for each class{advice}")
    return found


def name_of(file: Path) -> str:
    """CATEGORY/FILE, as manifests and splits name an image."""
    return f"{file.parent.resolve().name}/{file.name}"


def require_folder(folder: str | Path) -> Path:
    """The folder as a Path. Raises UserError if it does not exist."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.")
    return folder


def has_image_ending(file: Path) -> bool:
    """Whether the name ends as an image's does."""
    return file.suffix.lower() in EXTENSIONS


def is_unicode(name: str) -> bool:
    """Whether a name can be written down. Linux also has names of other bytes."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def is_hidden(path: Path) -> bool:
    """Whether the name begins with a dot."""
    return path.name.startswith(".")


def holds_images(folder: Path) -> bool:
    """Whether any file of the folder is named as an image is."""
    return any(has_image_ending(file) and not is_hidden(file) for file in folder.iterdir())
