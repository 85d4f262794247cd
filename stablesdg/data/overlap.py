"""Which images show the same piece of surface: overlapping crops of one strip.

Cameras that photograph a moving strip give images that share pixels, and so do data sets that were cut from larger
photographs. Under a random split such images lie in training and test part at once, and the test measures memory.

Two images are compared by phase correlation. Only what changes within a few pixels is kept of both (a high-pass), and
each frequency counts alike. The shift with the highest correlation is the candidate. It counts if the two images, laid
over each other at that shift, correlate over the pixels that they share.

Only pairs that share a mark are compared at all (marks.py). Of these, a first look at a quarter of the frequencies
tells which are worth a comparison in full. Within a class it looks twice: at the coarse frequencies, where smooth
surfaces have their detail, and at every second one of all, where a sharp overlap shows wherever it lies. Across classes
there are many more pairs, and it looks at the coarse ones alone.
"""
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.fft import rfft2

from .alike import high_pass
from .arithmetic import correlation, one_thread
from .marks import SharedMarks, marks_of

MIN_COMMON_AREA = 0.1  # share of the smaller image's area that must be common
MIN_PEAK = 6.0  # of the highest correlation, in standard deviations of a pair that shares nothing: worth a closer look
MIN_CORRELATION = 0.7  # over the common pixels: from here on a pair counts
CLEAR_PEAK = 10.0  # a peak this high is clear; noise lowers the correlation of the common pixels more than the peak ..
MIN_CORRELATION_AT_CLEAR_PEAK = 0.5  # .. so that a lower correlation is enough
LOOK_SIZES = (96, 128)  # frequencies along each axis in the first look, about half of the side; 2^5 * 3, 2^7 are fast
MIN_LOOK_PEAK = 4.45  # in the first look within a class, in standard deviations; lower than MIN_PEAK, as it sees less
MIN_LOOK_PEAK_ACROSS = 4.75  # the same across classes
PARTNERS_AT_ONCE = 4  # images compared with one at a time; with more, memory goes back to the system after each call

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


@one_thread()
def find_overlaps(images: Sequence[np.ndarray], mirrored: bool = False, progress: Progress = no_progress,
                  first_new: int = 0) -> list[Overlap]:
    """All pairs of the gray images [(H, W), ..] that overlap. The images are those of one AlikeImages.

    With `mirrored`, the second image of each pair is mirrored first, so that no true overlap is left. What is found
    then is false, and its number estimates how many false ones are among those found without.

    first_new  pairs of two images before this place are left out: they are known
    """
    fine = [high_pass(image) for image in images]
    partners = [image[:, ::-1].copy() for image in fine] if mirrored else fine
    side = max(max(image.shape) for image in fine)
    both = [fine, partners] if mirrored else [fine]
    looks = [[look(some, side) for some in both] for look in (coarse_spectra, wrapped_spectra)]
    spectra = [spectra_of(some, side) for some in both]
    places, found, wanted = np.arange(len(fine)), [], may_overlap(fine, partners)
    for i, alike in alike_at_first_look(looks, MIN_LOOK_PEAK, lambda i: wanted(i, places >= max(i + 1, first_new)),
                                        progress):
        for start in range(0, len(alike), PARTNERS_AT_ONCE):
            some = alike[start:start + PARTNERS_AT_ONCE]
            found += [Overlap(i, some[k], best.dy, best.dx, best.share, best.correlation) for k, best in
                      compare(fine[i], [partners[j] for j in some], spectra[0][i], spectra[-1][some])]
    return found


@one_thread()
def find_overlaps_across(images: Sequence[np.ndarray], classes: Sequence[str], mirrored: bool = False,
                         progress: Progress = no_progress, first_new: int = 0) -> list[Overlap]:
    """The overlapping pairs of images whose classes differ. The images are those of one AlikeImages.

    mirrored, first_new  as for find_overlaps
    """
    fine = [high_pass(image) for image in images]
    partners = [image[:, ::-1].copy() for image in fine] if mirrored else fine
    both = [fine, partners] if mirrored else [fine]
    looks = [[coarse_spectra(some, max(max(image.shape) for image in fine)) for some in both]]
    places, names, found, wanted = np.arange(len(fine)), np.array(list(classes)), [], may_overlap(fine, partners)
    for i, alike in alike_at_first_look(
            looks, MIN_LOOK_PEAK_ACROSS,
            lambda i: wanted(i, (places >= max(i + 1, first_new)) & (names != names[i])), progress):
        for j in alike:
            a, b = spectra_of([fine[i], partners[j]], max(fine[i].shape + fine[j].shape))
            found += [Overlap(i, j, best.dy, best.dx, best.share, best.correlation)
                      for _, best in compare(fine[i], [partners[j]], a, b[None])]
    return found


def may_overlap(fine: Sequence[np.ndarray], partners: Sequence[np.ndarray]) -> Callable[[int, np.ndarray], np.ndarray]:
    """(image i, (n,) bool) -> (n,) places: those of the partners asked for that share a mark with image i."""
    marks = marks_of(fine, None if partners is fine else partners)
    shared = SharedMarks(marks[0], marks[-1]) if marks else None

    def wanted(i: int, asked: np.ndarray) -> np.ndarray:
        places = np.flatnonzero(asked)
        if shared is None or not len(places):
            return places
        return places[shared.of(i, int(places[0]))[places]]

    return wanted


def alike_at_first_look(looks: Sequence[Sequence[np.ndarray]], least: float, wanted: Callable[[int], np.ndarray],
                        progress: Progress) -> Iterator[tuple[int, list[int]]]:
    """Yield (i, the partners that image i must be compared with in full, as one look at least finds).

    looks   of each look the spectra (n, size, size / 2 + 1), and those of the partners last if these are mirrored
    least   peak of the correlation that is worth it, in standard deviations
    wanted  image i -> places of the partners that it may be compared with at all
    """
    for i in progress(range(len(looks[0][0]) - 1)):
        places = wanted(i)
        peaks = np.stack([highest_peaks(look[0][i], look[-1], places) for look in looks])
        yield i, places[(peaks > least).any(axis=0)].tolist()


def highest_peaks(spectrum: np.ndarray, partners: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The highest peak of each `correlate` with the partners at these places, in standard deviations.

    The standard deviation is that of a pair that shares nothing. All frequencies have size 1. So the sum of squares of
    a correlation is 1, and its standard deviation 1 / size.
    """
    peaks = np.empty(len(places))
    for start in range(0, len(places), PARTNERS_AT_ONCE):
        some = slice(start, start + PARTNERS_AT_ONCE)
        peaks[some] = len(spectrum) * correlate(spectrum, partners[places[some]]).max(axis=1)
    return peaks


def correlate(spectrum: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """(n, size^2): how one image correlates with each of n partners, moved round a canvas of this size.

    Moves are counted backwards: a partner that fits when moved by (1, 1) has its peak in the last place.

    spectrum (size, size // 2 + 1), partners (n, size, size // 2 + 1)
    """
    return correlation(spectrum, partners).reshape(len(partners), -1)


def look_size(side: int) -> int:
    """The size of the first look at images of at most this side."""
    return min(LOOK_SIZES, key=lambda size: abs(side / 2 - size))


def coarse_spectra(images: Sequence[np.ndarray], side: int) -> np.ndarray:
    """(n, size, size / 2 + 1): the lowest frequencies of spectra on canvases of this side, size <= look_size."""
    half = max(1, min(look_size(side), side) // 2)
    coarse = np.empty((len(images), 2 * half, half + 1), dtype=np.complex64)
    for target, image in zip(coarse, images):
        whole = spectra_of([image], max(2, side))[0]
        target[:half] = whole[:half, :half + 1]
        target[half:] = whole[-half:, :half + 1]
    return coarse


def wrapped_spectra(images: Sequence[np.ndarray], side: int) -> np.ndarray:
    """(n, size, size / 2 + 1), size = look_size: frequencies from all over the spectrum, evenly spaced.

    They are those of an image that goes on at the other side of a small canvas where it leaves it.
    """
    size = look_size(side)
    wrapped = np.empty((len(images), size, size // 2 + 1), dtype=np.complex64)
    for target, image in zip(wrapped, images):
        rows, columns = (-(-length // size) for length in image.shape)
        canvas = np.zeros((rows * size, columns * size), dtype=np.float32)
        canvas[:image.shape[0], :image.shape[1]] = image
        target[:] = spectra_of([canvas.reshape(rows, size, columns, size).sum(axis=(0, 2))], size)[0]
    return wrapped


def compare(a: np.ndarray, partners: Sequence[np.ndarray], spectrum: np.ndarray,
            partner_spectra: np.ndarray) -> Iterator[tuple[int, "Shift"]]:
    """Yield (k, shift) for each of the high-passed partners that overlaps with a."""
    side = len(spectrum)
    correlations = correlate(spectrum, partner_spectra)
    peaks = side * correlations.max(axis=1)
    for k in np.flatnonzero(peaks > MIN_PEAK).tolist():
        y, x = (-place % side for place in divmod(int(correlations[k].argmax()), side))
        best = best_shift(a, partners[k], y, x, side)
        enough = MIN_CORRELATION_AT_CLEAR_PEAK if peaks[k] > CLEAR_PEAK else MIN_CORRELATION
        if best.correlation >= enough:
            yield k, best


def spectra_of(images: Sequence[np.ndarray], side: int) -> np.ndarray:
    """Spectra (n, side, side // 2 + 1) of images on square canvases, each frequency brought to size 1."""
    spectra = np.empty((len(images), side, side // 2 + 1), dtype=np.complex64)
    for target, image in zip(spectra, images):
        canvas = np.zeros((side, side), dtype=np.float32)
        canvas[:image.shape[0], :image.shape[1]] = image
        target[:] = np.asarray(rfft2(canvas))
        target /= np.abs(target) + 1e-6
    return spectra


@dataclass(frozen=True)
class Shift:
    """How well an image fits another one, laid over it at (dy, dx)."""
    dy: int
    dx: int
    share: float
    correlation: float


def best_shift(a: np.ndarray, b: np.ndarray, y: int, x: int, side: int) -> Shift:
    """The best of the shifts that a peak at (y, x) can mean: the canvas goes round, and cannot tell y from y - side."""
    return max((fit_at(a, b, dy, dx) for dy in (y, y - side) for dx in (x, x - side)),
               key=lambda shift: shift.correlation)


def fit_at(a: np.ndarray, b: np.ndarray, dy: int, dx: int) -> Shift:
    """Lay b over a at (dy, dx). The correlation is 0 where they share too little."""
    part_a, part_b = common_part(a, b, dy, dx)
    share = part_a.size / min(a.size, b.size)
    if share < MIN_COMMON_AREA:
        return Shift(dy, dx, share, 0.0)
    covariance = float((part_a * part_b).mean() - part_a.mean() * part_b.mean())
    return Shift(dy, dx, share, covariance / (float(part_a.std() * part_b.std()) + 1e-6))


def common_part(a: np.ndarray, b: np.ndarray, dy: int, dx: int) -> tuple[np.ndarray, np.ndarray]:
    """What a and b, moved by (dy, dx), have in common: two views of one shape."""
    rows = slice(max(0, dy), max(0, dy, min(a.shape[0], b.shape[0] + dy)))
    columns = slice(max(0, dx), max(0, dx, min(a.shape[1], b.shape[1] + dx)))
    return a[rows, columns], b[rows.start - dy:rows.stop - dy, columns.start - dx:columns.stop - dx]
