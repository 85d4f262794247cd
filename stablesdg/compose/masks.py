"""Where is the defect? Three ways to find it in the image alone, and a measured choice between them.

    tones     the image has two tones, as patches on steel have: Otsu's threshold (1979) parts them
    saliency  something stands out from a smooth ground: robust local contrast at several scales
    blobs     nothing stands out, because the defect is all over the image: smooth random blobs are cut from it. They
              lean towards places that stand out a little

Tones are taken if Otsu's two classes explain enough of the variance, with a plane and with a curved surface as ground;
a Gaussian has 0.64. Saliency is taken if its peak is high enough. The numbers were set on one half of NEU and of the
magnetic tiles, and docs/compose.md has what the other half says. On striped or shaded ground a found mask is often
wrong: look at the preview, and pass masks or boxes where they matter.
"""
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..data.arithmetic import number_parts, otsu

TWO_TONES_ON_PLANE, TWO_TONES_ON_CURVE = 0.69, 0.64  # least share of the variance between Otsu's classes
TONES_AREA = (0.01, 0.48)  # of the image, for the rarer tone
LEAST_PEAK = 6.5  # robust deviations; textures without a distinct defect stay below
SCALES = (1.5, 3.0, 6.0)  # pixels: deviations of Gaussian filters
BAND = 10  # the ground of a fine scale is the image at this many times the scale
EDGE_SHARE, EDGE_LEVEL = 0.4, 2.5  # a region reaches down to this share of the peak, and to this many deviations
SEED_SHARE = 0.5  # a region holds a pixel of at least this share of the peak
STRIPES = 0.85  # rows or columns are levelled if that leaves less than this share of the deviation
LEAST_AREA, MOST_AREA = 0.0003, 0.6  # of the square of the shorter side; of the image
PEAK_AREA = 0.0005  # of that square: so much of an image is at its peak or above
BLOB_SHARE = 0.4  # of the image
REFERENCE_SIDE = 200  # pixels: lengths below are for an image whose shorter side is as long
TONE_BLUR, BLOB_BLUR, LEAN_BLUR, MARGIN, GROWTH = 4.0, 12.0, 6.0, 3.0, 2.0
LEAST_DEVIATION = 0.002  # of gray levels from 0 to 1: half a level of 256
FIT_ROUNDS, FIT_STEP = 8, 4  # rounds of reweighting; every fourth pixel is enough


@dataclass(frozen=True)
class Mask:
    """Where a defect is."""
    area: np.ndarray  # bool (H, W)
    kind: str  # how it was found: "tones", "saliency" or "blobs", or what was given


def find_mask(gray: np.ndarray, seed: int) -> Mask:
    """The defect of an image (H, W), levels 0 to 1. `seed` counts only where blobs are drawn."""
    unit = length_unit(gray.shape)
    tones = two_tones(gray, unit)
    if tones is not None:
        return Mask(grow(tones, GROWTH * unit), "tones")
    contrast = local_contrast(gray)
    found = standing_out(contrast, unit)
    if found is not None:
        return Mask(grow(found, GROWTH * unit), "saliency")
    return Mask(blobs(contrast, seed), "blobs")


def length_unit(shape: tuple[int, ...]) -> float:
    """Pixels of an image that stand for one pixel of an image of 200 x 200."""
    return min(shape[:2]) / REFERENCE_SIDE


# ---- ground -----------------------------------------------------------------------------------------------------


def deviation(values: np.ndarray) -> float:
    """The standard deviation that the median absolute deviation implies. Outliers do not count."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def smooth_ground(gray: np.ndarray, degree: int, where: np.ndarray | None = None) -> np.ndarray:
    """A polynomial of the places, fitted so that outliers hardly count (Cauchy weights).

    where  bool (H, W): only these pixels count (default: all)
    """
    height, width = gray.shape
    y, x = np.mgrid[-1:1:height * 1j, -1:1:width * 1j]
    terms = np.stack([x**i * y**j for i in range(degree + 1) for j in range(degree + 1 - i)], axis=-1)
    counted = np.zeros(gray.shape, dtype=bool)
    counted[::FIT_STEP, ::FIT_STEP] = True if where is None else where[::FIT_STEP, ::FIT_STEP]
    a, b = terms[counted], gray[counted]
    weights = np.ones_like(b)
    coefficients = np.zeros(a.shape[1])
    for _ in range(FIT_ROUNDS):
        coefficients = np.linalg.lstsq(a * weights[:, None], b * weights, rcond=None)[0]
        residual = b - a @ coefficients
        weights = 1 / (1 + (residual / (2 * deviation(residual) + 1e-6)) ** 2)
    return terms @ coefficients


def level_stripes(residual: np.ndarray) -> np.ndarray:
    """Take the median from each column, and from each row, where that makes the image much plainer."""
    for axis in (0, 1):
        levelled = residual - np.median(residual, axis=axis, keepdims=True)
        before, after = (deviation(ndimage.gaussian_filter(a, 2)) for a in (residual, levelled))
        if after < STRIPES * before:
            residual = levelled
    return residual


# ---- two tones --------------------------------------------------------------------------------------------------


def otsu_threshold(values: np.ndarray) -> tuple[float, float]:
    """(threshold, share of the variance that lies between the values below and above it)."""
    counts, edges = np.histogram(values, 128)
    centres = (edges[1:] + edges[:-1]) / 2
    best, share = otsu(counts, centres)
    return float(centres[best]), share


def two_tones(gray: np.ndarray, unit: float) -> np.ndarray | None:
    """The rarer of two tones, or None if the image has not two, or only specks of one."""
    curved = ndimage.gaussian_filter(gray - smooth_ground(gray, 2), TONE_BLUR * unit)
    flat = ndimage.gaussian_filter(gray - smooth_ground(gray, 1), TONE_BLUR * unit)
    threshold, share = otsu_threshold(flat)
    rarer = flat < threshold if (flat < threshold).mean() < 0.5 else flat >= threshold
    if share < TWO_TONES_ON_PLANE or otsu_threshold(curved)[1] < TWO_TONES_ON_CURVE:
        return None
    if not TONES_AREA[0] < rarer.mean() < TONES_AREA[1]:
        return None
    found = fill(rarer, max(1, round(3 * unit)), 0.002)
    return found if found.any() else None


# ---- saliency ---------------------------------------------------------------------------------------------------


def local_contrast(gray: np.ndarray) -> np.ndarray:
    """How many robust deviations each pixel differs from its surroundings, the most over all scales (H, W)."""
    residual = level_stripes(gray - smooth_ground(gray, 1))
    contrast = np.zeros_like(residual)
    for scale in SCALES:
        fine = ndimage.gaussian_filter(residual, scale)
        if scale < max(SCALES):  # the coarsest scale sees large defects, so it keeps its ground
            fine = fine - ndimage.gaussian_filter(residual, BAND * scale)
        fine = np.abs(fine - np.median(fine))
        contrast = np.maximum(contrast, fine / (1.4826 * np.median(fine) + LEAST_DEVIATION))
    return contrast


def standing_out(contrast: np.ndarray, unit: float) -> np.ndarray | None:
    """The regions around the peaks, or None if no peak is high enough or the regions are too large."""
    inner = contrast.copy()
    margin = max(1, int(MARGIN * unit))  # the very border of a photograph often differs
    inner[:margin] = inner[-margin:] = inner[:, :margin] = inner[:, -margin:] = 0
    peak = float(np.quantile(inner, 1 - PEAK_AREA * min(inner.shape) ** 2 / inner.size))
    if peak < LEAST_PEAK:
        return None
    region = contrast > max(EDGE_LEVEL, EDGE_SHARE * peak)
    labels = number_parts(region)
    seeds = np.unique(labels[inner > max(0.6 * LEAST_PEAK, SEED_SHARE * peak)])
    region = fill(np.isin(labels, seeds[seeds > 0]), 2, LEAST_AREA)
    return region if 0 < region.mean() < MOST_AREA else None


# ---- blobs ------------------------------------------------------------------------------------------------------


def blobs(contrast: np.ndarray, seed: int) -> np.ndarray:
    """Smooth random blobs that lean towards high contrast. They cover two fifths of the image."""
    unit = length_unit(contrast.shape)
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(contrast.shape), BLOB_BLUR * unit)
    lean = ndimage.gaussian_filter(contrast, LEAN_BLUR * unit)
    field = noise / noise.std() + (lean - lean.mean()) / (lean.std() + 1e-9)
    return field > np.quantile(field, 1 - BLOB_SHARE)


# ---- clean up ---------------------------------------------------------------------------------------------------


def fill(region: np.ndarray, radius: int, least_area: float) -> np.ndarray:
    """Close gaps and holes, and drop specks of less than `least_area` of the square of the image's shorter side."""
    padded = np.pad(region, 2 * radius + 2)
    inside = slice(2 * radius + 2, -2 * radius - 2)
    closed = np.asarray(ndimage.binary_fill_holes(ndimage.binary_closing(padded, iterations=radius)))
    labels = number_parts(closed[inside, inside])
    large = np.bincount(labels.ravel()) >= least_area * min(region.shape)**2
    large[0] = False  # what is in no part
    return large[labels]


def grow(region: np.ndarray, radius: float) -> np.ndarray:
    """The region and all pixels within `radius` of it."""
    return distance_from(region) <= radius


def distance_from(region: np.ndarray) -> np.ndarray:
    """The distance in pixels of each pixel (H, W) from a region: 0 in it, infinite if it is empty."""
    if not region.any():
        return np.full(region.shape, np.inf)
    return np.asarray(ndimage.distance_transform_edt(~region))
