"""Can two ways of training be told apart on the same test images? Intervals, a paired test, and a sentence.

The input is a table of right (1) and wrong (0) answers. It has a row for each seed and a column for each test image.
Two tables that are compared have the same images in their columns.

`groups` names the group of each image. Images of one group show the same surface, and a network gets them right or
wrong together. So chance has drawn groups, and not images. Without `groups`, each image is a group of its own.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

SIGN_FLIPS = 10_000  # random ones, of which p is a share
LEVEL = 0.05  # of significance
SMALLEST_P_SHOWN = 0.001

Groups = Sequence[object] | NDArray | None


@dataclass(frozen=True)
class Accuracy:
    """Mean accuracy over seeds, its standard deviation over seeds, and its 95 % interval."""
    mean: float
    sd: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Accuracy of a less that of b: the difference, its 95 % interval, the two-sided p value, over so many seeds."""
    difference: float
    low: float
    high: float
    p: float
    seeds: int


def interval(correct: ArrayLike, groups: Groups = None) -> Accuracy:
    """The accuracy of one table (seeds, images), with Wilson's 95 % interval.

    Wilson's n is the number of independent images that would be as uncertain as `half_width` says. It is at most the
    number of groups: a few errors in few groups tell little of how errors vary.
    """
    table = np.asarray(correct, dtype=float)
    accuracies = table.mean(axis=1)
    n_groups = number_groups(groups, table.shape[1]).max() + 1
    mean, half = accuracies.mean(), half_width(table, groups)
    n = min(n_groups, 1.96**2 * mean * (1 - mean) / half**2) if half > 0 else n_groups
    low, high = wilson(mean, n)
    return Accuracy(float(mean), float(accuracies.std(ddof=1)) if len(table) > 1 else 0.0, float(low), float(high))


def wilson(share: float, n: float, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a share among n: (low, high). z = 1.96 makes it the 95 % interval."""
    centre, half = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(0.0, (centre - half) / (1 + z**2 / n)), min(1.0, (centre + half) / (1 + z**2 / n))


def number_groups(groups: Groups, n: int) -> NDArray:
    """The groups' names as numbers from 0 on: (n,)."""
    return np.unique(np.asarray(groups), return_inverse=True)[1] if groups is not None else np.arange(n)


def half_width(table: NDArray, groups: Groups) -> float:
    """Half of the 95 % interval of the mean of a table (seeds, images).

    There are two errors: one from few groups of images and one from few seeds. Each is multiplied by its own quantile
    of Student's t, and the two are added in squares. If one training gets a whole class wrong, that is one event of the
    second kind, however many images the class has. With one seed, the second error is unknown and is left out.
    """
    n_seeds, n_images = table.shape
    columns = table.mean(axis=0)
    by_group = np.bincount(number_groups(groups, n_images), weights=columns - columns.mean())
    by_seed = table.mean(axis=1) - table.mean()
    total = 0.0
    for deviations, size in ((by_group, n_images), (by_seed, n_seeds)):
        if (m := len(deviations)) > 1:
            total += stats.t.ppf(0.975, m - 1) ** 2 * m / (m - 1) * (deviations**2).sum() / size**2
    return np.sqrt(total)


def compare(a: ArrayLike, b: ArrayLike, groups: Groups = None, seed: int = 0) -> Comparison:
    """Compare two tables (seeds, images) with the same images. Where one has more seeds, those that both have count.

    The interval is that of `half_width`. That width is 0 where all groups differ alike, mostly not at all. The largest
    share of differing groups that these could have missed takes its place: 1 - 0.025^(1 / groups).
    For p, the sign of each group's difference (mean over seeds) is flipped at random. This is what chance would do if
    the two trainings did not differ. Raises ValueError if the numbers of images differ.
    """
    table_a, table_b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if table_a.shape[1] != table_b.shape[1]:
        raise ValueError(f"{table_a.shape[1]} and {table_b.shape[1]} test images cannot be paired")
    seeds = min(len(table_a), len(table_b))
    table = table_a[:seeds] - table_b[:seeds]
    by_image = table.mean(axis=0)
    by_group = np.bincount(number_groups(groups, len(by_image)), weights=by_image)
    mean = by_image.mean()
    half = half_width(table, groups) or 1 - 0.025 ** (1 / len(by_group))
    low, high = max(-1.0, mean - half), min(1.0, mean + half)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(SIGN_FLIPS, len(by_group)))
    as_large = np.abs(signs @ by_group) >= abs(by_image.sum()) - 1e-9
    return Comparison(float(mean), float(low), float(high), float((1 + as_large.sum()) / (1 + SIGN_FLIPS)), seeds)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values: which of several comparisons stand when all are read together."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, k in enumerate(np.argsort(p_values)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[k]))
        adjusted[k] = largest
    return adjusted


def p_in_words(p: float) -> str:
    """A p value for a sentence. One that is too small for the number of flips is not shown as 0."""
    return f"p = {p:.3f}" if p >= SMALLEST_P_SHOWN else "p < 0.001"


def verdict(name_a: str, name_b: str, found: Comparison, adjusted: float | None = None) -> str:
    """One sentence that claims no more than the figures do, and a second one where it could be misread.

    adjusted  what `holm` makes of the p value where the comparison is one of several; it decides then
    """
    p = found.p if adjusted is None else adjusted
    difference, low, high = (f"{100 * share:+.1f}" for share in (found.difference, found.low, found.high))
    figures = f"{difference} points, 95 % interval {low} to {high}, {p_in_words(found.p)}"
    if adjusted is not None:
        figures += f", adjusted {p_in_words(adjusted)}"
    if p >= LEVEL or found.low <= 0 <= found.high:
        said = f"{name_a} against {name_b}: no difference can be told ({figures})."
        if p < LEVEL and found.seeds > 1:
            said += (" These networks differ on such images (p), but seeds differ so much (interval) that the two ways "
                     "need not be the reason: more --seeds may tell.")
        return said
    direction = "better" if found.difference > 0 else "worse"
    if found.seeds == 1:
        return (f"{name_a} against {name_b}: one network of each was trained, and that of {name_a} is {direction} "
                f"({figures}). It takes --seeds 3 or more to tell whether the two ways are the reason.")
    return f"{name_a} is {direction} than {name_b} ({figures})."
