"""Which images are one picture, whatever its size, encoding, mirroring or quarter turn."""
from collections.abc import Sequence

import numpy as np

from .alike import area_mean, high_pass

COPY_ROWS_AT_ONCE = 1024  # images whose copies are sought at a time
MIN_COPY_CORRELATION = 0.8  # over the whole shrunk image, in any of its eight mirrored and turned positions
MIN_COPY_CORRELATION_ACROSS = 0.95  # the same across classes, where the bright edges of unlike pieces reach 0.85
COPY_SIDE = 64  # pixels; images are shrunk to this when copies are sought


def find_copies(images: Sequence[np.ndarray], least: float = MIN_COPY_CORRELATION) -> list[tuple[int, int]]:
    """[(i, j), ..]: pairs that are one picture, whatever its size, encoding, mirroring or quarter turn.

    least  correlation of two copies
    """
    square = [area_mean(image, COPY_SIDE, COPY_SIDE) for image in images]
    small = np.stack([high_pass(x) for x in square]) / COPY_SIDE  # products are correlations
    turned = [t.reshape(len(small), -1).T for turns in range(4)
              for t in (np.rot90(small, turns, (1, 2)), np.rot90(small, turns, (1, 2))[:, :, ::-1])]
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(small), COPY_ROWS_AT_ONCE):
        rows = small[start:start + COPY_ROWS_AT_ONCE].reshape(-1, COPY_SIDE**2)
        best = rows @ turned[0][:, start:]
        for columns in turned[1:]:
            best = np.maximum(best, rows @ columns[:, start:])
        pairs += [(start + i, start + j) for i, j in np.argwhere(best > least).tolist() if i < j]
    return pairs
