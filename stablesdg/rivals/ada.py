"""Adaptive discriminator augmentation: Karras et al. 2020, "Training Generative Adversarial Networks with Limited
Data".

The discriminator sees real and drawn images through the same random changes, each of which happens with probability p.
So it cannot learn a small set by heart, and the generator does not learn the changes as long as p is below 0.8. p is
adapted: it rises while the discriminator knows the real images too well (section 3).

Taken: pixel blitting, geometric and colour changes, the best set of the paper (section 2, appendix B).
Left out: filtering in bands, noise and cutout, which the paper finds of little use or harmful.
Other than there: p stops at 0.8, which a few hundred images would soon pass. An image that no geometric change met is
not resampled. Beyond the border, images are reflected as often as it takes.
"""
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .stylegan3_filters import downsample, upsample

TARGET = 0.6  # of r_t = E[sign(D(real))]
INTERVAL = 4  # steps between changes of p
MOST_P = 0.8  # above, changes begin to leak into what is drawn (section 2.2)
BLIT_SHIFT, SHIFT = 1 / 8, 1 / 8  # of the side: the longest translation by whole pixels, deviation of the other one
SCALING, BRIGHTNESS, CONTRAST, SATURATION = 0.2, 0.2, 0.5, 1.0  # deviations; of log2, except for the brightness
# The low-pass filter of the symlet with 6 vanishing moments (Daubechies 1992, table 6.3). Its sum is sqrt 2.
SYMLET = (0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466,
          0.787641141030194, 0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578,
          0.0017677118642428036, -0.007800708325034148)
HALF = len(SYMLET) // 2
DELAY = sum((i - HALF + 0.5) * h for i, h in enumerate(SYMLET)) / sum(SYMLET)  # of a signal, as it is not symmetric


class AdaptiveAugmentation(nn.Module):
    """Random changes of images, and p. All that changes is in buffers, so that a checkpoint keeps it.

    rise  images after which p has risen from 0 to 1 while r_t is above its target
    """

    def __init__(self, rise: float) -> None:
        super().__init__()
        self.rise = rise
        self.p: Tensor
        self.r_t: Tensor
        self.seen: Tensor
        self.register_buffer("p", torch.zeros(()))
        self.register_buffer("r_t", torch.zeros(()))
        self.register_buffer("seen", torch.zeros(3))  # since p last changed: sum of signs, images, steps

    def forward(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Change each image of x (B, 3, side, side) in [-1, 1] on its own. `generator` is on the CPU."""
        B, p = len(x), float(self.p)
        x = warp(x, draw_geometry(B, p, x.shape[-1], generator))
        C = draw_colours(B, p, generator).to(x)
        return (C[:, :3, :3] @ x.flatten(2) + C[:, :3, 3:]).reshape(x.shape)

    @torch.no_grad()
    def observe(self, logits: Tensor) -> None:
        """Take note of D(real), (B,), of one step. Every INTERVAL steps p goes up or down by images / rise."""
        self.seen += torch.stack([logits.sign().sum(), logits.new_tensor(len(logits)), logits.new_tensor(1)])
        if self.seen[2] >= INTERVAL:
            self.r_t.copy_(self.seen[0] / self.seen[1])
            self.p.add_((self.r_t - TARGET).sign() * self.seen[1] / self.rise).clamp_(0, MOST_P)
            self.seen.zero_()


# ---- geometry -----------------------------------------------------------------------------------------------------


def draw_geometry(B: int, p: float, side: int, generator: torch.Generator) -> Tensor:
    """How each of B images moves: (B, 3, 3), for points (x, y, 1) with x to the right and y down in [-1, 1]."""
    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, B, generator=generator)

    def sometimes(value: Tensor, otherwise: float, probability: float = p) -> Tensor:
        return torch.where(uniform(0, 1) < probability, value, torch.tensor(otherwise))

    p_rotation = 1 - math.sqrt(1 - p)  # of each of two, so that there is a rotation with probability p
    mirror = sometimes(1 - 2 * uniform(0, 2).floor(), 1.0)
    quarters = sometimes(uniform(0, 4).floor(), 0.0)
    blit = sometimes((uniform(-BLIT_SHIFT, BLIT_SHIFT, 2) * side).round() / side, 0.0)
    larger = sometimes(2 ** (SCALING * torch.randn(B, generator=generator)), 1.0)
    turn = sometimes(uniform(-math.pi, math.pi), 0.0, p_rotation)
    longer = sometimes(2 ** (SCALING * torch.randn(B, generator=generator)), 1.0)
    turn_again = sometimes(uniform(-math.pi, math.pi), 0.0, p_rotation)
    shift = sometimes(SHIFT * torch.randn(2, B, generator=generator), 0.0)
    G = torch.eye(3).expand(B, 3, 3)
    for change in (scaling(mirror, torch.ones(B)), rotation(quarters * (math.pi / 2)), translation(2 * blit),
                   scaling(larger, larger), rotation(turn), scaling(longer, 1 / longer), rotation(turn_again),
                   translation(2 * shift)):
        G = change @ G
    return G


def matrices(B: int, entries: dict[tuple[int, int], Tensor]) -> Tensor:
    """B identity matrices (B, 3, 3) with other entries at some places."""
    M = torch.eye(3).repeat(B, 1, 1)
    for (row, column), value in entries.items():
        M[:, row, column] = value
    return M


def scaling(x: Tensor, y: Tensor) -> Tensor:
    """By x (B,) and y (B,)."""
    return matrices(len(x), {(0, 0): x, (1, 1): y})


def rotation(angle: Tensor) -> Tensor:
    """By an angle (B,) about the middle."""
    return matrices(len(angle), {(0, 0): angle.cos(), (0, 1): -angle.sin(), (1, 0): angle.sin(), (1, 1): angle.cos()})


def translation(t: Tensor) -> Tensor:
    """By t (2, B)."""
    return matrices(t.shape[1], {(0, 2): t[0], (1, 2): t[1]})


def warp(x: Tensor, G: Tensor) -> Tensor:
    """Move each image of x (B, C, side, side) by G (B, 3, 3). It is sampled at twice its rate in between.

    One wavelet filters both ways, so that a movement by whole pixels changes nothing else (appendix B).
    """
    moved = (G != torch.eye(3)).any(dim=2).any(dim=1).nonzero().squeeze(1)
    if len(moved) == 0:
        return x
    side = x.shape[-1]
    numbers = moved.to(x.device)
    taps = torch.tensor(SYMLET).to(x) / math.sqrt(2)
    padded = F.pad(x[numbers], [HALF] * 4, mode="reflect")
    fine = upsample(padded, taps, 2, crop=3 * HALF - 1)  # (B, C, 2 side, 2 side)
    at = (torch.arange(2 * side + 2 * HALF - 2) - HALF + 1.5 - DELAY) / side - 1  # where the filter needs samples
    points = torch.stack([*torch.meshgrid(at, at, indexing="xy"), torch.ones(len(at), len(at))], dim=-1)
    source = points @ torch.linalg.inv(G[moved])[:, None, :2].mT  # (B, n, n, 2)
    fine = F.grid_sample(fine, (source + DELAY / side).to(x), padding_mode="reflection", align_corners=False)
    return x.index_copy(0, numbers, downsample(fine, taps, 2))


# ---- colour -------------------------------------------------------------------------------------------------------


def draw_colours(B: int, p: float, generator: torch.Generator) -> Tensor:
    """How the colours of each of B images change: (B, 3, 4), for (r, g, b, 1) in [-1, 1]."""
    def sometimes(value: Tensor, otherwise: float) -> Tensor:
        drawn = torch.where(torch.rand(B, generator=generator) < p, value, torch.tensor(otherwise))
        return drawn.reshape(B, 1, 1)

    added = sometimes(BRIGHTNESS * torch.randn(B, generator=generator), 0.0)
    contrast = sometimes(2 ** (CONTRAST * torch.randn(B, generator=generator)), 1.0)
    inverted = sometimes((2 * torch.rand(B, generator=generator)).floor(), 0.0)
    hue = sometimes((2 * torch.rand(B, generator=generator) - 1) * math.pi, 0.0)
    saturation = sometimes(2 ** (SATURATION * torch.randn(B, generator=generator)), 1.0)
    identity = torch.eye(3)
    gray = torch.full((3, 3), 1 / 3)  # projects on the axis of equal channels
    colour = identity - gray
    across = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)  # a x v, a: that axis
    luma = identity - 2 * inverted * gray
    turn = identity + (hue.cos() - 1) * colour + hue.sin() * across
    saturate = identity + (saturation - 1) * colour
    linear = contrast * (saturate @ turn @ luma)
    return torch.cat([linear, linear @ added.expand(B, 3, 1)], dim=2)
