"""The smallest gain that a test part can show, before anything is trained."""
from collections.abc import Sequence

import numpy as np
from scipy import stats

from .significance import LEVEL

POWER = 0.8  # the share of such gains that would be found


def independent_images(surface_sizes: Sequence[int]) -> float:
    """How many independent images are as uncertain as surfaces of so many images each: (sum m)^2 / sum m^2.

    Images of one surface are taken to be right or wrong together (Kish's design effect at a correlation of 1).
    """
    sizes = np.asarray(surface_sizes, dtype=float)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def smallest_gain(error: float, surface_sizes: Sequence[int]) -> float:
    """The gain in accuracy that a paired comparison of two networks finds in 80 % of cases.

    error          share of test images that the weaker one gets wrong
    surface_sizes  test images of each surface

    The comparison is `significance.compare` with one network of each kind. Let the better one make half of its errors
    on images that the weaker one gets wrong, too. Then they disagree on the share `error` of all images, whatever the
    gain is, and an image's difference (-1, 0 or 1) has the variance error - gain^2. The gain is found if it is
    T = t(0.975) + t(0.8) standard errors large: gain^2 = T^2 (error - gain^2) / n, with n the independent images and
    Student's t of one degree of freedom less than there are surfaces. A gain above the error cannot be.
    """
    surfaces = len(surface_sizes)
    if surfaces < 2:
        return float("inf")
    T = stats.t.ppf(1 - LEVEL / 2, surfaces - 1) + stats.t.ppf(POWER, surfaces - 1)
    return float(T * np.sqrt(error / (independent_images(surface_sizes) + T**2)))
