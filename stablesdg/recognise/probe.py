"""A linear classifier on the features of a frozen network: the probe. It needs few images and seconds of training.

Logistic regression has one optimum. It does not depend on a seed, on the order of images or on a number of steps.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

PENALTIES = tuple(10.0**k for k in range(1, -5, -1))  # on weights, the strongest first
MIN_STD = 0.1  # of the mean deviation: else a feature that few real images have would outweigh all others
FOLDS = 5  # of cross-validation
MOST_ITERATIONS = 1000
GRADIENT_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Probe:
    """Features x (N, d) -> logits (x - mean) / std W + b."""
    mean: Tensor  # (d,) of the training features
    std: Tensor  # (d,)
    weight: Tensor  # W (d, classes)
    bias: Tensor  # b (classes,)
    penalty: float  # that was chosen

    def logits(self, x: Tensor) -> Tensor:
        """Features (N, d) -> logits (N, classes), float64."""
        return (x.double() - self.mean) / self.std @ self.weight + self.bias

    def probabilities(self, x: Tensor, temperature: float = 1.0) -> Tensor:
        """Features (N, d) -> class probabilities (N, classes). A temperature above 1 makes them softer."""
        return (self.logits(x) / temperature).softmax(dim=1)

    def linear(self) -> tuple[Tensor, Tensor]:
        """(W' (d, classes), b' (classes,)) with logits x W' + b': mean and std are taken into them."""
        weight = self.weight / self.std[:, None]
        return weight, self.bias - self.mean @ weight


def fit_probe(x: Tensor, y: Tensor, classes: int, *, validation: tuple[Tensor, Tensor] | None = None,
              groups: Sequence[str] | None = None, penalties: Sequence[float] = PENALTIES,
              balanced: bool = False) -> Probe:
    """Fit a probe, with the penalty that has the least cross-entropy on images that it was not fitted to.

    x, y        features (N, d) and classes (N,)
    validation  features and classes to choose the penalty by; None chooses it by cross-validation within x
    groups      the surface of each image: images of one surface stay in one fold (default: each image is its own)
    balanced    all classes count alike, and not all images
    """
    mean, std = x.double().mean(dim=0), deviations(x)
    x = (x.double() - mean) / std
    if validation is None and len(penalties) > 1:
        losses = cross_validation_losses(x, y, classes, groups, penalties, balanced)
        penalties = penalties[:int(losses.argmin()) + 1]  # the best one, and those that its fit starts from
    fits = fit(x, y, classes, penalties, balanced)
    best = len(penalties) - 1
    if validation:
        best = int(losses_of(fits, (validation[0].double() - mean) / std, validation[1], balanced).argmin())
    return Probe(mean, std, *fits[best], penalties[best])


def deviations(x: Tensor) -> Tensor:
    """The standard deviation (d,) of each of the features x (N, d), none far below the others."""
    std = x.double().std(dim=0)
    return std.clamp(min=float(MIN_STD * std.mean()))


def cross_entropy(logits: Tensor, y: Tensor, balanced: bool) -> Tensor:
    """The mean over images; if balanced, that over classes of the mean over their images."""
    counts = y.bincount(minlength=logits.shape[1]).clamp(min=1)
    return F.cross_entropy(logits, y, weight=1 / counts.to(logits) if balanced else None)


def losses_of(fits: Sequence[tuple[Tensor, Tensor]], x: Tensor, y: Tensor, balanced: bool) -> Tensor:
    """The cross-entropy (penalties,) of features x (N, d) of the classes y (N,) under each (W, b)."""
    return torch.stack([cross_entropy(x @ weight + bias, y, balanced) for weight, bias in fits])


def cross_validation_losses(x: Tensor, y: Tensor, classes: int, groups: Sequence[str] | None,
                            penalties: Sequence[float], balanced: bool) -> Tensor:
    """The cross-entropy (penalties,) of the images that were left out, mean over all. Surfaces are never cut in two."""
    fold = assign_folds(y.tolist(), groups or [str(i) for i in range(len(y))])
    total = torch.zeros(len(penalties), dtype=torch.float64)
    for k in fold.unique():
        out = fold == k
        total += int(out.sum()) * losses_of(fit(x[~out], y[~out], classes, penalties, balanced), x[out], y[out],
                                            balanced)
    return total / len(y)


def assign_folds(classes: Sequence[int], groups: Sequence[str]) -> Tensor:
    """The fold (N,) of each image. The surfaces of a class go round the folds, so that each fold has all classes."""
    fold_of: dict[str, int] = {}
    dealt: dict[int, int] = {}  # surfaces of each class
    for k, group in zip(classes, groups):
        if group not in fold_of:
            dealt[k] = dealt.get(k, -1) + 1
            fold_of[group] = dealt[k] % FOLDS
    return torch.tensor([fold_of[group] for group in groups])


def fit(x: Tensor, y: Tensor, classes: int, penalties: Sequence[float],
        balanced: bool = False) -> list[tuple[Tensor, Tensor]]:
    """Multinomial logistic regression: (W, b) at the minimum of cross-entropy + penalty / 2 |W|^2 for each penalty.

    Each starts from the one before, so that a falling penalty takes few iterations.
    """
    weight = torch.zeros(x.shape[1], classes, dtype=x.dtype, requires_grad=True)
    bias = torch.zeros(classes, dtype=x.dtype, requires_grad=True)
    fits = []
    for penalty in penalties:
        optimiser = torch.optim.LBFGS([weight, bias], max_iter=MOST_ITERATIONS, tolerance_grad=GRADIENT_TOLERANCE,
                                      tolerance_change=0, line_search_fn="strong_wolfe")

        def loss(optimiser: torch.optim.Optimizer = optimiser, penalty: float = penalty) -> Tensor:
            optimiser.zero_grad()
            value = cross_entropy(x @ weight + bias, y, balanced) + penalty / 2 * weight.square().sum()
            value.backward()
            return value

        optimiser.step(loss)  # type: ignore[arg-type]  # torch's stub wants float
        fits.append((weight.detach().clone(), bias.detach().clone()))
    return fits
