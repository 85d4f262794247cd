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
    margin = min(height, width) // 6
    x = rotate(pad(x, [margin], padding_mode="reflect"), degrees, InterpolationMode.BILINEAR)
    return x[:, margin:margin + height, margin:margin + width].flip(mirrored)


def augment_batch(x: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate and mirror each image of x (B, 3, H, W) on its own. `generator` is on the CPU."""
    mirror = torch.randint(0, 2, (len(x), 2), generator=generator) * 2.0 - 1  # (B, 2): -1 or 1 for x and y
    angle = (torch.rand(len(x), generator=generator) * 2 - 1) * math.radians(MOST_DEGREES)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(len(x))
    to_source = torch.stack([torch.stack([cos * mirror[:, 0], -sin * mirror[:, 1], zero], dim=1),
                             torch.stack([sin * mirror[:, 0], cos * mirror[:, 1], zero], dim=1)], dim=1)  # (B, 2, 3)
    grid = F.affine_grid(to_source.to(x), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)
