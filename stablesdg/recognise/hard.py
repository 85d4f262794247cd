"""Weights towards what a classifier gets wrong, for the choice of sources, or of images to see again.

The classifier looks at the validation images. Each one that it does not recognise raises the weights of the NEAREST
training images of its class that are most like it:

    weight of a training image = (1 + e) / their mean,    e = n / (NEAREST v) * how many such images it is near to

n and v are the training and validation images of the class, so that the mean of e is the share of them that is missed.
No validation image is in the file, and no test image has a part in it.
"""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data.generated import source_name
from ..evaluate.extract import FeatureExtractor
from ..storage.files import write_csv
from .arms import FilesByClass

NEAREST = 5  # training images that share the weight of a missed one


def shares_of_missed(train: Tensor, missed: Tensor, n_validation: int) -> Tensor:
    """e (N,) of the training images of a class, from their features (N, d) and those of the missed ones (M, d)."""
    k = min(NEAREST, len(train))
    near = torch.cdist(missed.double(), train.double()).topk(k, dim=1, largest=False).indices
    return torch.bincount(near.flatten(), minlength=len(train)) * len(train) / (k * max(1, n_validation))


def write_hard(path: Path, train: FilesByClass, validation: FilesByClass, missed: Sequence[bool],
               extractor: FeatureExtractor) -> None:
    """Write file (CATEGORY/FILE) and weight, for --hard. `missed` is of all validation images, class by class."""
    rest, shares = iter(missed), []
    for files, held_out in zip(train, validation):
        wrong = [file for file, is_missed in zip(held_out, rest) if is_missed]
        shares.append(shares_of_missed(extractor.of_files(files), extractor.of_files(wrong), len(held_out)) if wrong
                      else torch.zeros(len(files)))
    weights = 1 + torch.cat(shares).double().numpy()
    names = [source_name(file) for files in train for file in files]
    write_csv(path, ("file", "weight"), [(name, f"{weight:.6f}")
                                         for name, weight in zip(names, weights / np.mean(weights))])
