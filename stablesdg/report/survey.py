"""What the folder of real images holds: sizes, bits, brightness, and files that are odd."""
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageStat

from ..data.folders import has_image_ending, is_hidden
from ..data.window import UNREADABLE
from .thumbnails import evenly, open_picture, shrink

MOST_MEASURED = 120  # images of a class whose brightness is measured, evenly spread
MEASURED_SIDE = 64  # pixels; the mean of an image does not need more
COLOUR, GRAY_AS_COLOUR = "8 bits, colour", "8 bits, gray stored as colour"
BITS = {"1": "1 bit", "L": "8 bits, gray", "LA": "8 bits, gray", "P": "8 bits, palette", "I": "16 bits, gray"}


@dataclass(frozen=True)
class Survey:
    """One class folder."""
    name: str
    files: Sequence[Path]
    sizes: Counter[str]  # {"200 x 200": images}
    bits: Counter[str]
    brightness: tuple[float, float, float]  # 5 %, median and 95 % of the images' mean gray levels, 0 to 255
    odd: Sequence[str]  # names of files that are no images or cannot be read


def survey_class(folder: Path) -> Survey:
    """Look at one class folder."""
    entries = sorted(entry for entry in folder.iterdir() if not is_hidden(entry))
    files = [entry for entry in entries if entry.is_file() and has_image_ending(entry)]
    images_named = {file.name for file in files}
    odd = [entry.name for entry in entries if entry.name not in images_named]
    sizes: Counter[str] = Counter()
    bits: Counter[str] = Counter()
    for file in files:
        try:
            with Image.open(file) as image:
                sizes[f"{image.width} × {image.height}"] += 1
                bits[bits_of(image.mode)] += 1
        except UNREADABLE:
            odd.append(f"{file.name} (cannot be read)")
    images = [shrink(image, MEASURED_SIDE) for image in map(open_picture, evenly(files, MOST_MEASURED)) if image]
    levels = [ImageStat.Stat(image.convert("L")).mean[0] for image in images]
    if images and all(image.mode == "L" for image in images) and set(bits) == {COLOUR}:
        bits = Counter({GRAY_AS_COLOUR: bits[COLOUR]})
    return Survey(folder.name, files, sizes, bits, spread(levels), odd)


def bits_of(mode: str) -> str:
    """Pillow's mode in words."""
    return BITS.get(mode, "16 bits, gray" if mode.startswith("I;16") else COLOUR)


def spread(levels: Sequence[float]) -> tuple[float, float, float]:
    """The 5 %, 50 % and 95 % points."""
    low, middle, high = np.percentile(levels or [0.0], (5, 50, 95)).tolist()
    return low, middle, high
