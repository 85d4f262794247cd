"""Which files of a folder are images, and which folders are classes."""
from pathlib import Path

from ..storage.errors import UserError

EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}


def list_images(folder):
    """The image files of one folder, sorted by name."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.")
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in EXTENSIONS and not f.name.startswith("."))
    if not files:
        inside = [f.name for f in sorted(folder.iterdir()) if f.is_dir() and not f.name.startswith(".")]
        advice = f": it holds the folders {', '.join(inside[:8])}, pass one of those" if inside else ""
        raise UserError(f"{folder} holds no images ({', '.join(sorted(EXTENSIONS))}){advice}.")
    return files


def list_categories(folder):
    """The subfolders that hold images, sorted by name: one for each class."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.")
    found = [f for f in sorted(folder.iterdir()) if f.is_dir() and not f.name.startswith(".")
             and any(x.suffix.lower() in EXTENSIONS for x in f.iterdir())]
    if not found:
        above = any(f.suffix.lower() in EXTENSIONS for f in folder.iterdir())
        raise UserError(f"{folder} holds no folders of images: it should have one folder for each class"
                        + (f", as the folder above it may ({folder.resolve().parent})." if above else "."))
    return found
