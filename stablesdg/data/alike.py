"""Images brought to one scale, and their fine detail alone, so that they can be compared."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from .images import read_image, readable

HIGH_PASS_SIGMA = 3.0  # pixels; the high-pass takes away what is blurred by this much
MAX_SIDE = 256  # pixels; larger images are shrunk first, all by the same factor


@dataclass(frozen=True)
class AlikeImages:
    """Images of similar size, all shrunk by one factor to at most MAX_SIDE pixels."""
    indices: list[int]  # in the list of files
    images: list[np.ndarray]  # gray, (H, W)


def high_pass(gray: np.ndarray) -> np.ndarray:
    """(H, W) -> (H, W) float32 of mean 0 and deviation 1, without what is larger than a few pixels."""
    gray = np.asarray(gray, dtype=np.float32)
    fine = gray - gaussian_filter(gray, HIGH_PASS_SIGMA)
    return (fine - fine.mean()) / (fine.std() + 1e-6)


def shrink(image: Image.Image, factor: int) -> np.ndarray:
    """(H, W) -> (H // factor, W // factor), averaged, but at least one pixel."""
    gray = np.array(image, dtype=np.float32)
    if factor == 1:
        return gray
    return area_mean(gray, max(1, gray.shape[0] // factor), max(1, gray.shape[1] // factor))


def area_mean(gray: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """(H, W) -> (rows, columns) float32: each pixel is the mean of the whole pixels that it covers or touches."""
    total = np.asarray(gray, dtype=np.float64)
    for axis, n in enumerate((rows, columns)):
        edges = np.arange(n + 1) * total.shape[axis]
        first, last = edges[:-1] // n, -(-edges[1:] // n)
        sums = np.insert(total.cumsum(axis=axis), 0, 0, axis=axis)
        widths = (last - first).reshape((-1, 1) if axis == 0 else (1, -1))
        total = (sums.take(last, axis=axis) - sums.take(first, axis=axis)) / widths
    return total.astype(np.float32)


def shrink_factor(longest_side: int) -> int:
    """The least whole number that brings a side to at most MAX_SIDE pixels."""
    return -(-longest_side // MAX_SIDE)


def read_alike(files: Sequence[Path]) -> list[AlikeImages]:
    """Read images in sets that can be compared.

    Within a set, longer sides differ by a factor of two at most, or need no shrinking. Images of different sets are
    never compared. Raises UserError if a file cannot be read.
    """
    sides = []
    for file in files:
        with readable(file), Image.open(file) as image:
            sides.append(max(image.size))
    sets: list[list[int]] = []
    for i in sorted(range(len(files)), key=sides.__getitem__):
        if not sets or sides[i] > max(MAX_SIDE, 2 * sides[sets[-1][0]]):
            sets.append([])
        sets[-1].append(i)
    alike = []
    for indices in map(sorted, sets):
        factor = shrink_factor(max(sides[i] for i in indices))
        grays = [shrink(read_image(files[i])[0].convert("L"), factor) for i in indices]
        alike.append(AlikeImages(indices, grays))
    return alike
