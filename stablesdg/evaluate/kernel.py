"""KID: the squared maximum mean discrepancy between two sets of features, without bias (Binkowski et al. 2018)."""
import numpy as np

from .frechet import Features

SUBSETS = 100
LARGEST_SUBSET = 1000  # images


def kernel_distance(real: Features, generated: Features, subsets: int = SUBSETS, subset_size: int | None = None,
                    seed: int = 0) -> tuple[float, float]:
    """(mean, standard deviation) over random subsets, under the kernel (x y / d + 1)^3. Features (N, d) and (M, d).

    subset_size  images in a subset (default: half the smaller set, at most 1,000)

    Raises ValueError if a subset is larger than a set.
    """
    real, generated = (np.asarray(x, dtype=np.float64) for x in (real, generated))
    smaller = min(len(real), len(generated))
    m = subset_size or max(2, min(LARGEST_SUBSET, smaller // 2))
    if m > smaller:
        raise ValueError(f"subsets of {m} need that many images on either side")
    rng, values = np.random.RandomState(seed), []
    for _ in range(subsets):
        x, y = (features[rng.choice(len(features), m, replace=False)] for features in (real, generated))
        k_xx, k_yy, k_xy = ((a @ b.T / a.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
        within = (k_xx.sum() - np.trace(k_xx) + k_yy.sum() - np.trace(k_yy)) / (m * (m - 1))
        values.append(within - 2 * k_xy.mean())
    return float(np.mean(values)), float(np.std(values))
