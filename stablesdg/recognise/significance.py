"""Can two ways of training be told apart on the same test images? Intervals, a paired test, and a sentence.

Input are tables of right (1) and wrong (0), one row a seed, one column a test image, the columns the same images. `groups`
names the group of each image: images that show the same surface are right or wrong together, so that chance deals with
groups, not with images. Without it, each image is a group of its own.
"""
from dataclasses import dataclass

import numpy as np
from scipy import stats

DRAWS = 10_000
LEVEL = 0.05


@dataclass
class Comparison:
    """Accuracy of a less that of b: the difference, its 95 % interval and the two-sided p value, over so many seeds."""
    difference: float
    low: float
    high: float
    p: float
    seeds: int


def interval(correct, groups=None):
    """(mean accuracy, its standard deviation over seeds, low, high): Wilson's 95 % interval.

    correct (seeds, images) of 0 and 1. Its n is that of independent images with as much uncertainty as `half_width` finds,
    at most the number of groups: a few errors in few groups tell little of how they vary.
    """
    correct = np.asarray(correct, dtype=float)
    accuracies, n_groups = correct.mean(axis=1), numbered(groups, correct.shape[1]).max() + 1
    mean, half = accuracies.mean(), half_width(correct, groups)
    n = min(n_groups, 1.96**2 * mean * (1 - mean) / half**2) if half > 0 else n_groups
    return float(mean), float(accuracies.std(ddof=1)) if len(correct) > 1 else 0.0, *map(float, wilson(mean, n))


def wilson(share, n, z=1.96):
    """Wilson's 95 % interval of a share among n."""
    centre, half = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(0.0, (centre - half) / (1 + z**2 / n)), min(1.0, (centre + half) / (1 + z**2 / n))


def numbered(groups, n):
    """Groups' names as numbers (n,) from 0 on."""
    return np.unique(groups, return_inverse=True)[1] if groups is not None else np.arange(n)


def half_width(table, groups):
    """Half of the 95 % interval of a table's mean: the error from few groups of images and that from few seeds, each times
    its own quantile of Student's t, are added in squares. A class that one training gets wrong as a whole is one event of
    the second kind, however many images it has. With one seed that error is unknown and left out."""
    (n_seeds, n_images), total = table.shape, 0.0
    columns = table.mean(axis=0)
    by_group = np.bincount(numbered(groups, n_images), weights=columns - columns.mean())
    for deviations, size in ((by_group, n_images), (table.mean(axis=1) - table.mean(), n_seeds)):
        if (m := len(deviations)) > 1:
            total += stats.t.ppf(0.975, m - 1) ** 2 * m / (m - 1) * (deviations**2).sum() / size**2
    return np.sqrt(total)


def compare(a, b, groups=None, seed=0):
    """Comparison of two tables with the same images in their columns.

    The interval is that of `half_width`, or where all groups differ alike, mostly not at all, the share of other groups that
    may have been missed: 1 - 0.025^(1 / groups). p comes from flipping the sign of each group's difference, mean over seeds,
    at random: what chance would do if the two trainings did not differ.
    """
    a, b = (np.asarray(x, dtype=float) for x in (a, b))
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{a.shape[1]} and {b.shape[1]} test images cannot be paired")
    seeds = min(len(a), len(b))
    table = a[:seeds] - b[:seeds]
    difference = table.mean(axis=0)  # (images,)
    mean, half = difference.mean(), half_width(table, groups)
    by_group = np.bincount(numbered(groups, len(difference)), weights=difference)
    half = half or 1 - 0.025 ** (1 / len(by_group))
    low, high = max(-1.0, mean - half), min(1.0, mean + half)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(DRAWS, len(by_group)))
    chance = np.abs(signs @ by_group) >= abs(difference.sum()) - 1e-9
    return Comparison(float(mean), float(low), float(high), float((1 + chance.sum()) / (1 + DRAWS)), seeds)


def holm(p_values):
    """Holm's adjusted p values: which of several comparisons stand when all are read together."""
    order, adjusted, largest = np.argsort(p_values), np.empty(len(p_values)), 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[k]))
        adjusted[k] = largest
    return adjusted.tolist()


def shown(p):
    """A p value in words: one below what DRAWS can tell well is not 0."""
    return f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"


def verdict(name_a, name_b, c, adjusted=None):
    """One sentence that claims no more than the figures do, and a second one where it could be misread.

    `adjusted` is c.p as `holm` adjusts it where the comparison is one of several; it decides then.
    """
    p = c.p if adjusted is None else adjusted
    points = f"{100 * c.difference:+.1f} points, 95 % interval {100 * c.low:+.1f} to {100 * c.high:+.1f}, {shown(c.p)}" + (
        "" if adjusted is None else f", adjusted {shown(p)}")
    if p >= LEVEL or c.low <= 0 <= c.high:
        seeds = "" if p >= LEVEL or c.seeds == 1 else (
            " These networks differ on such images (p), but seeds differ so much (interval) that it need not be due to the two "
            "ways: more --seeds may tell.")
        return f"{name_a} against {name_b}: no difference can be told ({points}).{seeds}"
    found = "better" if c.difference > 0 else "worse"
    if c.seeds == 1:
        return (f"{name_a} against {name_b}: one network of each was trained, and that of {name_a} is {found} ({points}). "
                "Whether that is due to the two ways, only --seeds 3 or more can tell.")
    return f"{name_a} is {found} than {name_b} ({points})."
