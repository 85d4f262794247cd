"""Which of a camera's gray levels become black and white: images of 10 or 12 bits that are stored in 16.

Read as 16 bits they would be nearly black. One window holds for a whole data set, so that no class is told from another
by it. It is measured when a script first meets such an image, and kept in runs/DATASET/window.json:

    {"black": 64, "white": 3811, "why": "0.1 and 99.9 percent of the pixels of 120 images"}

Whoever knows better writes other numbers there, or makes 8-bit images by python -m stablesdg.prepare --black --white.
A trained classifier reads new images by the window of its training images: see `reading_by`.
"""
from __future__ import annotations

import contextlib
import functools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..storage.errors import UserError
from ..storage.files import read_json, write_json
from ..storage.runs import dataset_folder
from .folders import is_hidden

PERCENT_BLACK, PERCENT_WHITE = 0.1, 99.9  # of the pixels that are darker
MOST_IMAGES = 200  # are measured, evenly spread over the data set
LEVELS = 2**16
DEEP_LEVEL = 2**14  # a gray level that no camera of 10 or 12 bits reaches
DEEP_ENDINGS = (".png", ".tif", ".tiff")  # of files that may have 16 bits
UNREADABLE = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)  # what Pillow raises then


@dataclass(frozen=True)
class Window:
    """Gray levels that become 0 and 255. What lies beyond is clipped."""
    black: int
    white: int
    why: str

    def __post_init__(self) -> None:
        if not 0 <= self.black < self.white < LEVELS:
            raise UserError(f"black {self.black} and white {self.white} are no window: 0 <= black < white < {LEVELS}.")

    def to_8_bits(self, pixels: np.ndarray) -> np.ndarray:
        """Gray levels (H, W) -> uint8 (H, W)."""
        scaled = (np.asarray(pixels, dtype=np.float64) - self.black) * (255 / (self.white - self.black))
        return scaled.round().clip(0, 255).astype(np.uint8)


FULL = Window(0, LEVELS - 1, "all 16 bits are used")


def is_deep(image: Image.Image, path: Path) -> bool:
    """Whether an opened image has 16-bit gray levels."""
    return image.mode.startswith("I;16") or (image.mode == "I" and path.suffix.lower() == ".png")  # older Pillows say I


_given: Window | None = None  # the window of `reading_by`, for all threads


@contextlib.contextmanager
def reading_by(window: Window | None) -> Iterator[None]:
    """A block that reads 16-bit images by this window. None leaves each to the window of its own data set."""
    global _given
    before, _given = _given, window
    try:
        yield
    finally:
        _given = before


def window_for(path: Path, highest: int) -> Window:
    """The window of a 16-bit image whose highest gray level is given: that of its data set, DATASET/CATEGORY/FILE.

    It is read from the run folder. If none is there, the image may use all 16 bits. If it does not, the data set is
    measured, and its window is said and written down. A window that `reading_by` gives comes before all that.
    """
    if _given:
        return _given
    data = path.parent.resolve().parent  # a link to a file belongs where the link is
    file = dataset_folder(data) / "window.json"
    if file.is_file():
        return read_window(file, file.stat().st_mtime_ns)
    if highest == 0 or highest >= DEEP_LEVEL:
        return FULL
    window = measure_window(deep_files(data))
    write_json(file, asdict(window))
    if window != FULL:
        print(f"images of {data} have 16-bit pixels: {window.black} becomes black and {window.white} white "
              f"({window.why}); other numbers in {file} would change that")
    return window


@functools.lru_cache
def read_window(file: Path, changed: int) -> Window:
    """The window in a file that was last changed then. Raises UserError if the file holds none."""
    try:
        value = read_json(file)
        return Window(int(value["black"]), int(value["white"]), str(value.get("why", "")))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(f'{file} should hold {{"black": NUMBER, "white": NUMBER}}: mend or delete it.') from None


def deep_files(data: Path) -> list[Path]:
    """The image files in the folders of a data set that may have 16 bits."""
    return sorted(file for folder in data.iterdir() if folder.is_dir() and not is_hidden(folder)
                  for file in folder.iterdir() if file.suffix.lower() in DEEP_ENDINGS and not is_hidden(file))


def measure_window(files: Sequence[Path]) -> Window:
    """From the 0.1 to the 99.9 percent of the pixels of 16-bit files; all 16 bits if one of the files uses them."""
    histogram, images = np.zeros(LEVELS, dtype=np.int64), 0
    for pixels in deep_pixels(files[::-(-len(files) // MOST_IMAGES) or 1]):
        histogram += np.bincount(pixels.ravel(), minlength=LEVELS)
        images += 1
    if histogram[DEEP_LEVEL:].any():
        return FULL
    share = histogram.cumsum() / max(1, histogram.sum()) * 100
    black, white = (int(np.searchsorted(share, percent)) for percent in (PERCENT_BLACK, PERCENT_WHITE))
    return Window(black, max(black + 1, white),
                  f"{PERCENT_BLACK:g} and {PERCENT_WHITE:g} percent of the pixels of {images} images")


def deep_pixels(files: Sequence[Path]) -> Iterator[np.ndarray]:
    """The gray levels of 16-bit files. Files that cannot be read are passed over: whoever needs them says so."""
    for file in files:
        with contextlib.suppress(*UNREADABLE), Image.open(file) as image:
            if is_deep(image, file):
                yield np.asarray(image).astype(np.int64).clip(0, LEVELS - 1)


def deep_files_of(files: Sequence[Path]) -> list[Path]:
    """Those of the files that have 16-bit gray levels, by their headers."""
    deep = []
    for file in files:
        with contextlib.suppress(*UNREADABLE), Image.open(file) as image:
            if is_deep(image, file):
                deep.append(file)
    return deep


def own_window(file: Path) -> Window:
    """The window by which a 16-bit file is read."""
    return next((window_for(file, int(pixels.max())) for pixels in deep_pixels([file])), FULL)


def window_note(path: Path) -> str:
    """What a result depends on beside the bytes of an image file: "" or its window, for the name of a kept feature."""
    if path.suffix.lower() not in DEEP_ENDINGS:
        return ""
    window = own_window(path)
    return "" if window == FULL else f"-{window.black}-{window.white}"
