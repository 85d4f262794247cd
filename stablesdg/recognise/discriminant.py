"""Linear discriminant analysis in NumPy: a classifier with a closed form and nothing to choose."""
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Discriminant:
    """Features x (N, d) -> scores (x - mean) / std W + b. The largest one names the class."""
    mean: NDArray  # (d,) of the training features
    std: NDArray  # (d,)
    weight: NDArray  # W (d, classes)
    bias: NDArray  # b (classes,); -inf for a class without training images

    def predict(self, x: NDArray) -> NDArray:
        """Features (N, d) -> classes (N,)."""
        return ((x - self.mean) / self.std @ self.weight + self.bias).argmax(axis=1)


def fit_discriminant(x: NDArray, y: NDArray, classes: int) -> Discriminant:
    """Fit features x (N, d) of classes y (N,). All classes are held to be equally frequent.

    Each class is a normal distribution of its own mean m, and all have one covariance S: W = S^-1 m and
    b = -m' S^-1 m / 2. S is shrunk, so that it can be inverted even if there are fewer images than features.
    """
    mean, std = x.mean(axis=0), x.std(axis=0) + 1e-9
    x = (x - mean) / std
    own = [x[y == k] for k in range(classes)]
    means = np.stack([some.mean(axis=0) if len(some) else np.zeros(x.shape[1]) for some in own], axis=1)  # (d, classes)
    covariance = shrunk_covariance(x - means[:, y].T)
    weight = np.linalg.solve(covariance, means)
    bias = np.where([len(some) > 0 for some in own], -0.5 * (means * weight).sum(axis=0), -np.inf)
    return Discriminant(mean, std, weight, bias)


def shrunk_covariance(x: NDArray) -> NDArray:
    """(1 - r) S + r m I for x (N, d) of mean 0, with S = x'x / N, m the mean of its diagonal, and the best r.

    r is the estimate of Ledoit and Wolf 2004 (Journal of Multivariate Analysis 88, section 3.3): the larger, the more
    the single x x' differ from their mean S.
    """
    N, d = x.shape
    S = x.T @ x / N
    m = np.trace(S) / d
    distance = (S**2).sum() - d * m**2  # |S - m I|^2
    error = ((x**2).sum(axis=1) ** 2).sum() / N**2 - (S**2).sum() / N  # sum over images of |x x' - S|^2 / N^2
    r = min(1.0, error / distance) if distance > 0 else 1.0
    return (1 - r) * S + (r * m + 1e-9) * np.eye(d)
