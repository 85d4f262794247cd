"""Who judges what becomes of real images: a probe of their classes, and distances beside those of real from real."""
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TypeVar

import numpy as np
import torch
from jobs import ROOT
from torch import Tensor, nn
from torch.nn import functional as F

from stablesdg.app.paths import split_file
from stablesdg.data.folders import list_categories
from stablesdg.data.images import read_fitted
from stablesdg.data.split import load_split, part_files, surfaces_of
from stablesdg.evaluate.frechet import frechet_distance
from stablesdg.evaluate.imagenet import ImageNetFeatures
from stablesdg.prior.feature_network import load_naming_network
from stablesdg.recognise.probe import fit_probe
from stablesdg.report.thumbnails import evenly

DRAWS = 10  # of halves of real images, for a floor

T = TypeVar("T")


class Judges:
    """Test images of a data set, and the networks that look at what becomes of them: weights/nano's and ImageNet's."""

    def __init__(self, data: Path, number: int, factor: int) -> None:
        folders = list_categories(data)
        split = load_split(split_file(folders[0]), folders)
        train, test = ([part_files(split, folder, part) for folder in folders] for part in ("train", "test"))
        test = [evenly(own, number) for own in test]
        self.networks = (load_naming_network(ROOT / "weights" / "nano" / "features.safetensors"), ImageNetFeatures())
        self.probe = fit_probe(features(self.networks[1], read(train, factor)), labels(train), len(folders),
                               groups=surfaces_of(split, sum(train, [])))
        self.images, self.y = read(test, factor), labels(test)
        self.originals = [features(network, self.images) for network in self.networks]
        sizes, surfaces = list(map(len, test)), [surfaces_of(split, own) for own in test]
        self.floors = [fmean(floors_of(f.split(sizes), number, surfaces)) for f in self.originals]

    def recognised(self, f: Tensor) -> float:
        """The share of images with ImageNet's features f (N, d) that the probe puts into their own class."""
        return float((self.probe.logits(f).argmax(dim=1) == self.y).double().mean())

    def fine(self, made: Sequence[Tensor]) -> float:
        """The amplitude of the finest octave, as a share of the originals'."""
        return float(np.mean([amplitude(m) / amplitude(o) for m, o in zip(made, self.images)]))


# ---- images -----------------------------------------------------------------------------------------------------


def read(files: Sequence[Sequence[Path]], factor: int) -> list[Tensor]:
    """The images (3, H, W) of all classes in [-1, 1]. Their sides are multiples of the factor."""
    return [read_fitted(file, None, factor).x for own in files for file in own]


def labels(images: Sequence[Sequence[object]]) -> Tensor:
    """The class (N,) of each image."""
    return torch.tensor([k for k, own in enumerate(images) for _ in own])


@torch.no_grad()
def features(network: nn.Module, images: Sequence[Tensor]) -> Tensor:
    """Features (N, d) of images (3, H, W) in [-1, 1], one at a time: sizes may differ."""
    return torch.cat([network(x[None] / 2 + 0.5) for x in images]).double()


def amplitude(x: Tensor) -> float:
    """Root mean square of what an image (3, H, W) loses when it is halved and doubled again."""
    low = F.interpolate(F.avg_pool2d(x[None], 2), size=x.shape[1:], mode="bilinear")
    return float((x - low[0]).square().mean().sqrt())


# ---- real against real ------------------------------------------------------------------------------------------


def halves(items: Sequence[T], number: int, seed: int = 0,
           groups: Sequence[str] | None = None) -> tuple[list[T], list[T]]:
    """Two disjoint sets of `number` items, dealt out at random: neighbours may be crops of one strip.

    groups  the surface of each item: at most one surface is in both sets
    """
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(seed)).tolist()
    if groups:
        place = {groups[k]: i for i, k in enumerate(order)}
        order.sort(key=lambda k: place[groups[k]])
    number = min(number, len(items) // 2)
    return [items[i] for i in order[:number]], [items[i] for i in order[number:2 * number]]


def floors_of(pool: Sequence[Tensor], number: int, groups: Sequence[Sequence[str]] | None = None) -> list[float]:
    """The Frechet distances of real from other real images, in several draws.

    pool    features (N, d) of the images of each class. At most `number` of each class are on either side
    groups  the surfaces of these images
    """
    floors = []
    for seed in range(DRAWS):
        parts = [halves(list(own), number, seed, groups[k] if groups else None) for k, own in enumerate(pool)]
        first, second = (torch.stack([f for part in parts for f in part[side]]) for side in (0, 1))
        floors.append(frechet_distance(first, second))
    return floors
