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
    share: float | None = None  # of the added images, in each class if balanced, else in all; None: by their number
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
    """The weights (N,) with which each part (N,) of the images has its share.

    If balanced, all classes share alike, and the parts have their shares within each class. A class, or a whole set,
    that lacks a part leaves its share to the other one.
    """
    weights = torch.zeros(len(y), dtype=torch.float64)
    drawn = torch.stack(list(parts)).any(dim=0)
    groups = [drawn & (y == c) for c in y[drawn].unique()] if balanced else [drawn]
    for group in groups:
        found = [(part & group, share) for part, share in zip(parts, shares) if bool((part & group).any())]
        total = sum(share for _, share in found)
        for images, share in found:
            weights[images] = (share / total if total > 0 else 1.0) / (len(groups) * int(images.sum()))
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
