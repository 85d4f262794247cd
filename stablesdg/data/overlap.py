"""Which images of a category show the same piece of surface: overlapping crops of one strip, and copies.

Cameras that photograph a moving strip, and data sets that were cut from larger photographs, give images that share
pixels. Under a random split these are in training and test part at once, and the test measures memory.

Two images are compared by phase correlation: of both, only what changes within a few pixels is kept (a high-pass), each
frequency counts alike, and the shift with the highest correlation is the candidate. It counts if the two images, laid
over each other at that shift, correlate over the pixels they share.
"""
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch.nn import functional as F

from .images import read_image, readable

LEAST = 0.1  # share of the smaller image's area that must be common
SIGMA = 3.0  # pixels; the high-pass takes away what is blurred by this much
LARGEST = 256  # pixels; larger images are shrunk first, all by the same factor
SCORE = 6.0  # of the highest correlation, in standard deviations of a pair that shares nothing: worth a closer look
CORRELATION = 0.7  # over the common pixels, from which a pair counts ..
CLEAR, CLEAR_CORRELATION = 10.0, 0.5  # .. and where the score is this high, as noise lowers the one more than the other
CHUNK = 16  # images compared with one at a time; many more no longer fit a processor's cache
COPY = 0.8  # the same over the whole shrunk image, in any of its eight mirrored and turned positions


@dataclass
class Overlap:
    """Image j, moved by (dy, dx) pixels, lies over image i; `share` of the smaller one's area is common."""
    i: int
    j: int
    dy: int
    dx: int
    share: float
    correlation: float


def high_pass(gray):
    """(H, W) -> (H, W) float32 of mean 0 and deviation 1, without what is larger than a few pixels."""
    gray = np.asarray(gray, dtype=np.float32)
    fine = gray - gaussian_filter(gray, SIGMA)
    return (fine - fine.mean()) / (fine.std() + 1e-6)


def shrink(image, factor):
    """(H, W) -> (H // factor, W // factor), averaged, but at least one pixel."""
    x = torch.from_numpy(np.array(image, dtype=np.float32))
    size = [max(1, side // factor) for side in x.shape]
    return F.interpolate(x[None, None], size, mode="area")[0, 0].numpy()


def read_alike(files):
    """[([index, ..], [gray image (H, W), ..]), ..]: files whose longer sides differ by a factor of two at most (or need no
    shrinking), all of them shrunk by one factor to at most LARGEST pixels. Images of other sizes are not compared."""
    sides = []
    for file in files:
        with readable(file), Image.open(file) as image:
            sides.append(max(image.size))
    sets = []
    for i in sorted(range(len(files)), key=sides.__getitem__):
        if not sets or sides[i] > max(LARGEST, 2 * sides[sets[-1][0]]):
            sets.append([])
        sets[-1].append(i)
    sets = [sorted(indices) for indices in sets]
    factors = [-(-max(sides[i] for i in indices) // LARGEST) for indices in sets]
    return [(indices, [shrink(read_image(files[i])[0].convert("L"), factor) for i in indices])
            for indices, factor in zip(sets, factors)]


def find_overlaps(images, mirrored=False, least=LEAST, progress=lambda rows: rows):
    """All pairs of the gray images [(H, W), ..] that share at least `least` of their area, as Overlaps.

    With `mirrored`, the second of each pair is mirrored first, so that no true overlap is left: what is found then is
    false, and its number estimates the false ones among those found without.
    """
    factor = -(-max(max(np.shape(image)) for image in images) // LARGEST)
    fine = [high_pass(shrink(image, factor)) for image in images]
    partners = [image[:, ::-1].copy() for image in fine] if mirrored else fine
    side = max(max(image.shape) for image in fine)
    spectra = phases(fine, side)
    partner_spectra = phases(partners, side) if mirrored else spectra
    found = []
    for i in progress(range(len(fine) - 1)):
        for start in range(i + 1, len(fine), CHUNK):
            # At (dy, dx): the correlation of i with j moved that far round a canvas of this side. All frequencies of size
            # 1 make its sum of squares 1, so that the standard deviation is 1 / side.
            correlation = torch.fft.irfft2(spectra[i] * partner_spectra[start:start + CHUNK].conj(), s=(side, side)).flatten(1)
            scores = side * correlation.amax(dim=1)
            for k in (scores > SCORE).nonzero()[:, 0].tolist():
                j, (y, x) = start + k, divmod(int(correlation[k].argmax()), side)
                shifts = [(dy, dx) for dy in (y, y - side) for dx in (x, x - side)]  # the canvas cannot tell which
                best = max((compare(fine[i], partners[j], dy, dx, least) for dy, dx in shifts), key=lambda o: o[3])
                if best[3] >= (CLEAR_CORRELATION if scores[k] > CLEAR else CORRELATION):
                    dy, dx, share, value = best
                    found.append(Overlap(i, j, dy * factor, dx * factor, share, value))
    return found


def phases(images, side):
    """Spectra (n, side, side // 2 + 1) of images on square canvases, each frequency brought to size 1."""
    canvas = torch.zeros(len(images), side, side)
    for target, image in zip(canvas, images):
        target[:image.shape[0], :image.shape[1]] = torch.from_numpy(image)
    spectra = torch.fft.rfft2(canvas)
    return spectra / (spectra.abs() + 1e-6)


def compare(a, b, dy, dx, least):
    """(dy, dx, share, correlation) of a and b moved by (dy, dx); the correlation is 0 where they share too little."""
    part_a, part_b = common_part(a, b, dy, dx)
    share = part_a.size / min(a.size, b.size)
    if share < least:
        return dy, dx, share, 0.0
    covariance = float((part_a * part_b).mean() - part_a.mean() * part_b.mean())
    return dy, dx, share, covariance / (float(part_a.std() * part_b.std()) + 1e-6)


def common_part(a, b, dy, dx):
    """What a and b, moved by (dy, dx), have in common: two views of one shape."""
    rows = slice(max(0, dy), max(0, dy, min(a.shape[0], b.shape[0] + dy)))
    columns = slice(max(0, dx), max(0, dx, min(a.shape[1], b.shape[1] + dx)))
    return a[rows, columns], b[rows.start - dy:rows.stop - dy, columns.start - dx:columns.stop - dx]


def find_copies(images, side=64):
    """[(i, j), ..]: pairs that are one picture, whatever its size, encoding, mirroring or quarter turn."""
    small = [F.interpolate(torch.from_numpy(np.array(image, dtype=np.float32))[None, None], (side, side), mode="area")
             for image in images]
    small = torch.stack([torch.from_numpy(high_pass(x[0, 0])) for x in small]) / side  # products are correlations
    best = torch.full((len(images), len(images)), -1.0)
    for turns in range(4):
        for turned in (small.rot90(turns, (1, 2)), small.rot90(turns, (1, 2)).flip(2)):
            best = torch.maximum(best, small.flatten(1) @ turned.flatten(1).T)
    return [(i, j) for i, j in (best > COPY).nonzero().tolist() if i < j]
