"""Differentiable augmentation for adversarial training on few images (Zhao et al. 2020, section 3.3 and appendix A).

The discriminator sees real and drawn images through the same random changes, and gradients pass through them to the
generator. So the discriminator cannot learn the real images by heart, and the generator does not learn the changes.
All functions take x (B, 3, H, W) in [-1, 1] and a generator on the CPU.

The paper's policy also changes the saturation of colours. It is left out: most images of defects are gray.
"""
import torch
from torch import Tensor
from torch.nn import functional as F

SHIFT, HOLE = 1 / 8, 1 / 2  # of the side: the longest translation, the side of the square that is cut out


def augment(x: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, contrast, translation, cutout."""
    x = change_contrast(change_brightness(x, generator), generator)
    return cut_out(translate(x, generator), generator)


def change_brightness(x: Tensor, generator: torch.Generator) -> Tensor:
    """Add one number in [-1/2, 1/2] to each image."""
    return x + (uniform(x, generator) - 0.5)


def change_contrast(x: Tensor, generator: torch.Generator) -> Tensor:
    """Multiply the distance from each image's mean by a factor in [1/2, 3/2]."""
    return x + (uniform(x, generator) - 0.5) * (x - x.mean(dim=(1, 2, 3), keepdim=True))


def translate(x: Tensor, generator: torch.Generator) -> Tensor:
    """Move each image by up to an eighth of its side. Mean gray comes in from beyond the border."""
    B, _, H, W = x.shape
    down, right = (int(SHIFT * side + 0.5) for side in (H, W))
    top, left = (torch.randint(0, 2 * most + 1, (B,), generator=generator).tolist() for most in (down, right))
    padded = F.pad(x, (right, right, down, down))
    return torch.stack([image[:, t:t + H, l:l + W] for image, t, l in zip(padded, top, left)])


def cut_out(x: Tensor, generator: torch.Generator) -> Tensor:
    """Make a square of half the side mean gray, anywhere in each image, also in part beyond its border."""
    B, _, H, W = x.shape
    height, width = (int(HOLE * side + 0.5) for side in (H, W))
    top, left = (torch.randint(-(hole // 2), side - hole // 2 + 1, (B,), generator=generator)
                 for hole, side in ((height, H), (width, W)))
    rows, columns = torch.arange(H), torch.arange(W)
    inside_rows = (rows >= top[:, None]) & (rows < top[:, None] + height)  # (B, H)
    inside_columns = (columns >= left[:, None]) & (columns < left[:, None] + width)  # (B, W)
    hole = inside_rows[:, :, None] & inside_columns[:, None, :]
    return x * (~hole)[:, None].to(x)


def uniform(x: Tensor, generator: torch.Generator) -> Tensor:
    """(B, 1, 1, 1) in [0, 1), on the device of x."""
    return torch.rand((len(x), 1, 1, 1), generator=generator).to(x)
