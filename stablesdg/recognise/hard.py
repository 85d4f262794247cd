"""Weights towards what a classifier gets wrong, for the choice of sources: hard.csv.

    weight of a training image = (1 + share of its class's validation images that are not recognised) / their mean

A class that is always recognised keeps a weight, and one that never is has twice as much. Validation images decide
this. They are not in the file, and no test image has a part in it.
"""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from ..data.generated import source_name
from ..storage.files import write_csv
from .arms import FilesByClass


def error_rates(predicted: Tensor, y: Tensor, classes: int) -> list[float]:
    """The share of each class's images (N,) that is not recognised; 0 for a class without images."""
    return [float((predicted[y == k] != k).float().mean()) if bool((y == k).any()) else 0.0 for k in range(classes)]


def image_weights(train: FilesByClass, errors: Sequence[float]) -> list[tuple[Path, float]]:
    """(file, weight) of the training images of each class. Their mean is 1."""
    weights = [(file, 1 + error) for files, error in zip(train, errors) for file in files]
    mean = float(np.mean([weight for _, weight in weights]))
    return [(file, weight / mean) for file, weight in weights]


def write_hard(path: Path, train: FilesByClass, errors: Sequence[float]) -> None:
    """Write hard.csv: file (CATEGORY/FILE) and weight."""
    write_csv(path, ("file", "weight"), [(source_name(file), f"{weight:.6f}")
                                         for file, weight in image_weights(train, errors)])
