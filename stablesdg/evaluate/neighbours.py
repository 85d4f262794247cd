"""Precision, recall, density and coverage: do generated images lie where real ones do, and everywhere there?"""
from dataclasses import dataclass

import torch
from torch import Tensor

from .frechet import Features

NEIGHBOURS = 5


@dataclass(frozen=True)
class NeighbourScores:
    """Shares of images with a neighbour on the other side (Kynkaanniemi et al. 2019; Naeem et al. 2020).

    The reach of an image is its distance to its k-th nearest neighbour of its own set.
    """
    precision: float  # share of generated images within the reach of a real one
    recall: float  # share of real images within the reach of a generated one
    density: float  # real images within whose reach a generated one lies, divided by k; may exceed 1
    coverage: float  # share of real images that have a generated one within their reach


def neighbour_scores(real: Features, generated: Features, k: int = NEIGHBOURS) -> NeighbourScores:
    """Scores of features (N, d) and (M, d). k is lowered where a set has too few images."""
    real, generated = (torch.as_tensor(x).double() for x in (real, generated))
    k = min(k, len(real) - 1, len(generated) - 1)
    reach_real, reach_generated = (torch.cdist(x, x).kthvalue(k + 1, dim=1).values for x in (real, generated))
    distance = torch.cdist(real, generated)  # (N, M)
    return NeighbourScores(
        precision=float((distance < reach_real[:, None]).any(dim=0).double().mean()),
        recall=float((distance < reach_generated[None]).any(dim=1).double().mean()),
        density=float((distance < reach_real[:, None]).sum(dim=0).double().mean() / k),
        coverage=float((distance.min(dim=1).values < reach_real).double().mean()))


def nearest(x: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """(distance (M,), index (M,)) of the nearest row of `reference` (N, d) to each row of x (M, d)."""
    distance, index = torch.cdist(x.double(), reference.double()).min(dim=1)
    return distance, index
