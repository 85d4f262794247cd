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

LEVEL = 0.05  # of significance
NORMAL_95 = 1.96  # standard deviations on either side hold 95 % of a normal distribution
MIN_SEEDS = 3  # for a statement about two ways: those of two seeds may cover only 89 % (benchmarks/interval.py)
SMALLEST_P_SHOWN = 0.001
ROUNDING = 1e-9  # of sums of right and wrong answers

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


@dataclass(frozen=True)
class Spread:
    """How uncertain a mean is."""
    variance: float
    freedom: float  # degrees of freedom of Student's t

    @property
    def half_width(self) -> float:
        """Half of the mean's 95 % interval."""
        return float(stats.t.ppf(1 - LEVEL / 2, self.freedom) * np.sqrt(self.variance))

    def p_of(self, mean: float) -> float:
        """The two-sided p value of such a mean, if the true one is 0."""
        return float(2 * stats.t.sf(abs(mean) / np.sqrt(self.variance), self.freedom))


def interval(correct: ArrayLike, groups: Groups = None) -> Accuracy:
    """The accuracy of one table (seeds, images), with Wilson's 95 % interval.

    Wilson's n is the number of independent images that would be as uncertain as `spread_of_mean` says. It is at most
    the number of groups: a few errors in few groups tell little of how errors vary.
    """
    table = np.asarray(correct, dtype=float)
    accuracies = table.mean(axis=1)
    n_groups = number_groups(groups, table.shape[1]).max() + 1
    mean, half = accuracies.mean(), spread_of_mean(table, groups).half_width
    n = min(n_groups, NORMAL_95**2 * mean * (1 - mean) / half**2) if half > 0 else n_groups
    low, high = wilson(mean, n)
    return Accuracy(float(mean), float(accuracies.std(ddof=1)) if len(table) > 1 else 0.0, float(low), float(high))


def wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share among n: (low, high)."""
    z = NORMAL_95
    centre, half = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(0.0, (centre - half) / (1 + z**2 / n)), min(1.0, (centre + half) / (1 + z**2 / n))


def number_groups(groups: Groups, n: int) -> NDArray:
    """The groups' names as numbers from 0 on: (n,)."""
    return np.unique(np.asarray(groups), return_inverse=True)[1] if groups is not None else np.arange(n)


def spread_of_mean(table: NDArray, groups: Groups) -> Spread:
    """How uncertain the mean of a table (seeds, images) is, for other surfaces and other seeds.

    Surfaces and seeds are both drawn by chance, and every surface meets every seed. The variance is that of a two-way
    analysis of variance with random rows and columns, and its degrees of freedom are Satterthwaite's. Studies of
    several readers of the same X-ray cases have this form (Hillis 2007). With one seed, the error of seeds is left out.
    """
    n_seeds, n_images = table.shape
    numbers = number_groups(groups, n_images)
    n_groups = int(numbers.max()) + 1
    if n_groups < 2:
        return Spread(0.0, 1.0)
    residual = (table - table.mean()) * n_groups / n_images
    cells = np.stack([np.bincount(numbers, weights=row, minlength=n_groups) for row in residual])  # (seeds, groups)
    cells[np.abs(cells) < ROUNDING] = 0.0  # so that a tie stays one
    by_group, by_seed = cells.mean(axis=0), cells.mean(axis=1)
    groups_square = n_seeds * (by_group**2).sum() / (n_groups - 1)  # mean squares
    if n_seeds == 1:
        return Spread(groups_square / n_groups, n_groups - 1)
    seeds_square = n_groups * (by_seed**2).sum() / (n_seeds - 1)
    rest_square = ((cells - by_group - by_seed[:, None]) ** 2).sum() / ((n_groups - 1) * (n_seeds - 1))
    square = max(groups_square + seeds_square - rest_square, groups_square, seeds_square)
    freedom = square**2 / (groups_square**2 / (n_groups - 1) + seeds_square**2 / (n_seeds - 1)) if square else 1.0
    return Spread(square / (n_groups * n_seeds), max(1.0, freedom))


def compare(a: ArrayLike, b: ArrayLike, groups: Groups = None) -> Comparison:
    """Compare two tables (seeds, images) with the same images. Where one has more seeds, those that both have count.

    Interval and p come from one Student's t, that of `spread_of_mean`, so that p is below 0.05 exactly where the
    interval leaves out 0. Where all groups differ alike, mostly not at all, the spread is 0. The largest share of
    differing groups that these could have missed takes its place: 1 - 0.025^(1 / groups). p is then that of the sign
    test, 2 / 2^groups, so that fewer than six groups never tell.
    Raises ValueError if the numbers of images differ.
    """
    table_a, table_b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if table_a.shape[1] != table_b.shape[1]:
        raise ValueError(f"{table_a.shape[1]} and {table_b.shape[1]} test images cannot be paired")
    seeds = min(len(table_a), len(table_b))
    table = table_a[:seeds] - table_b[:seeds]
    mean, spread = float(table.mean()), spread_of_mean(table, groups)
    n_groups = number_groups(groups, table.shape[1]).max() + 1
    half = spread.half_width or 1 - 0.025 ** (1 / n_groups)
    if spread.variance:
        p = spread.p_of(mean)
    else:
        p = 1.0 if abs(mean) <= half else 2 * 0.5**n_groups
        half = max(half, abs(mean)) if p >= LEVEL else half
    return Comparison(mean, max(-1.0, mean - half), min(1.0, mean + half), p, seeds)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values: which of several comparisons stand when all are read together."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, k in enumerate(np.argsort(p_values)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[k]))
        adjusted[k] = largest
    return adjusted


def p_in_words(p: float) -> str:
    """A p value for a sentence. A tiny one is not shown as 0."""
    return f"p = {p:.3f}" if p >= SMALLEST_P_SHOWN else "p < 0.001"


def in_points(share: float) -> str:
    """A difference of shares as +2.5 or -1.0 points."""
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # + 0.0 makes +0.0 of -0.0


def verdict(name_a: str, name_b: str, found: Comparison, adjusted: float | None = None,
            needs_seeds: bool = True) -> str:
    """One sentence that claims no more than the figures do, and a second one where it could be misread.

    adjusted     what `holm` makes of the p value where the comparison is one of several; it decides then
    needs_seeds  other seeds would give other results
    """
    p = found.p if adjusted is None else adjusted
    difference, low, high = map(in_points, (found.difference, found.low, found.high))
    figures = f"{difference} points, 95 % interval {low} to {high}, {p_in_words(found.p)}"
    if adjusted is not None:
        figures += f", adjusted {p_in_words(adjusted)}"
    if p >= LEVEL or 1 < found.seeds < MIN_SEEDS:
        few = f" Two seeds are too few to tell: take --seeds {MIN_SEEDS} or more." if found.seeds == 2 else ""
        return f"{name_a} against {name_b}: no difference can be told ({figures}).{few}"
    direction = "better" if found.difference > 0 else "worse"
    if found.seeds == 1 and needs_seeds:
        return (f"{name_a} against {name_b}: one network of each was trained, and that of {name_a} is {direction} "
                f"({figures}). It takes --seeds {MIN_SEEDS} or more to tell whether the two ways are the reason.")
    return f"{name_a} is {direction} than {name_b} ({figures})."
