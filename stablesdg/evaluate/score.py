"""The score of fid.py: a distance with everything that is needed to read it.

A Frechet distance of a few hundred images is mostly bias: two halves of one real set are tens of points apart. So each
comes with its interval, with the distance of real images from other real ones at the same number, and with measures
that say what kind of difference it is.
"""
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .frechet import Features, Gaussian, frechet_distance, frechet_infinity, gaussian
from .kernel import kernel_distance
from .neighbours import NeighbourScores, neighbour_scores

BOOTSTRAP_RESAMPLES = 100  # a fifth of them where there are more images than features, which takes longer
RANDOM_DRAWS = 10  # of images for a distance at equal numbers
NORMAL_95 = 1.96  # standard deviations on either side hold 95 % of a normal distribution
LEAST_FOR_INFINITY = 64  # generated images: a line through subsets of a quarter of fewer says nothing
LEAST_FOR_KID, LEAST_FOR_NEIGHBOURS = 4, 3  # images


@dataclass(frozen=True)
class EqualNumbers:
    """Distances of n images from n others, means over random draws."""
    n: int
    distance: float  # of generated images from real ones
    floor: float  # of real images from other real ones: what a perfect generator would score
    floor_sd: float


@dataclass(frozen=True)
class Score:
    """All measures of generated against real images. None where there are too few images."""
    fid: float  # the Frechet distance of all against all
    n_real: int
    n_generated: int
    interval: tuple[float, float]
    equal: EqualNumbers | None
    fid_infinity: float | None  # extrapolated to infinitely many generated images; the real ones stay as they are
    kid: tuple[float, float] | None  # mean, standard deviation over subsets
    neighbours: NeighbourScores | None

    def as_json(self) -> dict[str, Any]:
        """For a JSON file: one level, without what is None."""
        values: dict[str, Any] = {"fid": self.fid, "n_real": self.n_real, "n_generated": self.n_generated,
                                  "interval": list(self.interval)}
        if self.equal:
            values |= {"same_n": self.equal.n, "fid_same_n": self.equal.distance, "floor": self.equal.floor,
                       "floor_sd": self.equal.floor_sd}
        if self.fid_infinity is not None:
            values["fid_infinity"] = self.fid_infinity
        if self.kid:
            values["kid"], values["kid_sd"] = self.kid
        if self.neighbours:
            values |= vars(self.neighbours)
        return values


def score(real: Features, generated: Features, seed: int = 0) -> Score:
    """Measure generated features (N, d) against real ones (M, d). `seed` is that of all random draws.

    The interval is fid +- 1.96 standard deviations of a bootstrap of the generated images. A resample repeats images,
    which shifts its distance, but hardly changes its spread.
    """
    rng = np.random.default_rng(seed)
    real, generated = torch.as_tensor(real), torch.as_tensor(generated)
    reference, least = gaussian(real), min(len(real), len(generated))
    fid = frechet_distance(reference, generated)
    spread = NORMAL_95 * bootstrap_sd(reference, generated, rng)
    return Score(
        fid=fid, n_real=len(real), n_generated=len(generated), interval=(max(0.0, fid - spread), fid + spread),
        equal=at_equal_numbers(real, generated, rng),
        fid_infinity=frechet_infinity(real, generated, seed) if len(generated) >= LEAST_FOR_INFINITY else None,
        kid=kernel_distance(real, generated, seed=seed) if least >= LEAST_FOR_KID else None,
        neighbours=neighbour_scores(real, generated) if least >= LEAST_FOR_NEIGHBOURS else None)


def told_apart(a: float, a_sd: float, b: float, b_sd: float) -> bool:
    """Whether two distances with these standard deviations differ by more than chance explains, at the 95 % level."""
    return abs(a - b) > NORMAL_95 * math.hypot(a_sd, b_sd)


def bootstrap_sd(reference: Gaussian, generated: Tensor, rng: np.random.Generator) -> float:
    """Standard deviation of the distance of generated (N, d) from `reference`, over resamples of the generated ones."""
    n, d = generated.shape
    resamples = BOOTSTRAP_RESAMPLES if n < d else BOOTSTRAP_RESAMPLES // 5
    return float(np.std([frechet_distance(reference, generated[rng.integers(0, n, n)]) for _ in range(resamples)]))


def at_equal_numbers(real: Tensor, generated: Tensor, rng: np.random.Generator) -> EqualNumbers | None:
    """Distances at one number of images on both sides, at most half the real ones. None if that is below 2."""
    n = min(len(real) // 2, len(generated))
    if n < 2:
        return None
    distances, floors = [], []
    for _ in range(RANDOM_DRAWS):
        order = torch.from_numpy(rng.permutation(len(real)))
        chosen = torch.from_numpy(rng.permutation(len(generated))[:n])
        distances.append(frechet_distance(real[order[:n]], generated[chosen]))
        floors.append(frechet_distance(real[order[:n]], real[order[n:2 * n]]))
    return EqualNumbers(n, float(np.mean(distances)), float(np.mean(floors)), float(np.std(floors)))


def format_score(result: Score, name: str) -> str:
    """The score for a person, on a few short lines. `name` is that of the distance."""
    low, high = result.interval
    lines = [f"{name} {result.fid:.3f} [{low:.3f}, {high:.3f}] (N real {result.n_real}, "
             f"N generated {result.n_generated})"]
    if equal := result.equal:
        lines.append(f"at N = {equal.n} on both sides {equal.distance:.3f}; real against real "
                     f"{equal.floor:.3f} +- {equal.floor_sd:.3f}, the floor")
    more = []
    if result.fid_infinity is not None:
        more.append(f"extrapolated to infinitely many generated images (the real ones stay {result.n_real}) "
                    f"{result.fid_infinity:.3f}")
    if result.kid:
        more.append(f"KID {result.kid[0]:.5f} +- {result.kid[1]:.5f}")
    if more:
        lines.append("; ".join(more))
    if result.neighbours:
        lines.append(", ".join(f"{key} {value:.3f}" for key, value in vars(result.neighbours).items()))
    return "\n".join(lines)
