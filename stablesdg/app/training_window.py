"""The gray levels that a trained classifier takes for black and white: those that its training images had."""
from collections.abc import Sequence
from pathlib import Path

from ..data.window import Window, deep_files_of, own_window, read_window
from ..storage.files import read_optional_json
from .paths import dataset_folder


def training_window(files: Sequence[Path]) -> Window | None:
    """The window by which training images are read. None if none has 16-bit pixels."""
    return next((own_window(file) for file in deep_files_of(files)), None)


def choose_window(model: Path, trained_by: Window | None, files: Sequence[Path]) -> Window | None:
    """The window by which a classifier reads these images. Says which it is, where it matters.

    trained_by  what the classifier's file says. Files of older versions say nothing

    Returns None for the window of each image's own data set. It is taken where that of the training is unknown.
    """
    deep = deep_files_of(files)
    if not deep:
        return None
    found = None if trained_by else find_training_window(model)
    window = read_window(found, found.stat().st_mtime_ns) if found else trained_by
    if window:
        print(f"{len(deep)} of {len(files)} images have 16-bit pixels: {window.black} becomes black and {window.white} "
              f"white, as of the images that {model.name} was trained on ({found or window.why})")
        return window
    window = own_window(deep[0])
    print(f"warning: {len(deep)} of {len(files)} images have 16-bit pixels, and nothing says which of their gray "
          f"levels were black and white when {model.name} was trained: those of their own folder are taken, "
          f"{window.black} and {window.white}. A window.json in {model.parent.parent} would say others")
    return None


def find_training_window(model: Path) -> Path | None:
    """window.json in the run folder that a classifier lies in, or in that of its training images."""
    data = read_optional_json(model.with_suffix(".json")).get("arguments", {}).get("data")
    folders = [model.resolve().parent.parent, *([dataset_folder(Path(data))] if data else [])]
    return next((folder / "window.json" for folder in folders if (folder / "window.json").is_file()), None)
