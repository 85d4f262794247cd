"""Can two ways of training be told apart on the same test images? Intervals, a paired test, and a sentence.

Input are tables of right (1) and wrong (0), one row a seed, one column a test image, the columns the same images. `groups`
names the group of each image: images that show the same surface are right or wrong together, so that chance deals with
groups, not with images. Without it, each image is a group of its own.
"""
from dataclasses import dataclass

import numpy as np

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


def interval(correct, groups=None, seed=0):
    """(mean accuracy, its standard deviation over seeds, low, high): 95 %, by a bootstrap over seeds and groups.

    correct (seeds, images) of 0 and 1. With few images the images are most of the uncertainty, not the seeds.
    """
    correct = np.asarray(correct, dtype=float)
    accuracies = correct.mean(axis=1)
    low, high = np.percentile(resampled_means(correct, groups, seed), [2.5, 97.5])
    if low == high:  # all right or all wrong: nothing to draw from, so Wilson's interval for the number of groups
        low, high = wilson(accuracies.mean(), numbered(groups, correct.shape[1]).max() + 1)
    return float(accuracies.mean()), float(accuracies.std(ddof=1)) if len(correct) > 1 else 0.0, float(low), float(high)


def wilson(share, n, z=1.96):
    """Wilson's 95 % interval of a share among n."""
    centre, half = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(0.0, (centre - half) / (1 + z**2 / n)), min(1.0, (centre + half) / (1 + z**2 / n))


def numbered(groups, n):
    """Groups' names as numbers (n,) from 0 on."""
    return np.unique(groups, return_inverse=True)[1] if groups is not None else np.arange(n)


def resampled_means(table, groups, seed):
    """DRAWS means of the table with rows and groups of columns drawn anew, with replacement."""
    rng, (n_rows, n_columns) = np.random.default_rng(seed), table.shape
    group = numbered(groups, n_columns)
    n_groups = group.max() + 1
    rows = rng.multinomial(n_rows, np.full(n_rows, 1 / n_rows), DRAWS)  # how often each is drawn
    columns = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), DRAWS)[:, group]
    return (rows @ table * columns).sum(axis=1) / (n_rows * columns.sum(axis=1))


def compare(a, b, groups=None, seed=0):
    """Comparison of two tables with the same images in their columns.

    The interval is a bootstrap's over seeds and groups; p comes from flipping the sign of each group's difference, mean
    over seeds, at random: what chance would do if the two ways did not differ.
    """
    a, b = (np.asarray(x, dtype=float) for x in (a, b))
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{a.shape[1]} and {b.shape[1]} test images cannot be paired")
    seeds = min(len(a), len(b))
    table = a[:seeds] - b[:seeds]
    difference = table.mean(axis=0)  # (images,)
    low, high = np.percentile(resampled_means(table, groups, seed), [2.5, 97.5])
    by_group = np.bincount(numbered(groups, len(difference)), weights=difference)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(DRAWS, len(by_group)))
    chance = np.abs(signs @ by_group) >= abs(difference.sum()) - 1e-9
    return Comparison(float(difference.mean()), float(low), float(high), float((1 + chance.sum()) / (1 + DRAWS)), seeds)


def verdict(name_a, name_b, c):
    """One sentence that claims no more than the figures do."""
    points = f"{100 * c.difference:+.1f} points, 95 % interval {100 * c.low:+.1f} to {100 * c.high:+.1f}, p = {c.p:.3f}"
    if c.p >= LEVEL or c.low <= 0 <= c.high:
        return f"{name_a} against {name_b}: no difference can be told ({points})."
    once = "" if c.seeds > 1 else (" One training of each tells these two networks apart, not the two ways: "
                                   "take --seeds 3 or more.")
    return f"{name_a} is {'better' if c.difference > 0 else 'worse'} than {name_b} ({points}).{once}"
