"""The residual discriminator of StyleGAN2, which StyleGAN3 uses unchanged, and its penalty.

Sources: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN" (figure 7c, appendix B); equalised
learning rate and minibatch standard deviation: Karras et al. 2018, "Progressive Growing of GANs", sections 3 and 4.1;
R1: Mescheder et al. 2018.
"""
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .stylegan3_filters import GAIN, SLOPE, downsample

GROUP = 4  # images over which the minibatch standard deviation is taken
LAST_SIDE = 4  # of the feature map that the fully connected layers read
BINOMIAL = (1 / 8, 3 / 8, 3 / 8, 1 / 8)  # the low-pass filter before each halving


class EqualLinear(nn.Module):
    """A fully connected layer with an equalised learning rate: weights of variance 1, scaled in each call.

    Adam's steps do not depend on the gradient's scale. So all layers learn at one relative speed, times `lr`.
    """

    def __init__(self, in_features: int, out_features: int, bias: float = 0.0, lr: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr)
        self.bias = nn.Parameter(torch.full((out_features,), bias / lr))
        self.lr = lr

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_features) -> (B, out_features)"""
        return F.linear(x, self.weight * (self.lr / math.sqrt(self.weight.shape[1])), self.bias * self.lr)


class EqualConv(nn.Module):
    """A convolution with an equalised learning rate. It keeps the size, or halves it after a low-pass filter."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, halve: bool = False,
                 bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.taps: Tensor
        self.register_buffer("taps", torch.tensor(BINOMIAL), persistent=False)
        self.kernel, self.halve = kernel, halve

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H, W), or half of H and W"""
        weight, padding = self.weight / math.sqrt(self.weight[0].numel()), self.kernel // 2
        if not self.halve:
            return F.conv2d(x, weight, self.bias, padding=padding)
        if self.kernel == 1:
            return F.conv2d(downsample(x, self.taps, 2, padding=1), weight, self.bias)
        return F.conv2d(downsample(x, self.taps, 1, padding=padding + 1), weight, self.bias, stride=2)


def leaky_relu(x: Tensor) -> Tensor:
    """With a gain that keeps the variance."""
    return F.leaky_relu(x, SLOPE) * GAIN


def minibatch_std(x: Tensor) -> Tensor:
    """Append a channel: how far images of a group differ, averaged over all features. (B, C, H, W) -> (B, C + 1, H, W)

    Image i is in a group with images i + B / GROUP, i + 2 B / GROUP, ..; a batch that GROUP does not divide is one.
    """
    B, C, H, W = x.shape
    group = GROUP if B % GROUP == 0 else B
    grouped = x.reshape(group, B // group, C, H, W)
    std = (grouped.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))  # (B / group,)
    return torch.cat([x, std.repeat(group).reshape(B, 1, 1, 1).expand(B, 1, H, W)], dim=1)


class Block(nn.Module):
    """Two convolutions beside a shortcut, to half the size."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv0 = EqualConv(in_channels, in_channels, 3)
        self.conv1 = EqualConv(in_channels, out_channels, 3, halve=True)
        self.shortcut = EqualConv(in_channels, out_channels, 1, halve=True, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H / 2, W / 2)"""
        return (self.shortcut(x) + leaky_relu(self.conv1(leaky_relu(self.conv0(x))))) / math.sqrt(2)


class Discriminator(nn.Module):
    """Images of side 8, 16, .. -> a number: the logit of being real."""

    def __init__(self, side: int, channel_base: int = 32768, channel_max: int = 512) -> None:
        super().__init__()
        sides = [side >> k for k in range(int(math.log2(side // LAST_SIDE)) + 1)]  # side, .., 8, 4
        channels = [min(channel_base // s, channel_max) for s in sides]
        self.from_rgb = EqualConv(3, channels[0], 1)
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in zip(channels, channels[1:])))
        self.conv = EqualConv(channels[-1] + 1, channels[-1], 3)
        self.hidden = EqualLinear(channels[-1] * LAST_SIDE ** 2, channels[-1])
        self.out = EqualLinear(channels[-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, side, side) in [-1, 1] -> (B,)"""
        x = self.blocks(leaky_relu(self.from_rgb(x.contiguous(memory_format=torch.channels_last))))
        x = leaky_relu(self.conv(minibatch_std(x)))
        return self.out(leaky_relu(self.hidden(x.flatten(1)))).squeeze(1)


def r1_penalty(discriminator: nn.Module, x: Tensor) -> Tensor:
    """|| d D(x) / d x ||^2 of each image, (B,)."""
    x = x.detach().requires_grad_()
    gradient, = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3))
