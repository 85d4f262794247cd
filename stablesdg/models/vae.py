"""The autoencoder between pixels and latents: E and D of Rombach et al. 2022, sec. 3.1.

Attribute names spell the keys of the official files; arguments are named as in vae/config.json, with Stable
Diffusion v1.5 as defaults.
"""
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import Attention
from .blocks import Downsample, Level, Levels, ResnetBlock, Upsample

EPS = 1e-6  # every GroupNorm of the VAE; the UNet's residual blocks use 1e-5
LOGVAR_RANGE = (-30.0, 20.0)
SCALING_FACTOR = 0.18215  # 1 / standard deviation of SD v1's latents; multiplies them before the UNet sees them


class Posterior(NamedTuple):
    """N(mean, exp(logvar)): the encoder's distribution of an image's unscaled latent. Both (.., C, h, w)."""
    mean: Tensor
    logvar: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """A draw: mean + exp(logvar / 2) * noise, for standard normal noise of the same shape."""
        return self.mean + torch.exp(0.5 * self.logvar) * noise


class SpatialAttention(Attention):
    """Self-attention over the positions of a feature map, with one head over all channels."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__(channels, heads=1, bias=True)
        self.group_norm = nn.GroupNorm(groups, channels, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        h = super().forward(self.group_norm(x).flatten(2).transpose(1, 2))  # (B, H * W, C)
        return x + h.transpose(1, 2).reshape(x.shape)


def run_level(level: Level, x: Tensor) -> Tensor:
    """Run the residual blocks of a level, with any attention after the first one, then its resampler."""
    x = level.resnets[0](x)
    for module in [*level.attentions, *level.resnets[1:], *level.downsamplers, *level.upsamplers]:
        x = module(x)
    return x


def middle(width: int, groups: int, attention: bool) -> Level:
    """Two residual blocks at the coarsest resolution, with or without attention between them."""
    resnets = [ResnetBlock(width, width, groups, EPS) for _ in range(2)]
    return Level(resnets, [SpatialAttention(width, groups)] if attention else [])


class Encoder(nn.Module):
    """E: an image to mean and log-variance, before quant_conv."""

    def __init__(self, in_channels: int, latent_channels: int, widths: Sequence[int], layers: int, groups: int,
                 attention: bool) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.down_blocks = Levels()
        c = widths[0]
        for i, width in enumerate(widths):
            resnets = [ResnetBlock(c if j == 0 else width, width, groups, EPS) for j in range(layers)]
            halve = Downsample(width, pad_right_bottom=True) if i < len(widths) - 1 else None
            self.down_blocks.append(Level(resnets, downsampler=halve))
            c = width
        self.mid_block = middle(c, groups, attention)
        self.conv_norm_out = nn.GroupNorm(groups, c, eps=EPS)
        self.conv_out = nn.Conv2d(c, 2 * latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 2 C, H / factor, W / factor)."""
        x = self.conv_in(x)
        for level in self.down_blocks:
            x = run_level(level, x)
        return self.conv_out(F.silu(self.conv_norm_out(run_level(self.mid_block, x))))


class Decoder(nn.Module):
    """D: a latent, after post_quant_conv, to an image."""

    def __init__(self, out_channels: int, latent_channels: int, widths: Sequence[int], layers: int, groups: int,
                 attention: bool) -> None:
        super().__init__()
        c = widths[-1]
        self.conv_in = nn.Conv2d(latent_channels, c, 3, padding=1)
        self.mid_block = middle(c, groups, attention)
        self.up_blocks = Levels()
        for i, width in enumerate(reversed(widths)):
            resnets = [ResnetBlock(c if j == 0 else width, width, groups, EPS) for j in range(layers + 1)]
            double = Upsample(width) if i < len(widths) - 1 else None
            self.up_blocks.append(Level(resnets, upsampler=double))
            c = width
        self.conv_norm_out = nn.GroupNorm(groups, c, eps=EPS)
        self.conv_out = nn.Conv2d(c, out_channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 3, h * factor, w * factor)."""
        z = run_level(self.mid_block, self.conv_in(z))
        for level in self.up_blocks:
            z = run_level(level, z)
        return self.conv_out(F.silu(self.conv_norm_out(z)))


class VAE(nn.Module):
    """The autoencoder. `factor` is the number of pixels per latent position along each axis, 8 in SD v1.5."""

    def __init__(self, in_channels: int = 3, out_channels: int = 3, latent_channels: int = 4,
                 block_out_channels: Sequence[int] = (128, 256, 512, 512), layers_per_block: int = 2,
                 norm_num_groups: int = 32, scaling_factor: float = SCALING_FACTOR,
                 mid_block_add_attention: bool = True) -> None:
        super().__init__()
        sizes = (latent_channels, block_out_channels, layers_per_block, norm_num_groups, mid_block_add_attention)
        self.encoder = Encoder(in_channels, *sizes)
        self.decoder = Decoder(out_channels, *sizes)
        self.quant_conv = nn.Conv2d(2 * latent_channels, 2 * latent_channels, 1)
        self.post_quant_conv = nn.Conv2d(latent_channels, latent_channels, 1)
        self.scaling_factor = scaling_factor
        self.factor = 2 ** (len(block_out_channels) - 1)

    def encode(self, x: Tensor) -> Posterior:
        """x (B, 3, H, W) in [-1, 1], H and W multiples of `factor` -> posterior of the unscaled latent (B, C, h, w)."""
        mean, logvar = self.quant_conv(self.encoder(x)).chunk(2, dim=1)
        return Posterior(mean, logvar.clamp(*LOGVAR_RANGE))

    def decode(self, z: Tensor) -> Tensor:
        """z (B, C, h, w), unscaled (divide the UNet's latents by `scaling_factor`) -> x (B, 3, H, W), about [-1, 1]."""
        return self.decoder(self.post_quant_conv(z))
