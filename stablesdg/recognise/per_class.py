"""What accuracy hides where classes are of unequal size: recall of each class, their mean, and macro-F1.

A confusion matrix is counts[true][predicted]. A class without images has no recall, and no part in the means.
"""
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def recalls(counts: ArrayLike) -> NDArray:
    """The share of each class's images that is recognised: (classes,), nan for a class without images."""
    table = np.asarray(counts, dtype=float)
    with np.errstate(invalid="ignore"):
        return table.diagonal() / table.sum(axis=1)


def balanced_accuracy(counts: ArrayLike) -> float:
    """The mean recall of the classes. A class of few images counts as much as one of many."""
    return float(np.nanmean(recalls(counts)))


def macro_f1(counts: ArrayLike) -> float:
    """The mean over classes of F1 = 2 TP / (2 TP + FP + FN). False alarms lower it, too."""
    table = np.asarray(counts, dtype=float)
    of_class = table.sum(axis=1)
    f1 = 2 * table.diagonal() / np.maximum(1, of_class + table.sum(axis=0))
    return float(f1[of_class > 0].mean())


def scores_in_words(matrices: Sequence[ArrayLike], classes: Sequence[str]) -> str:
    """Mean recall, macro-F1 and each class's recall with its number of images, mean over confusion matrices."""
    counts = np.mean([np.asarray(matrix, dtype=float) for matrix in matrices], axis=0)
    balanced, f1 = (np.mean([score(matrix) for matrix in matrices]) for score in (balanced_accuracy, macro_f1))
    by_class = ", ".join(f"{name} {share:.3f} (n = {n:.0f})" for name, share, n in
                         zip(classes, recalls(counts), counts.sum(axis=1)) if n)
    return (f"balanced accuracy (mean recall of the classes) {balanced:.4f}, macro-F1 {f1:.4f}; recall by class: "
            f"{by_class}")
