"""Weights towards what a classifier gets wrong, for the choice of images to see again.

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

from ..data.folders import name_of
from ..data.split import Split
from ..data.surfaces import category_of
from ..evaluate.extract import FeatureExtractor
from ..storage.errors import UserError
from ..storage.files import read_csv, write_csv
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
    names = [name_of(file) for files in train for file in files]
    write_csv(path, ("file", "weight"), [(name, f"{weight:.6f}")
                                         for name, weight in zip(names, weights / np.mean(weights))])


def read_hard(file: Path, files: Sequence[Path], split: Split) -> list[float]:
    """How often each training image is to be seen again, relative to the others.

    file   CSV with the columns `file` (CATEGORY/FILE) and `weight`. An image that it does not name has weight 1
    files  the training images of all classes

    Raises UserError for an image that is kept out of training, and if no row is of these classes.
    """
    rows = read_csv(file)
    if not rows or not {"file", "weight"} <= set(rows[0]):
        raise UserError(f"{file} has no columns file and weight: its first line must name them.")
    names = [name_of(image) for image in files]
    classes = {category_of(name) for name in names}
    given = {row["file"]: to_weight(row["weight"], file) for row in rows if category_of(row["file"]) in classes}
    of = ", ".join(sorted(classes))
    if strange := sorted(name for name in given if split["files"].get(name, {}).get("part") != "train"):
        part = split["files"][strange[0]]["part"] if strange[0] in split["files"] else "no"
        raise UserError(f"{file} weights {strange[0]}, which is in {part} part of the split: only training images "
                        "may have a weight.")
    weights = [given.get(name, 1.0) for name in names]
    if not given or not sum(weights):
        raise UserError(f"{file} gives no weight to any image of {of}: it needs a row for one of them at least, "
                        f"with a name like {names[0]}.")
    low, high = min(weights), max(weights)
    print(f"{file} weights {len(given)} of the {len(files)} images of {of}, from {low:g} to {high:g}"
          + (": all alike, so it changes nothing" if low == high else ""))
    return weights


def to_weight(text: str, file: Path) -> float:
    """A weight of at least 0. Raises UserError for anything else."""
    try:
        weight = float(text)
    except (TypeError, ValueError):
        weight = -1.0
    if not 0 <= weight < float("inf"):
        raise UserError(f"{file} has the weight {text!r}: a weight is a number of at least 0.")
    return weight
