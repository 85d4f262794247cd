"""The denoiser eps_theta(z_t, t, context) of Stable Diffusion v1 (Rombach et al. 2022, sec. 3.3).

Attribute names spell the keys of the official files, so that weights load without a mapping. Sizes are
constructor arguments named as in unet/config.json; the defaults are Stable Diffusion v1.5.
"""
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from .attention import Attention
from .blocks import Downsample, GroupNorm, Level, Levels, ResnetBlock, Upsample

EPS_RESNET = 1e-5  # GroupNorm in residual blocks and before the output; LayerNorm too
EPS_TRANSFORMER = 1e-6  # GroupNorm at the entry of a transformer

ATTENTION_DOWN = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
ATTENTION_UP = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3


def timestep_features(t: Tensor, channels: int) -> Tensor:
    """[cos(t f_0) .. cos(t f_n), sin(t f_0) .. sin(t f_n)] with f_i = 10000^(-i / n), n = channels / 2.

    t (B,) -> (B, channels). Always float32: the weights were trained so, and at t = 999 the last digits depend on it.
    """
    half = channels // 2
    f = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32, device=t.device) / half)
    angle = t.float()[:, None] * f[None]
    return torch.cat([angle.cos(), angle.sin()], dim=1)


class TimestepEmbedding(nn.Module):
    """Two linear layers on the features of a timestep."""

    def __init__(self, channels: int, time_channels: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(channels, time_channels)
        self.linear_2 = nn.Linear(time_channels, time_channels)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels) -> (B, time_channels)."""
        return self.linear_2(F.silu(self.linear_1(features)))


class GEGLU(nn.Module):
    """value * gelu(gate), both linear in x (Shazeer 2020)."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        """(.., channels) -> (.., inner)."""
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """GEGLU, four times as wide, and back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = 4 * channels
        self.net = nn.Sequential(GEGLU(channels, inner), nn.Identity(), nn.Linear(inner, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(.., channels) -> (.., channels)."""
        return self.net(x)


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention to the text, feed-forward. Each has a norm before it and is added back."""

    def __init__(self, channels: int, heads: int, context_channels: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=EPS_RESNET)
        self.attn1 = Attention(channels, heads)
        self.norm2 = nn.LayerNorm(channels, eps=EPS_RESNET)
        self.attn2 = Attention(channels, heads, context_channels)
        self.norm3 = nn.LayerNorm(channels, eps=EPS_RESNET)
        self.ff = FeedForward(channels)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """x (B, N, C), context (B, M, context_channels) -> (B, N, C)."""
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class Transformer(nn.Module):
    """A transformer over the H * W positions of a feature map."""

    def __init__(self, channels: int, heads: int, context_channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=EPS_TRANSFORMER)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(channels, heads, context_channels)])
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """x (B, C, H, W), context (B, M, context_channels) -> (B, C, H, W)."""
        B, C, H, W = x.shape
        h = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)  # (B, H * W, C)
        for block in self.transformer_blocks:
            h = block(h, context)
        h = h.transpose(1, 2).reshape(B, C, H, W)
        return x + self.proj_out(h)


class UNet(nn.Module):
    """eps_theta. `attention_head_dim` is the NUMBER of heads at every level, a misnomer of the official config."""

    def __init__(self, in_channels: int = 4, out_channels: int = 4,
                 block_out_channels: Sequence[int] = (320, 640, 1280, 1280), layers_per_block: int = 2,
                 attention_head_dim: int = 8, cross_attention_dim: int = 768,
                 down_block_types: Sequence[str] = ATTENTION_DOWN, up_block_types: Sequence[str] = ATTENTION_UP,
                 norm_num_groups: int = 32, sample_size: int = 64) -> None:
        super().__init__()
        widths, groups, heads = block_out_channels, norm_num_groups, attention_head_dim
        last = len(widths) - 1
        self.sample_size = sample_size
        self.gradient_checkpointing = False
        time_channels = 4 * widths[0]

        def resnet(c_in: int, c_out: int) -> ResnetBlock:
            return ResnetBlock(c_in, c_out, groups, EPS_RESNET, time_channels)

        def transformers(block_type: str, width: int, count: int) -> list[Transformer]:
            return [Transformer(width, heads, cross_attention_dim, groups) for _ in range(count)
                    if block_type.startswith("CrossAttn")]

        self.time_embedding = TimestepEmbedding(widths[0], time_channels)
        self.conv_in = nn.Conv2d(in_channels, widths[0], 3, padding=1)

        # Channels of what each step of the way down leaves for the way up.
        skips, c = [widths[0]], widths[0]
        self.down_blocks = Levels()
        for i, width in enumerate(widths):
            resnets = [resnet(c if j == 0 else width, width) for j in range(layers_per_block)]
            self.down_blocks.append(Level(resnets, transformers(down_block_types[i], width, layers_per_block),
                                          downsampler=Downsample(width) if i < last else None))
            skips += [width] * (layers_per_block + (i < last))
            c = width

        self.mid_block = Level([resnet(c, c), resnet(c, c)], [Transformer(c, heads, cross_attention_dim, groups)])

        self.up_blocks = Levels()
        for i, width in enumerate(reversed(widths)):
            resnets = [resnet((c if j == 0 else width) + skips.pop(), width) for j in range(layers_per_block + 1)]
            self.up_blocks.append(Level(resnets, transformers(up_block_types[i], width, layers_per_block + 1),
                                        upsampler=Upsample(width) if i < last else None))
            c = width

        self.conv_norm_out = GroupNorm(groups, widths[0], eps=EPS_RESNET)
        self.conv_out = nn.Conv2d(widths[0], out_channels, 3, padding=1)

    def forward(self, z_t: Tensor, t: int | Tensor, context: Tensor) -> Tensor:
        """eps_hat: the noise in z_t, in the shape and dtype of z_t. Computes in the dtype of its weights.

        z_t      (B, C, h, w), any h and w
        t        a number or (B,), in 0 .. 999
        context  (B, M, cross_attention_dim), or (n B, ..) for n estimates of each image: the B estimates with the first
                 context, then those with the next. What comes before the first attention is computed once for all
        """
        B, dtype, out_dtype = len(z_t), self.conv_in.weight.dtype, z_t.dtype
        t = torch.as_tensor(t, device=z_t.device).expand(B)
        time = self.time_embedding(timestep_features(t, self.conv_in.out_channels).to(dtype))
        context = context.to(dtype)

        h = self.conv_in(z_t.to(dtype))
        skips = [h]
        for level in self.down_blocks:
            for resnet, attend in zip(level.resnets, level.attentions or [None] * len(level.resnets)):
                h = self._run(resnet, h, time)
                if attend:
                    h = self._run(attend, h, context)
                skips.append(h)
            for downsample in level.downsamplers:
                h = downsample(h)
                skips.append(h)

        h = self._run(self.mid_block.resnets[0], h, time)
        h = self._run(self.mid_block.attentions[0], h, context)
        h = self._run(self.mid_block.resnets[1], h, time)

        for level in self.up_blocks:
            for resnet, attend in zip(level.resnets, level.attentions or [None] * len(level.resnets)):
                h = self._run(resnet, torch.cat(alike(h, skips.pop()), dim=1), time)
                if attend:
                    h = self._run(attend, h, context)
            for upsample in level.upsamplers:
                h = upsample(h, skips[-1].shape[-2:])  # not always twofold: 25 rows were halved to 13

        return self.conv_out(F.silu(self.conv_norm_out(h))).to(out_dtype)

    def _run(self, module: nn.Module, h: Tensor, condition: Tensor) -> Tensor:
        h, condition = alike(h, condition)
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(module, h, condition, use_reentrant=False)
        return module(h, condition)


def alike(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both, the one with fewer rows repeated until it has as many as the other."""
    n = max(len(a), len(b))
    a, b = (x if len(x) == n else torch.cat([x] * (n // len(x))) for x in (a, b))  # keeps the layout, unlike repeat
    return a, b
