"""The smallest gain that a test part can show, before anything is trained."""
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .significance import LEVEL, Groups, number_groups

POWER = 0.8  # the share of such gains that would be found


def independent_images(surface_sizes: Sequence[int], likeness: float) -> float:
    """How many independent images are as uncertain as surfaces of so many images m each.

    likeness  r, the correlation of two images of one surface; 1: they are right or wrong together

    (sum m)^2 / sum m (1 + (m - 1) r), Kish's design effect for surfaces of unequal size.
    """
    sizes = np.asarray(surface_sizes, dtype=float)
    return float(sizes.sum() ** 2 / (sizes * (1 + (sizes - 1) * likeness)).sum())


def likeness_within(values: NDArray, groups: Groups) -> float:
    """The correlation of two images of one group, from 0 to 1, in a table (repetitions, images).

    One-way analysis of variance, with the mean squares of all repetitions added up: variance between groups over the
    sum of that and the variance within (Donner 1986, International Statistical Review 54).
    """
    N = values.shape[1]
    numbers = number_groups(groups, N)
    sizes = np.bincount(numbers)
    G = len(sizes)
    if G < 2 or G == N:
        return 0.0
    values = values - values.mean(axis=1, keepdims=True)
    means = np.stack([np.bincount(numbers, weights=row) for row in values]) / sizes
    between = (sizes * means**2).sum() / (G - 1)
    within = ((values - means[:, numbers]) ** 2).sum() / (N - G)
    of_groups = (between - within) / ((N - (sizes**2).sum() / N) / (G - 1))
    return float(np.clip(of_groups / (of_groups + within), 0, 1)) if of_groups > 0 else 0.0


def smallest_gain(error: float, surface_sizes: Sequence[int], likeness: float = 1.0) -> float:
    """The gain in accuracy that a paired comparison of two networks finds in 80 % of cases.

    error          share of test images that the weaker one gets wrong
    surface_sizes  test images of each surface
    likeness       correlation of two images of one surface

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
    return float(T * np.sqrt(error / (independent_images(surface_sizes, likeness) + T**2)))
