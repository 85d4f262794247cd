"""Which pairs of images may share surface at all: those of which one point's surroundings are much alike.

A mark is a point that is brighter or darker than all points near it. An overlap shows the same marks in both images.
Each image has a hundred, spread evenly, and each mark a vector of numbers that says what surrounds it. All vectors of
all images are compared by products of matrices. That takes a tenth of the time of the transforms in overlap.py.
"""
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from .arithmetic import product

MARKS = 50  # bright ones of an image, and as many dark ones
MARK_CELLS = 6  # along each side of an image; all cells give their strongest mark before one gives its second
MARK_SIGMA, PATCH_SIGMA = 1.5, 1.0  # pixels; how much an image is smoothed before marks are sought, and patches cut
MARK_RADIUS = 3  # pixels within which no point is stronger
MARK_MARGIN = 5  # pixels to the border of the image
PATCH_SIDE, PATCH_STEP = 20, 2  # pixels; every second pixel of the surroundings counts
MARK_VALUES = 64  # that stand for the 100 pixels of a patch
FLOOR = 0.01  # of the largest variance, added to all, so that noise is not blown up
MIN_MARK_CORRELATION = 0.55  # of the best pair of marks; overlaps of real surfaces have 0.56 to 1
MIN_MARKED_SIDE = 3 * PATCH_SIDE  # pixels; smaller images have too few marks, and all their pairs are compared
ROWS_AT_ONCE, PARTNERS_AT_ONCE = 8, 32  # images of a block: each mark that is read from memory serves several products


def marks_of(images: Sequence[np.ndarray], mirrored: Sequence[np.ndarray] | None = None) -> list[np.ndarray] | None:
    """The marks (2, n, MARKS, MARK_VALUES) of n high-passed images, bright ones first, and those of the mirrored ones.

    A vector has length 1, or is 0 where an image has fewer marks. Nothing comes back where an image is too small.
    """
    if min(min(image.shape) for image in images) < MIN_MARKED_SIDE:
        return None
    both = [patches_of(some) for some in (images, mirrored) if some is not None]
    directions = whitening(both[0])
    return [unit(patches @ directions) for patches in both]


def patches_of(images: Sequence[np.ndarray]) -> np.ndarray:
    """(2, n, MARKS, 100): the surroundings of the marks of n high-passed images."""
    patches = np.zeros((2, len(images), MARKS, (PATCH_SIDE // PATCH_STEP) ** 2), dtype=np.float32)
    for i, image in enumerate(images):
        smooth = gaussian_filter(image, MARK_SIGMA)
        padded = np.pad(gaussian_filter(image, PATCH_SIGMA), PATCH_SIDE // 2)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (PATCH_SIDE, PATCH_SIDE))
        for kind, gray in enumerate((smooth, -smooth)):
            y, x = strongest_points(gray)
            cut = windows[y, x, ::PATCH_STEP, ::PATCH_STEP]
            patches[kind, i, :len(y)] = cut.reshape(len(y), -1)
    return patches


def strongest_points(gray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(y, x) of at most MARKS local maxima of an image (H, W): those first that are the strongest of their cells."""
    H, W = gray.shape
    inside = (slice(MARK_MARGIN, H - MARK_MARGIN), slice(MARK_MARGIN, W - MARK_MARGIN))
    apart = MARK_MARGIN - MARK_RADIUS
    y, x = np.nonzero(gray[inside] >= highest_around(gray)[apart:-apart, apart:-apart])
    y, x = y + MARK_MARGIN, x + MARK_MARGIN
    order = np.argsort(-gray[y, x], kind="stable")
    cells = ((y * MARK_CELLS // H) * MARK_CELLS + x * MARK_CELLS // W)[order]
    by_cell = np.argsort(cells, kind="stable")
    rank = np.empty(len(cells), dtype=int)
    rank[by_cell] = np.arange(len(cells)) - np.searchsorted(cells[by_cell], cells[by_cell])
    chosen = order[np.argsort(rank, kind="stable")][:MARKS]
    return y[chosen], x[chosen]


def highest_around(gray: np.ndarray) -> np.ndarray:
    """(H, W) -> (H - 6, W - 6): the maximum within MARK_RADIUS = 3 pixels, for pixels that have so many around them."""
    for _ in range(2):  # along one axis, then along the other
        two = np.maximum(gray[1:], gray[:-1])
        four = np.maximum(two[2:], two[:-2])
        gray = np.maximum(four[3:], four[:-3]).T
    return gray


def whitening(patches: np.ndarray) -> np.ndarray:
    """(100, MARK_VALUES): the directions in which patches differ most, scaled so that all count alike."""
    flat = patches.reshape(-1, patches.shape[-1])
    variances, directions = np.linalg.eigh(flat.T @ flat / len(flat))  # smallest first
    kept, largest = slice(-MARK_VALUES, None), variances[-1] + 1e-12
    return (directions[:, kept] / np.sqrt(variances[kept].clip(0) + FLOOR * largest)).astype(np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    """(.., k) -> (.., k): the same of length 1. A vector of 0 stays."""
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-12)


class SharedMarks:
    """Which pairs of images share a mark: found for a block of images, once the first of them is asked for.

    own, partners  marks (2, n, MARKS, MARK_VALUES) of the images, and of those they are compared with
    """

    def __init__(self, own: np.ndarray, partners: np.ndarray) -> None:
        self.own = own
        self.partners = [np.ascontiguousarray(marks.reshape(-1, MARK_VALUES).T) for marks in partners]
        self.rows, self.first = range(0), 0
        self.table = np.zeros((0, partners.shape[1]), dtype=bool)

    def of(self, i: int, first: int) -> np.ndarray:
        """(n,) bool: which partners share a mark with image i. Those before `first` are not looked at."""
        if i not in self.rows or first < self.first:
            self.rows, self.first = range(i, min(i + ROWS_AT_ONCE, self.own.shape[1])), first
            self.table = self.find_block()
        return self.table[i - self.rows.start]

    def find_block(self) -> np.ndarray:
        """The table (rows, n)."""
        m, n = len(self.rows), self.table.shape[1]
        table = np.zeros((m, n), dtype=bool)
        for own, partners in zip(self.own[:, self.rows.start:self.rows.stop], self.partners):
            for start in range(self.first, n, PARTNERS_AT_ONCE):
                some = slice(start * MARKS, (start + PARTNERS_AT_ONCE) * MARKS)
                alike = product(own.reshape(m * MARKS, MARK_VALUES), partners[:, some])
                highest = alike.reshape(m, MARKS, -1).max(axis=1).reshape(m, -1, MARKS).max(axis=2)
                table[:, start:start + PARTNERS_AT_ONCE] |= highest > MIN_MARK_CORRELATION
        return table
