"""The Frechet distance between two sets of images, by features of a network (Heusel et al. 2017; the paper's eq. 6).

    d^2 = |mu_1 - mu_2|^2 + tr(S_1) + tr(S_2) - 2 tr((S_1 S_2)^(1/2))

The paper prints |mu_1 - mu_2| without the square, and the root around the wrong term. This is the formula of its
reference.

tr((S_1 S_2)^(1/2)) is the sum of the singular values of R_1 R_2^T, for any roots S = R^T R of the covariances. Centred
features are such a root. So the value is exact also for N < 2048 images, whose S is singular: no square root of a
matrix is taken, and no jitter is added.
"""
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

EXTRAPOLATION_POINTS = 10  # numbers of images that `frechet_infinity` measures at

Features = Tensor | np.ndarray  # (N, d), one row an image


@dataclass(frozen=True)
class Gaussian:
    """Mean and covariance R^T R of n feature vectors, float64."""
    mean: Tensor  # (d,)
    root: Tensor  # R: (n, d), or (d, d) where n is larger
    n: int


def gaussian(features: Features) -> Gaussian:
    """Mean and covariance of features (N, d), with divisor N - 1. Raises ValueError for fewer than 2."""
    x = torch.as_tensor(features).detach().cpu().double()
    n, d = x.shape
    if n < 2:
        raise ValueError("a covariance needs at least 2 images")
    mean = x.mean(dim=0)
    x = x - mean
    if n < d:
        return Gaussian(mean, x / (n - 1) ** 0.5, n)
    values, vectors = torch.linalg.eigh(x.T @ x / (n - 1))
    return Gaussian(mean, values.clamp(min=0).sqrt()[:, None] * vectors.T, n)


def frechet_distance(a: Gaussian | Features, b: Gaussian | Features) -> float:
    """d^2 between two sets of features (N, d) and (M, d), or between two Gaussians."""
    a, b = (x if isinstance(x, Gaussian) else gaussian(x) for x in (a, b))
    overlap = torch.linalg.svdvals(a.root @ b.root.T).sum()
    return float((a.mean - b.mean).square().sum() + a.root.square().sum() + b.root.square().sum() - 2 * overlap)


def frechet_infinity(real: Features, generated: Features, seed: int = 0) -> float:
    """The distance, extrapolated to infinitely many generated images: its intercept over 1 / N (Chong & Forsyth 2020).

    real, generated  features (N, d) and (M, d); it is measured on subsets of M / 4 .. M generated images

    Raises ValueError if there are too few images for two subsets.
    """
    rng = np.random.default_rng(seed)
    n = len(generated)
    sizes = np.unique(np.linspace(max(2, n // 4), n, EXTRAPOLATION_POINTS).round().astype(int))
    if len(sizes) < 2:
        raise ValueError("an extrapolation needs more images")
    reference = gaussian(real)
    values = [frechet_distance(reference, generated[rng.choice(n, size, replace=False)]) for size in sizes]
    return float(np.polyfit(1 / sizes, values, 1)[1])
