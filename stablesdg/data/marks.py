"""Which pairs of images may share surface at all: those of which one point's surroundings are much alike.

A mark is a point that is brighter or darker than all points near it. An overlap shows the same marks in both images.
Each image has a hundred, spread evenly, and each mark a vector of numbers that says what surrounds it. All vectors of
all images are compared by products of matrices. That takes a tenth of the time of the transforms in overlap.py.
"""
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter

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
PARTNERS_AT_ONCE = 128


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
    y, x = np.nonzero(gray[inside] >= maximum_filter(gray, 2 * MARK_RADIUS + 1)[inside])
    y, x = y + MARK_MARGIN, x + MARK_MARGIN
    order = np.argsort(-gray[y, x], kind="stable")
    cells = ((y * MARK_CELLS // H) * MARK_CELLS + x * MARK_CELLS // W)[order]
    by_cell = np.argsort(cells, kind="stable")
    rank = np.empty(len(cells), dtype=int)
    rank[by_cell] = np.arange(len(cells)) - np.searchsorted(cells[by_cell], cells[by_cell])
    chosen = order[np.argsort(rank, kind="stable")][:MARKS]
    return y[chosen], x[chosen]


def whitening(patches: np.ndarray) -> np.ndarray:
    """(100, MARK_VALUES): the directions in which patches differ most, scaled so that all count alike."""
    flat = patches.reshape(-1, patches.shape[-1])
    variances, directions = np.linalg.eigh(flat.T @ flat / len(flat))  # smallest first
    kept, largest = slice(-MARK_VALUES, None), variances[-1] + 1e-12
    return (directions[:, kept] / np.sqrt(variances[kept].clip(0) + FLOOR * largest)).astype(np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    """(.., k) -> (.., k): the same of length 1. A vector of 0 stays."""
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-12)


def share_a_mark(own: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """(n,) bool: which of n partners has a mark like one of an image's own.

    own (2, MARKS, MARK_VALUES), partners (2, n, MARKS, MARK_VALUES)
    """
    shared = np.zeros(partners.shape[1], dtype=bool)
    for start in range(0, len(shared), PARTNERS_AT_ONCE):
        some = slice(start, start + PARTNERS_AT_ONCE)
        for mine, others in zip(own, partners[:, some]):
            alike = (mine @ others.reshape(-1, MARK_VALUES).T).max(axis=0)
            shared[some] |= alike.reshape(-1, MARKS).max(axis=1) > MIN_MARK_CORRELATION
    return shared
