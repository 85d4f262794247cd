"""What is done to a batch of training images: strong augmentation, CutMix and mixup.

All random numbers are drawn on the CPU, so that every device sees the same ones. The paper's augmentation is
data.augment.augment_batch.
"""
import math

import torch
from torch import Tensor
from torch.nn import functional as F

MIN_CROP_AREA = 0.4  # of the image
MOST_CROP_RATIO = 4 / 3  # of width to height, or of height to width
MOST_DEGREES = 10.0  # of a rotation, beside quarter turns
MOST_BRIGHTER = 0.15  # of the range from black to white, or as much darker
MOST_CONTRAST = 1.4  # times as much, or as little
MOST_GAMMA = 1.4  # or its inverse
MOST_NOISE = 0.05  # standard deviation, of the range from black to white
CUTOUT_SIDES = (0.1, 0.4)  # of the image's
BINOMIAL = (0.25, 0.5, 0.25)  # weights of the blur along an axis
MIXED_SHARE = 0.5  # of the batches, with CutMix or mixup


# ---- strong augmentation ----------------------------------------------------------------------------------------


def augment_strong(x: Tensor, generator: torch.Generator, upright: bool = False) -> Tensor:
    """Images x (B, 3, H, W) in [0, 1] -> others of the same shape and range. `upright`: without quarter turns."""
    x = change_view(x, generator, upright)
    x = change_light(x, generator)
    x = add_noise(blur(x, generator), generator).clamp(0, 1)
    return cut_out(x, generator)


def uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """n random numbers between low and high."""
    return torch.rand(n, generator=generator) * (high - low) + low


def factor(n: int, most: float, generator: torch.Generator) -> Tensor:
    """n random factors between 1 / most and most, uniform in their logarithm."""
    return uniform(n, -math.log(most), math.log(most), generator).exp()


def sometimes(n: int, most: float, generator: torch.Generator) -> Tensor:
    """n random amounts: 0 for half of them, the others between 0 and most."""
    return uniform(n, -most, most, generator).clamp(min=0)


def per_image(values: Tensor, x: Tensor) -> Tensor:
    """Numbers (B,) in a shape that multiplies the images x (B, 3, H, W)."""
    return values.to(x).view(-1, 1, 1, 1)


def change_view(x: Tensor, generator: torch.Generator, upright: bool) -> Tensor:
    """A random crop of random area and ratio, resized to the image; mirrored, rotated, and turned by 90 degrees."""
    n = len(x)
    area, ratio = uniform(n, MIN_CROP_AREA, 1, generator), factor(n, MOST_CROP_RATIO, generator)
    size = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], dim=1).clamp(max=1)  # (B, 2): width, height
    centre = (torch.rand(n, 2, generator=generator) * 2 - 1) * (1 - size)
    mirror = torch.randint(0, 2, (n, 2), generator=generator) * 2.0 - 1
    turns = torch.randint(0, 4, (n,), generator=generator) * (0 if upright else 1)
    angle = uniform(n, -MOST_DEGREES, MOST_DEGREES, generator) * math.pi / 180 + turns * math.pi / 2
    rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).view(n, 2, 2)
    to_source = torch.cat([size[:, :, None] * rotation * mirror[:, None], centre[:, :, None]], dim=2)  # (B, 2, 3)
    grid = F.affine_grid(to_source.to(x), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def change_light(x: Tensor, generator: torch.Generator) -> Tensor:
    """Another gamma, contrast and brightness."""
    gamma, contrast = (per_image(factor(len(x), most, generator), x) for most in (MOST_GAMMA, MOST_CONTRAST))
    brighter = per_image(uniform(len(x), -MOST_BRIGHTER, MOST_BRIGHTER, generator), x)
    x = x.clamp(0, 1) ** gamma
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return ((x - mean) * contrast + mean + brighter).clamp(0, 1)


def blur(x: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the images go part of the way to their binomial blur."""
    weights = torch.tensor(BINOMIAL).to(x)
    kernel = weights.outer(weights).expand(x.shape[1], 1, -1, -1)
    blurred = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), kernel, groups=x.shape[1])
    return x + per_image(sometimes(len(x), 1, generator), x) * (blurred - x)


def add_noise(x: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the images get gray noise."""
    noise = torch.randn(len(x), 1, *x.shape[2:], generator=generator).to(x)
    return x + per_image(sometimes(len(x), MOST_NOISE, generator), x) * noise


def cut_out(x: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the images lose a square: it gets the image's mean."""
    n, (height, width) = len(x), x.shape[2:]
    side = uniform(n, *CUTOUT_SIDES, generator) * torch.randint(0, 2, (n,), generator=generator)
    row, column = (per_image(torch.rand(n, generator=generator), x) for _ in range(2))
    half = per_image(side / 2, x)
    rows, columns = ((torch.arange(m).to(x) + 0.5) / m for m in (height, width))
    inside = ((rows[:, None] - row).abs() < half) & ((columns[None] - column).abs() < half)
    return torch.where(inside, x.mean(dim=(1, 2, 3), keepdim=True), x)


# ---- CutMix and mixup -------------------------------------------------------------------------------------------


def partners(n: int, generator: torch.Generator) -> Tensor:
    """For each of n images, the one that it is mixed with."""
    return torch.randperm(n, generator=generator)


def mix_images(x: Tensor, partner: Tensor, kind: str, generator: torch.Generator) -> tuple[Tensor, float]:
    """(images x (B, 3, H, W) mixed with their partners, the share lambda that the first of each pair keeps).

    kind  "mixup": lambda x + (1 - lambda) x' (Zhang et al. 2018). "cutmix": a box of x' is laid into x (Yun et al.
          2019). "both": one of them at random. lambda is uniform in [0, 1], Beta(1, 1), once for the batch
    """
    share, first = torch.rand(2, generator=generator).tolist()
    if kind == "mixup" or (kind == "both" and first < 0.5):
        return share * x + (1 - share) * x[partner], share
    height, width = x.shape[2:]
    top, left = (torch.rand(2, generator=generator) * torch.tensor([height, width])).tolist()
    half = math.sqrt(1 - share) / 2
    y1, y2 = (min(max(round(top + sign * half * height), 0), height) for sign in (-1, 1))
    x1, x2 = (min(max(round(left + sign * half * width), 0), width) for sign in (-1, 1))
    mixed = x.clone()
    mixed[:, :, y1:y2, x1:x2] = x[partner][:, :, y1:y2, x1:x2]
    return mixed, 1 - (y2 - y1) * (x2 - x1) / (height * width)
