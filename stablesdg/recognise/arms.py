"""The arms of the recognition experiment: which images each trains on.

    none         a share of the real training images, drawn anew for each seed
    substitute   these, and a generated image for each real one that the share leaves out
    expand       these, and all generated images
    synthetic    the generated images alone
    steps        control of expand: as many real images again, so that there is nothing new but the optimiser steps.
                 With weights, the hard ones among them more often
    copies       control of expand: the sources' round trips through the VAE
    classic      control of expand: rotated and mirrored real images

With one seed, all arms draw the same real images.
"""
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..data.augment import augment
from ..data.folders import name_of
from ..data.overlap import Progress, no_progress
from ..data.split import Split
from ..data.surfaces import components, find_links, is_a_pattern, same_photograph
from ..storage.errors import UserError
from .batches import draw_by_weight
from .classifiers import load_images

CONTROLS = ("steps", "copies", "classic")
SEED_STRIDE = 1000  # between the random numbers of two seeds
GENERATED_OFFSET = 500  # to those that choose generated images

FilesByClass = Sequence[Sequence[Path]]


@dataclass(frozen=True)
class Arm:
    """What an arm trains on."""
    name: str  # one of those above
    alpha: float = 1.0  # share of the real training images that is used
    per_class: int | None = None  # so many real images a class, instead of that share
    number: int | None = None  # generated images a class, at most; None: all


@dataclass(frozen=True)
class TrainingSet:
    """What an arm trains on with one seed."""
    x: Tensor  # uint8 (N, 3, S, S), or what else training_set loads
    y: Tensor  # classes (N,)
    files: list[Path]  # of each of the N; for classic, the file that was rotated
    added: Tensor  # (N,) which the arm adds to the real ones
    real: list[list[Path]]  # of each class: the real images that the seed draws, whether the arm uses them or not

    @property
    def n_added(self) -> int:
        """How many of the N are not real, or are real and seen again."""
        return int(self.added.sum())

    @property
    def n_real(self) -> int:
        """How many of the N are the others."""
        return len(self.x) - self.n_added


# ---- what a seed draws ------------------------------------------------------------------------------------------


def choose(files: Sequence[Path], n: int, seed: int) -> list[Path]:
    """n of the files, sorted."""
    return sorted(random.Random(seed).sample(list(files), n))


def choose_real(train: FilesByClass, alpha: float, per_class: int | None, seed: int) -> list[list[Path]]:
    """Of each class, the share alpha of its training images, or `per_class` of them. The same for every arm."""
    counts = [min(per_class, len(files)) if per_class else max(1, round(alpha * len(files))) for files in train]
    return [choose(files, n, seed * SEED_STRIDE + k) for k, (files, n) in enumerate(zip(train, counts))]


def choose_generated(arm: Arm, train: FilesByClass, real: FilesByClass, generated: FilesByClass,
                     seed: int) -> list[list[Path]]:
    """Of each class, as many generated images as real ones are left out for substitute, and else arm.number or all."""
    chosen = []
    for k, files in enumerate(generated):
        n = min(len(files), arm.number or len(files))
        if arm.name == "substitute":
            n = len(train[k]) - len(real[k])
        if n > len(files):
            raise UserError(f"Substitution needs {n} generated images of a class, but there are {len(files)} in "
                            f"{files[0].parent}: run sample.py --number {n}.")
        chosen.append(choose(files, n, seed * SEED_STRIDE + GENERATED_OFFSET + k))
    return chosen


def see_again(files: Sequence[Path], number: int, seed: int,
              weights: Mapping[Path, float] | None = None) -> list[Path]:
    """`number` of the files. Each occurs as often as its weight says, rounded up or down. None: all weights are 1.

    Raises UserError if all weights are 0.
    """
    order = random.Random(seed).sample(list(files), len(files))
    if weights is None:
        return [order[i % len(order)] for i in range(number)]
    if not any(weights[file] for file in order):
        raise UserError(f"--hard gives weight 0 to all {len(order)} real images of {files[0].parent.name} that are "
                        "used: give one of them a greater weight, or use more images.")
    generator = torch.Generator().manual_seed(seed)
    return [order[i] for i in draw_by_weight(torch.tensor([weights[file] for file in order]), number, generator)]


def training_set(arm: Arm, train: FilesByClass, generated: FilesByClass, seed: int,
                 load: Callable[[list[Path]], Tensor] = load_images,
                 weights: Mapping[Path, float] | None = None) -> TrainingSet:
    """What an arm trains on with one seed.

    train      the files of the training part, of each class
    generated  the generated files of each class; [] for none. Steps and classic count them only, and add arm.number
               images of each class where there are none
    load       what makes a tensor of files; classic needs images
    weights    of the files of the training part: how often steps shows each again. None: all alike
    """
    real = choose_real(train, arm.alpha, arm.per_class, seed)
    added = choose_generated(arm, train, real, generated, seed)
    counts = [len(files) for files in added] if generated else [arm.number or 0] * len(train)
    if arm.name == "substitute" and not sum(counts):
        raise UserError(f"All {sum(map(len, real))} real images are used, so there is nothing to substitute: lower "
                        "--alpha or --per-class.")
    if arm.name == "steps":
        added = [see_again(files, n, seed, weights) for files, n in zip(real, counts)]
    nothing: list[list[Path]] = [[] for _ in real]
    used, more = nothing if arm.name == "synthetic" else real, nothing if arm.name in ("none", "classic") else added
    x, y = as_tensors([own + new for own, new in zip(used, more)], load)
    files = [file for own, new in zip(used, more) for file in own + new]
    flags = [is_new for own, new in zip(used, more) for is_new in [False] * len(own) + [True] * len(new)]
    if arm.name == "classic":
        more_x, more_y, origin = augmented_copies(x, y, counts, seed)
        x, y = torch.cat([x, more_x]), torch.cat([y, more_y])
        files, flags = files + [files[i] for i in origin], flags + [True] * len(origin)
    return TrainingSet(x, y, files, torch.tensor(flags, dtype=torch.bool), real)


# ---- tensors ----------------------------------------------------------------------------------------------------


def as_tensors(files: FilesByClass, load: Callable[[list[Path]], Tensor] = load_images) -> tuple[Tensor, Tensor]:
    """What `load` makes of the files of all classes, here images uint8 (N, 3, S, S), and their classes (N,)."""
    y = torch.cat([torch.full((len(own),), k) for k, own in enumerate(files)])
    return load([file for own in files for file in own]), y


def augmented_copies(x: Tensor, y: Tensor, counts: Sequence[int], seed: int) -> tuple[Tensor, Tensor, list[int]]:
    """Rotate and mirror images of x, drawn at random: counts[k] of class k.

    Returns (uint8 (M, 3, S, S), classes (M,), which image of x each is made of).
    """
    generator = torch.Generator().manual_seed(seed)
    made, classes, origin = [], [], []
    for k, count in enumerate(counts):
        own = (y == k).nonzero()[:, 0]
        for index in own[torch.randint(0, len(own), (count,), generator=generator)]:
            image = augment(x[index].float() / 127.5 - 1, int(torch.randint(0, 2**31, (), generator=generator)))
            made.append(((image + 1) * 127.5).round().clamp(0, 255).to(torch.uint8))
            classes.append(k)
            origin.append(int(index))
    return torch.stack(made), torch.tensor(classes, dtype=torch.long), origin


# ---- test images ------------------------------------------------------------------------------------------------


def surfaces(test: FilesByClass, split: Split | None, progress: Progress = no_progress) -> list[str]:
    """The surface of each test image, named after one of its images. Chance draws surfaces, and not images.

    A group split knows the surfaces. Under a random split, or without one, test images that overlap are found here.
    """
    names = [{name_of(file): file for file in files} for files in test]
    if split and split["method"] == "group":
        return [split["files"][name]["group"] for files in names for name in files]
    files = {name: file for own in names for name, file in own.items()}
    pairs = {pair for own in names for pair in find_links(own, progress).pairs} | same_photograph(files)
    if len(names) > 1:
        pairs |= find_links(files, progress, across=True).pairs
    if split and is_a_pattern(files, pairs):
        pairs = same_photograph(files)
    group_of = components(files, pairs)
    return [group_of[name] for own in names for name in own]
