"""The convolutional pieces that the UNet and the VAE are made of."""
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .convolution import Conv2d

WIDE = 40  # positions a channel: where there are more, a processor's gradient of GroupNorm in bfloat16 is slow


class GroupNorm(nn.GroupNorm):
    """nn.GroupNorm, with a quicker gradient of large maps in bfloat16 on a processor."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        C, H, W = x.shape[1:]
        if x.requires_grad and x.device.type == "cpu" and self.weight.dtype == torch.bfloat16 and H * W > WIDE * C:
            return LargeGroupNorm.apply(x, self.weight, self.bias, self.num_groups, self.eps)
        return super().forward(x)


class LargeGroupNorm(torch.autograd.Function):
    """Group norm, whose gradient is taken in PyTorch's own layout: that is two to four times as fast as channels last,
    with what copying takes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        """F.group_norm(x, groups, weight, bias, eps)."""
        B, C, H, W = x.shape
        y, mean, rstd = torch.native_group_norm(x, weight, bias, B, C, H * W, groups, eps)
        ctx.save_for_backward(x, weight, mean, rstd)
        ctx.groups = groups
        return y

    @staticmethod
    def backward(ctx: Any, *dys: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of x, weight and bias, as far as they are wanted."""
        x, weight, mean, rstd = ctx.saved_tensors
        B, C, H, W = x.shape
        dx, dw, db = torch.ops.aten.native_group_norm_backward(
            dys[0].contiguous(), x.contiguous(), mean, rstd, weight, B, C, H * W, ctx.groups, ctx.needs_input_grad[:3])
        return dx.contiguous(memory_format=torch.channels_last), dw, db, None, None


class ResnetBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x))) + time))): the residual block of DDPM (Ho et al. 2020, app. B).

    time_channels  width of the timestep embedding, or None in the VAE, which knows no time
    eps            of the norms: 1e-5 in the UNet, 1e-6 in the VAE, hence without a default
    """

    def __init__(self, in_channels: int, out_channels: int, groups: int, eps: float,
                 time_channels: int | None = None) -> None:
        super().__init__()
        self.norm1 = GroupNorm(groups, in_channels, eps=eps)
        self.conv1 = Conv2d(in_channels, out_channels, 3, padding=1)
        if time_channels:
            self.time_emb_proj = nn.Linear(time_channels, out_channels)
        self.norm2 = GroupNorm(groups, out_channels, eps=eps)
        self.conv2 = Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """x (B, in, H, W), time (B, time_channels) -> (B, out, H, W)."""
        h = self.conv1(F.silu(self.norm1(x)))
        if time is not None:
            h = h + self.time_emb_proj(F.silu(time))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Downsample(nn.Module):
    """Halve height and width with a strided convolution.

    The UNet pads every side by one. The VAE (`pad_right_bottom`) pads the right and the bottom side only.
    If the two are confused, decoded images shift by several pixels.
    """

    def __init__(self, channels: int, pad_right_bottom: bool = False) -> None:
        super().__init__()
        self.pad_right_bottom = pad_right_bottom
        self.conv = Conv2d(channels, channels, 3, stride=2, padding=0 if pad_right_bottom else 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H / 2, W / 2); the UNet rounds odd sizes up, the VAE has even ones."""
        if x.shape[3] == 1 and not self.pad_right_bottom:  # oneDNN leaves gradients of columns that meet padding unset
            return F.conv2d(F.pad(x, (1, 1, 1, 1)), self.conv.weight, self.conv.bias, stride=2)
        return self.conv(F.pad(x, (0, 1, 0, 1)) if self.pad_right_bottom else x)


class Upsample(nn.Module):
    """Enlarge by nearest neighbour, twofold or to `size` (H, W), then convolve."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: Sequence[int] | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C, 2 H, 2 W), or (B, C, *size)."""
        C, H, W = x.shape[1:]
        size = tuple(size or (2 * H, 2 * W))
        if size == (2 * H, 2 * W) and H * W > 4 * C and x.device.type == "cpu":  # where it was measured to be faster
            return self._double(x)
        return self.conv(F.interpolate(x, size=size, mode="nearest"))

    def _double(self, x: Tensor) -> Tensor:
        """Double and convolve at once: of nine pixels under the kernel only four differ after doubling.

        This is a transposed convolution of stride 2. Its 4 x 4 kernel sums the 3 x 3 kernel over windows of 2 x 2.
        """
        kernel = F.pad(self.conv.weight, (1, 1, 1, 1))
        kernel = kernel[:, :, 1:] + kernel[:, :, :-1]
        kernel = kernel[..., 1:] + kernel[..., :-1]
        return F.conv_transpose2d(x, kernel.transpose(0, 1).flip(2, 3), self.conv.bias, stride=2, padding=1)


class Level(nn.Module):
    """The modules of one resolution, under the names that the official files give them."""

    def __init__(self, resnets: Sequence[nn.Module], attentions: Sequence[nn.Module] = (),
                 downsampler: nn.Module | None = None, upsampler: nn.Module | None = None) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        self.attentions = nn.ModuleList(attentions)
        self.downsamplers = nn.ModuleList([downsampler] if downsampler else [])
        self.upsamplers = nn.ModuleList([upsampler] if upsampler else [])


class Levels(nn.ModuleList):
    """A list of levels. It is a ModuleList that tells type checkers what it holds."""

    def __iter__(self) -> Iterator[Level]:
        return super().__iter__()  # pyright: ignore[reportReturnType]
