"""Which images a training step sees: how often each is drawn, and in which part of the training.

A training is a row of phases. Within a phase, epoch follows epoch: a pass over the images that the phase draws from, in
random order.
"""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

PRETRAIN_SHARE = 0.5  # of the steps, in pretrain-then-real; the other steps see real images


@dataclass(frozen=True)
class Drawing:
    """How the images of a training are drawn."""
    balanced: bool = False  # each class equally often
    share: float | None = None  # of the added images among all that are drawn; None: by their number
    finish_real: float = 0.0  # this last share of the steps draws no added image
    pretrain: bool = False  # the first PRETRAIN_SHARE of the steps draws added images alone, the others real ones


@dataclass(frozen=True)
class Phase:
    """A number of steps that draw alike."""
    steps: int
    weights: Tensor | None  # (N,) the share of each image among those that are drawn; None: each once in an epoch


def plan_phases(drawing: Drawing, y: Tensor, added: Tensor, steps: int) -> list[Phase]:
    """The phases of a training of so many steps on images of the classes y (N,). `added` (N,): which are not real."""
    real = draw_weights(y, [~added], [1.0], drawing.balanced)
    if drawing.pretrain:
        first = round(PRETRAIN_SHARE * steps)
        return [Phase(first, draw_weights(y, [added], [1.0], drawing.balanced)), Phase(steps - first, real)]
    last = round(drawing.finish_real * steps)
    if drawing.share is not None:
        mixed = draw_weights(y, [~added, added], [1 - drawing.share, drawing.share], drawing.balanced)
    elif drawing.balanced:
        mixed = draw_weights(y, [torch.ones_like(added)], [1.0], balanced=True)
    else:
        mixed = None
    return [Phase(steps - last, mixed), Phase(last, real)]


def draw_weights(y: Tensor, parts: Sequence[Tensor], shares: Sequence[float], balanced: bool) -> Tensor:
    """The weights (N,) with which each part (N,) of the images has its share, and within it each image or class."""
    weights = torch.zeros(len(y), dtype=torch.float64)
    for part, share in zip(parts, shares):
        classes, which, counts = y[part].unique(return_inverse=True, return_counts=True)
        equal = torch.full((int(part.sum()),), 1.0 / max(1, int(part.sum())), dtype=torch.float64)
        weights[part] = share * (1.0 / (len(classes) * counts[which]).double() if balanced else equal)
    return weights


def draw_batches(phases: Sequence[Phase], n: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the indices (B,) of each step's images, of n images in all."""
    for phase in phases:
        batches = draw_forever(phase.weights, n, batch_size, generator)
        for _ in range(phase.steps):
            yield next(batches)


def draw_forever(weights: Tensor | None, n: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield batches, epoch after epoch. A single image left over is skipped: batch normalisation cannot use it."""
    number = n if weights is None else int((weights > 0).sum())  # images in an epoch
    while True:
        order = torch.randperm(number, generator=generator)
        indices = order if weights is None else draw_by_weight(weights, number, generator)[order]
        yield from (batch for batch in indices.split(batch_size) if len(batch) > 1 or number == 1)


def draw_by_weight(weights: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """`number` indices, in which i occurs `number` w_i times, rounded up or down (systematic sampling)."""
    ends = weights.double().cumsum(dim=0)
    points = (torch.arange(number) + torch.rand((), generator=generator, dtype=torch.float64)) / number * ends[-1]
    return torch.searchsorted(ends, points, right=True).clamp(max=int((weights > 0).nonzero().max()))
