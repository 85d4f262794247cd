"""Can two ways of training be told apart on the same test images? Intervals, a paired test, and a sentence.

Input are tables of right (1) and wrong (0), one row a seed, one column a test image, the columns the same images.
"""
from dataclasses import dataclass

import numpy as np

DRAWS = 10_000
LEVEL = 0.05


@dataclass
class Comparison:
    """Accuracy of a less that of b: the difference, its 95 % interval and the two-sided p value."""
    difference: float
    low: float
    high: float
    p: float


def interval(correct, seed=0):
    """(mean accuracy, its standard deviation over seeds, low, high): 95 %, by a bootstrap over seeds and images.

    correct (seeds, images) of 0 and 1. With few images the images are most of the uncertainty, not the seeds.
    """
    correct = np.asarray(correct, dtype=float)
    accuracies = correct.mean(axis=1)
    low, high = np.percentile(resampled_means(correct, seed), [2.5, 97.5])
    return float(accuracies.mean()), float(accuracies.std(ddof=1)) if len(correct) > 1 else 0.0, float(low), float(high)


def resampled_means(table, seed):
    """DRAWS means of the table with rows and columns drawn anew, with replacement."""
    rng, means = np.random.default_rng(seed), np.empty(DRAWS)
    n_rows, n_columns = table.shape
    for k in range(DRAWS):
        rows = np.bincount(rng.integers(0, n_rows, n_rows), minlength=n_rows)
        columns = np.bincount(rng.integers(0, n_columns, n_columns), minlength=n_columns)
        means[k] = rows @ table @ columns / (n_rows * n_columns)
    return means


def compare(a, b, seed=0):
    """Comparison of two tables with the same images in their columns.

    The interval is a bootstrap's over seeds and images; p comes from flipping the sign of each image's difference, mean
    over seeds, at random: what chance would do if the two ways did not differ.
    """
    a, b = (np.asarray(x, dtype=float) for x in (a, b))
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{a.shape[1]} and {b.shape[1]} test images cannot be paired")
    difference = a.mean(axis=0) - b.mean(axis=0)  # (images,)
    seeds = min(len(a), len(b))
    low, high = np.percentile(resampled_means(a[:seeds] - b[:seeds], seed), [2.5, 97.5])
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(DRAWS, len(difference)))
    chance = np.abs(signs @ difference) >= abs(difference.sum()) - 1e-9
    return Comparison(float(difference.mean()), float(low), float(high), float((1 + chance.sum()) / (1 + DRAWS)))


def verdict(name_a, name_b, c):
    """One sentence that claims no more than the figures do."""
    points = f"{100 * c.difference:+.1f} points, 95 % interval {100 * c.low:+.1f} to {100 * c.high:+.1f}, p = {c.p:.3f}"
    if c.p >= LEVEL or c.low <= 0 <= c.high:
        return f"{name_a} against {name_b}: no difference can be told ({points})."
    return f"{name_a} is {'better' if c.difference > 0 else 'worse'} than {name_b} ({points})."
