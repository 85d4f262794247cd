"""Classic augmentation: a small rotation, and mirroring on both axes.

The paper trains its classifiers with it (section IV-A). Here it has two uses, and each has its own border:

    augment_batch   inside a training loop, new for each step. What lies beyond the border becomes 0, the mean gray
    augment         images to look at and to keep. The border is reflected first, so that no corner is dark

The two also draw their random numbers in another order, and round another way. Results that were published with either
depend on it, so neither is written in terms of the other.
"""
import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.functional import InterpolationMode, pad, rotate

MOST_DEGREES = 10.0  # of a rotation, to either side


def augment(x: Tensor, seed: int) -> Tensor:
    """Rotate and mirror one image x (3, H, W). The same seed gives the same image."""
    generator = torch.Generator().manual_seed(seed)
    degrees = float(torch.rand((), generator=generator)) * 2 * MOST_DEGREES - MOST_DEGREES
    mirrored = [axis for axis in (1, 2) if torch.rand((), generator=generator) < 0.5]
    height, width = x.shape[1:]
    margin = rotation_margin(height, width)
    x = rotate(reflect(x, margin), degrees, InterpolationMode.BILINEAR)
    return x[:, margin:margin + height, margin:margin + width].flip(mirrored)


def rotation_margin(height: int, width: int) -> int:
    """Pixels beyond the border that the largest rotation brings into an image.

    A sixth of the shorter side is enough up to a ratio of the sides of about 2:1, and images of that kind keep their
    bytes. For longer ones, a corner at (L / 2, S / 2) turns out of the image by L / 2 sin a - S / 2 (1 - cos a).
    """
    longer, shorter, angle = max(height, width), min(height, width), math.radians(MOST_DEGREES)
    margin = shorter // 6
    if longer == shorter:
        return margin
    return max(margin, math.ceil(longer / 2 * math.sin(angle) - shorter / 2 * (1 - math.cos(angle))) + 1)


def reflect(x: Tensor, margin: int) -> Tensor:
    """Reflect x (3, H, W) beyond its border, as often as it takes: once reaches as far as the image is wide."""
    while margin > 0:
        step = min(margin, min(x.shape[1:]) - 1)
        if step == 0:  # one row of pixels has nothing to reflect
            return pad(x, [margin], padding_mode="edge")
        x, margin = pad(x, [step], padding_mode="reflect"), margin - step
    return x


def augment_batch(x: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate and mirror each image of x (B, 3, H, W) on its own. `generator` is on the CPU."""
    mirror = torch.randint(0, 2, (len(x), 2), generator=generator) * 2.0 - 1  # (B, 2): -1 or 1 for x and y
    angle = (torch.rand(len(x), generator=generator) * 2 - 1) * math.radians(MOST_DEGREES)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(len(x))
    to_source = torch.stack([torch.stack([cos * mirror[:, 0], -sin * mirror[:, 1], zero], dim=1),
                             torch.stack([sin * mirror[:, 0], cos * mirror[:, 1], zero], dim=1)], dim=1)  # (B, 2, 3)
    grid = F.affine_grid(to_source.to(x), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)
