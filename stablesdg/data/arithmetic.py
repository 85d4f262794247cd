"""Arithmetic on arrays. At what the search for overlaps computes most, PyTorch is quicker than NumPy and SciPy. It need
not be there: the audit of python -m stablesdg.plan works without it."""
import contextlib
from collections.abc import Iterator

import numpy as np
from scipy import ndimage
from scipy.fft import irfft2

try:
    import torch
except ImportError:
    torch = None


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """A block in which PyTorch takes one thread. Else its threads and NumPy's wait for each other: the search took
    three times as long on two cores."""
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a (m, k), b (k, n) -> (m, n)."""
    return a @ b if torch is None else (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()


def correlation(spectrum: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """(n, size, size): the inverse transform of conj(spectrum) times that of each partner.

    spectrum (size, size // 2 + 1), partners (n, size, size // 2 + 1)
    """
    shape = (len(spectrum),) * 2
    if torch is None:
        return np.asarray(irfft2(spectrum.conj() * partners, s=shape, overwrite_x=True))
    return torch.fft.irfft2(torch.from_numpy(spectrum.conj()) * torch.from_numpy(partners), s=shape).numpy()


def otsu(counts: np.ndarray, centres: np.ndarray) -> tuple[int, float]:
    """A histogram parted into two classes of least variance (Otsu 1979).

    counts, centres  (n,) of its bins, the lowest first

    Returns (the last bin of the lower class, the share of the variance that lies between the classes). Of a histogram
    with one filled bin, these are (0, 0).
    """
    counts = counts.astype(float)
    below, moment = counts.cumsum(), (counts * centres).cumsum()
    total, filled = below[-1], below * (below[-1] - below)
    between = np.divide((moment[-1] * below - moment * total) ** 2, filled, out=np.zeros(len(counts)), where=filled > 0)
    best = int(between.argmax())
    variance = (counts * (centres - moment[-1] / total) ** 2).sum() / total
    return best, float(between[best] / total**2 / max(variance, 1e-12))


def number_parts(region: np.ndarray) -> np.ndarray:
    """The number of its connected part for each pixel (H, W) of a region, from 1; 0 outside."""
    labels = np.zeros(region.shape, dtype=np.int32)
    ndimage.label(region, output=labels)
    return labels
