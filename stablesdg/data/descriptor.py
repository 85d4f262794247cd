"""What an image looks like in numbers, without a network: a 64-bit hash, and a descriptor of its texture. NumPy alone.

The hash is what tools for near-duplicates use. It is here to be compared with overlap.py. The descriptor is a baseline:
what it can tell apart, nobody needs a network for.
"""
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HASH_BITS = 64
HASH_COLUMNS, HASH_ROWS = 9, 8  # pixels that an image is shrunk to before it is hashed
LBP_RADII = (1, 2, 4)  # pixels between a pixel and its eight neighbours
LBP_RING = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))  # the neighbours, in turn
LBP_BINS = 10  # 0 to 8 brighter neighbours in one run, and all other patterns
SPECTRUM_EDGES = np.geomspace(1 / 128, 0.5, 13)  # periods a pixel; the lowest ring also takes what lies below it
LEAST_POWER = 1e-6  # of all power, so that an empty ring has a logarithm
GRAY_EDGES = np.linspace(-3, 3, 13)  # standard deviations from the mean gray level


# ---- the hash ---------------------------------------------------------------------------------------------------


def difference_hash(image: Image.Image) -> NDArray:
    """dHash: (64,) bool. In each row of the image, shrunk to 9 x 8 pixels: is a pixel brighter than the one before?"""
    gray = image.convert("L").resize((HASH_COLUMNS, HASH_ROWS), Image.Resampling.BOX)
    pixels = np.asarray(gray, dtype=np.int16)
    return (pixels[:, 1:] > pixels[:, :-1]).ravel()


def bits_apart(hashes: NDArray, pairs: Sequence[tuple[int, int]]) -> NDArray:
    """In how many bits the hashes (N, 64) of each pair differ: (pairs,)."""
    i, j = np.array(pairs, dtype=int).reshape(-1, 2).T
    return (hashes[i] != hashes[j]).sum(axis=1)


def count_near_pairs(hashes: NDArray, most: Sequence[int], rows_at_once: int = 1024) -> list[int]:
    """How many pairs of the hashes (N, 64) differ in at most so many bits, for each of the numbers `most`."""
    signs = 2 * hashes.astype(np.float32) - 1
    counts = np.zeros(len(most), dtype=int)
    for start in range(0, len(signs), rows_at_once):
        rows = signs[start:start + rows_at_once]
        apart = (HASH_BITS - rows @ signs.T) / 2
        later = np.arange(len(signs)) > np.arange(start, start + len(rows))[:, None]
        counts += [int(((apart <= bits) & later).sum()) for bits in most]
    return counts.tolist()


# ---- the descriptor ---------------------------------------------------------------------------------------------


def describe(gray: NDArray) -> NDArray:
    """Gray levels (H, W) in 0..255 -> (56,): binary patterns, spectrum, histogram, mean level and contrast.

    All but the last two values stay as they are if the image becomes brighter or richer in contrast. If it is mirrored
    or turned by a right angle, all stay.
    """
    gray = np.asarray(gray, dtype=np.float64)
    mean, contrast = gray.mean(), gray.std()
    standard = (gray - mean) / (contrast + 1e-6)
    patterns = [binary_patterns(gray, radius) for radius in LBP_RADII]
    histogram = np.histogram(standard.clip(GRAY_EDGES[0], GRAY_EDGES[-1]), GRAY_EDGES)[0] / gray.size
    return np.concatenate([*map(np.sqrt, patterns), radial_spectrum(standard), np.sqrt(histogram),
                           [mean / 255, contrast / 255]])


def binary_patterns(gray: NDArray, radius: int) -> NDArray:
    """Local binary patterns, uniform and invariant to rotation: shares (10,) of the image's pixels.

    Each pixel is compared with eight neighbours on a square ring. A pattern whose brighter neighbours form one run
    counts by their number, from 0 to 8. All other patterns share the last bin (Ojala, Pietikainen and Maenpaa 2002,
    section 2.3).
    """
    H, W = gray.shape
    padded = np.pad(gray, radius, mode="edge")
    corners = [(radius * (1 + dy), radius * (1 + dx)) for dy, dx in LBP_RING]
    brighter = np.stack([padded[y:y + H, x:x + W] >= gray for y, x in corners])  # (8, H, W)
    changes = (brighter != np.roll(brighter, 1, axis=0)).sum(axis=0)
    labels = np.where(changes <= 2, brighter.sum(axis=0), LBP_BINS - 1)
    return np.bincount(labels.ravel(), minlength=LBP_BINS) / gray.size


def radial_spectrum(standard: NDArray) -> NDArray:
    """Log share of power in rings of equal ratio of frequency: (12,). The image (H, W) has mean 0.

    A window that falls to 0 at the edges keeps the jump from one edge to the other out of the spectrum.
    """
    H, W = standard.shape
    windowed = standard * np.outer(np.hanning(H + 2)[1:-1], np.hanning(W + 2)[1:-1])
    power = np.abs(np.fft.fft2(windowed)) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(H), np.fft.fftfreq(W), indexing="ij"))
    ring = np.searchsorted(SPECTRUM_EDGES[1:-1], frequency.ravel(), side="right")
    power[0, 0] = 0
    shares = np.bincount(ring, weights=power.ravel(), minlength=len(SPECTRUM_EDGES) - 1) / (power.sum() + 1e-12)
    return np.log10(shares + LEAST_POWER)
