"""Which images show the same piece of surface: overlapping crops of one strip, and copies.

Cameras that photograph a moving strip give images that share pixels, and so do data sets that were cut from larger
photographs. Under a random split such images lie in training and test part at once, and the test measures memory.

Two images are compared by phase correlation. Only what changes within a few pixels is kept of both (a high-pass), and
each frequency counts alike. The shift with the highest correlation is the candidate. It counts if the two images, laid
over each other at that shift, correlate over the pixels that they share.

Within a class all pairs are compared so (find_overlaps). Across classes there are many more pairs. There a first look
with the coarse half of the frequencies tells which pairs are worth it (find_overlaps_across).
"""
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.fft import next_fast_len
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from .images import read_image, readable

MIN_COMMON_AREA = 0.1  # share of the smaller image's area that must be common
HIGH_PASS_SIGMA = 3.0  # pixels; the high-pass takes away what is blurred by this much
MAX_SIDE = 256  # pixels; larger images are shrunk first, all by the same factor
MIN_PEAK = 6.0  # of the highest correlation, in standard deviations of a pair that shares nothing: worth a closer look
MIN_CORRELATION = 0.7  # over the common pixels: from here on a pair counts
CLEAR_PEAK = 10.0  # a peak this high is clear; noise lowers the correlation of the common pixels more than the peak ..
MIN_CORRELATION_AT_CLEAR_PEAK = 0.5  # .. so that a lower correlation is enough
PARTNERS_AT_ONCE = 16  # images compared with one at a time; many more no longer fit a processor's cache
COARSE_PARTNERS_AT_ONCE = 64  # the same for the first look, whose spectra are a quarter as large
MIN_COARSE_PEAK = 5.0  # in the first look, in standard deviations; lower than MIN_PEAK, as it sees less
COPY_ROWS_AT_ONCE = 1024  # images whose copies are sought at a time
MIN_COPY_CORRELATION = 0.8  # over the whole shrunk image, in any of its eight mirrored and turned positions
MIN_COPY_CORRELATION_ACROSS = 0.95  # the same across classes, where the bright edges of unlike pieces reach 0.85
COPY_SIDE = 64  # pixels; images are shrunk to this when copies are sought

Progress = Callable[[range], Iterable[int]]  # wraps a loop over images, as tqdm does


def no_progress(rows: range) -> Iterable[int]:
    """Show nothing."""
    return rows


@dataclass(frozen=True)
class Overlap:
    """Image j, moved by (dy, dx) pixels, lies over image i."""
    i: int
    j: int
    dy: int
    dx: int
    share: float  # of the smaller image's area that is common
    correlation: float  # of the common pixels


@dataclass(frozen=True)
class AlikeImages:
    """Images of similar size, all shrunk by one factor to at most MAX_SIDE pixels."""
    indices: list[int]  # in the list of files
    images: list[np.ndarray]  # gray, (H, W)


# ---- images brought to one scale --------------------------------------------------------------------------------


def high_pass(gray: np.ndarray) -> np.ndarray:
    """(H, W) -> (H, W) float32 of mean 0 and deviation 1, without what is larger than a few pixels."""
    gray = np.asarray(gray, dtype=np.float32)
    fine = gray - gaussian_filter(gray, HIGH_PASS_SIGMA)
    return (fine - fine.mean()) / (fine.std() + 1e-6)


def shrink(image: np.ndarray | Image.Image, factor: int) -> np.ndarray:
    """(H, W) -> (H // factor, W // factor), averaged, but at least one pixel."""
    x = torch.from_numpy(np.array(image, dtype=np.float32))
    size = [max(1, side // factor) for side in x.shape]
    return F.interpolate(x[None, None], size, mode="area")[0, 0].numpy()


def shrink_factor(longest_side: int) -> int:
    """The least whole number that brings a side to at most MAX_SIDE pixels."""
    return -(-longest_side // MAX_SIDE)


def pairs_apart(alike: Sequence[AlikeImages]) -> int:
    """How many pairs of images lie in different sets, so that overlaps of theirs are not sought."""
    return sum(len(a.indices) * len(b.indices) for a, b in combinations(alike, 2))


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


# ---- overlapping crops ------------------------------------------------------------------------------------------


def find_overlaps(images: Sequence[np.ndarray], mirrored: bool = False, min_common_area: float = MIN_COMMON_AREA,
                  progress: Progress = no_progress, first_new: int = 0) -> list[Overlap]:
    """All pairs of the gray images [(H, W), ..] that share at least `min_common_area` of the smaller one's area.

    With `mirrored`, the second image of each pair is mirrored first, so that no true overlap is left. What is found
    then is false, and its number estimates how many false ones are among those found without.

    first_new  pairs of two images before this place are left out: they are known
    """
    factor = shrink_factor(max(max(np.shape(image)) for image in images))
    fine = [high_pass(shrink(image, factor)) for image in images]
    partners = [image[:, ::-1].copy() for image in fine] if mirrored else fine
    side = max(max(image.shape) for image in fine)
    spectra = phases(fine, side)
    partner_spectra = phases(partners, side) if mirrored else spectra
    found = []
    for i in progress(range(len(fine) - 1)):
        for start in range(max(i + 1, first_new), len(fine), PARTNERS_AT_ONCE):
            # At (dy, dx): the correlation of i with j moved that far round a canvas of this side. All frequencies of
            # size 1 make its sum of squares 1, so that the standard deviation is 1 / side.
            product = spectra[i] * partner_spectra[start:start + PARTNERS_AT_ONCE].conj()
            correlation = torch.fft.irfft2(product, s=(side, side)).flatten(1)
            peaks = side * correlation.amax(dim=1)
            for k in (peaks > MIN_PEAK).nonzero()[:, 0].tolist():
                j, (y, x) = start + k, divmod(int(correlation[k].argmax()), side)
                best = best_shift(fine[i], partners[j], y, x, side, min_common_area)
                enough = MIN_CORRELATION_AT_CLEAR_PEAK if peaks[k] > CLEAR_PEAK else MIN_CORRELATION
                if best.correlation >= enough:
                    found.append(Overlap(i, j, best.dy * factor, best.dx * factor, best.share, best.correlation))
    return found


def find_overlaps_across(images: Sequence[np.ndarray], classes: Sequence[str], mirrored: bool = False,
                         progress: Progress = no_progress, first_new: int = 0) -> list[Overlap]:
    """The overlapping pairs of images whose classes differ. The images are those of one AlikeImages.

    mirrored, first_new  as for find_overlaps
    """
    longest = max(max(image.shape) for image in images)
    side = 4 * int(next_fast_len(-(-longest // 4), real=True) or longest)
    spectra = coarse_spectra(images, side)
    partner_spectra = coarse_spectra([image[:, ::-1].copy() for image in images], side) if mirrored else spectra
    numbers = torch.tensor([sorted(set(classes)).index(name) for name in classes])
    found = []
    for i in progress(range(len(images) - 1)):
        start = max(i + 1, first_new)
        partners = (numbers[start:] != numbers[i]).nonzero()[:, 0] + start
        for some in partners.split(COARSE_PARTNERS_AT_ONCE) if len(partners) else ():
            correlation = torch.fft.irfft2(spectra[i] * partner_spectra[some].conj(), s=(side // 2, side // 2))
            peaks = side // 2 * correlation.amax(dim=(1, 2))
            for j in some[peaks > MIN_COARSE_PEAK].tolist():
                found += [replace(overlap, i=i, j=j) for overlap in find_overlaps([images[i], images[j]], mirrored)]
    return found


def coarse_spectra(images: Sequence[np.ndarray], side: int) -> Tensor:
    """(n, side / 2, side / 4 + 1): of the spectra on canvases of this even side, the coarse half along both axes."""
    half, quarter = side // 2, side // 4
    coarse = torch.empty(len(images), half, half // 2 + 1, dtype=torch.complex64)
    for target, image in zip(coarse, images):
        whole = phases([high_pass(image)], side)[0]
        target[:quarter] = whole[:quarter, :half // 2 + 1]
        target[quarter:] = whole[quarter - half:, :half // 2 + 1]
    return coarse


def phases(images: Sequence[np.ndarray], side: int) -> Tensor:
    """Spectra (n, side, side // 2 + 1) of images on square canvases, each frequency brought to size 1."""
    canvas = torch.zeros(len(images), side, side)
    for target, image in zip(canvas, images):
        target[:image.shape[0], :image.shape[1]] = torch.from_numpy(image)
    spectra = torch.fft.rfft2(canvas)
    return spectra / (spectra.abs() + 1e-6)


@dataclass(frozen=True)
class Shift:
    """How well an image fits another one, laid over it at (dy, dx)."""
    dy: int
    dx: int
    share: float
    correlation: float


def best_shift(a: np.ndarray, b: np.ndarray, y: int, x: int, side: int, min_common_area: float) -> Shift:
    """The best of the shifts that a peak at (y, x) can mean: the canvas goes round, and cannot tell y from y - side."""
    return max((fit_at(a, b, dy, dx, min_common_area) for dy in (y, y - side) for dx in (x, x - side)),
               key=lambda shift: shift.correlation)


def fit_at(a: np.ndarray, b: np.ndarray, dy: int, dx: int, min_common_area: float) -> Shift:
    """Lay b over a at (dy, dx). The correlation is 0 where they share too little."""
    part_a, part_b = common_part(a, b, dy, dx)
    share = part_a.size / min(a.size, b.size)
    if share < min_common_area:
        return Shift(dy, dx, share, 0.0)
    covariance = float((part_a * part_b).mean() - part_a.mean() * part_b.mean())
    return Shift(dy, dx, share, covariance / (float(part_a.std() * part_b.std()) + 1e-6))


def common_part(a: np.ndarray, b: np.ndarray, dy: int, dx: int) -> tuple[np.ndarray, np.ndarray]:
    """What a and b, moved by (dy, dx), have in common: two views of one shape."""
    rows = slice(max(0, dy), max(0, dy, min(a.shape[0], b.shape[0] + dy)))
    columns = slice(max(0, dx), max(0, dx, min(a.shape[1], b.shape[1] + dx)))
    return a[rows, columns], b[rows.start - dy:rows.stop - dy, columns.start - dx:columns.stop - dx]


# ---- copies -----------------------------------------------------------------------------------------------------


def find_copies(images: Sequence[np.ndarray], least: float = MIN_COPY_CORRELATION) -> list[tuple[int, int]]:
    """[(i, j), ..]: pairs that are one picture, whatever its size, encoding, mirroring or quarter turn.

    least  correlation of two copies
    """
    square = [F.interpolate(torch.from_numpy(np.array(image, dtype=np.float32))[None, None], (COPY_SIDE, COPY_SIDE),
                            mode="area")[0, 0].numpy() for image in images]
    small = torch.stack([torch.from_numpy(high_pass(x)) for x in square]) / COPY_SIDE  # products are correlations
    turned = [t.flatten(1).T for turns in range(4)
              for t in (small.rot90(turns, (1, 2)), small.rot90(turns, (1, 2)).flip(2))]
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(small), COPY_ROWS_AT_ONCE):
        rows = small[start:start + COPY_ROWS_AT_ONCE].flatten(1)
        best = rows @ turned[0]
        for columns in turned[1:]:
            best = torch.maximum(best, rows @ columns)
        pairs += [(start + i, j) for i, j in (best > least).nonzero().tolist() if start + i < j]
    return pairs
