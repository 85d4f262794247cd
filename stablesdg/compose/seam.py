"""Can the seam be measured? The gradient across the band around the mask, against that of the rest of the image."""
import numpy as np
from scipy import ndimage

from .masks import distance_from, length_unit
from .paste import SEAM

SMOOTHING = 1.0  # pixels: the deviation of the Gaussian filter before derivatives are taken
LEAST_REST = 0.02  # of the image


def seam_ratio(levels: np.ndarray, mask: np.ndarray) -> float:
    """The mean gradient across the border of a mask (H, W), divided by that elsewhere, of an image (H, W) or (H, W, 3).

    "Across" is along the direction that leads away from the mask. The border is the band that a composite blends in,
    outside of the mask; elsewhere is all beyond it. Near 1 nothing is to be seen; above 1 there is an edge, below 1 a
    blur. Compare it with that of the defect in its own image: its edges may lie in the band. NaN if there is no rest.
    """
    gray = (levels.mean(axis=2) if levels.ndim == 3 else levels).astype(np.float64)
    distance = distance_from(mask)
    away_y, away_x = np.gradient(ndimage.gaussian_filter(distance, SMOOTHING))
    length = np.hypot(away_y, away_x) + 1e-9
    down, right = np.gradient(ndimage.gaussian_filter(gray, SMOOTHING))
    across = np.abs(away_y * down + away_x * right) / length
    band = (distance > 0) & (distance <= SEAM * length_unit(mask.shape))
    rest = (distance > 0) & ~band
    if not band.any() or rest.mean() < LEAST_REST:
        return float("nan")
    return float(across[band].mean() / max(across[rest].mean(), 1e-9))
