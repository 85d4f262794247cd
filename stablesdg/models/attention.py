"""Softmax attention with h heads (Vaswani et al. 2017, eq. 1), shared by the UNet and the VAE."""
import torch
from torch import Tensor, nn
from torch.nn import functional as F

MOST_SCORES = 2**27  # so many scores Q K^T, B h N M, are held in memory at most
FEW_SCORES = 2**19  # N M: below, a processor's gradient of attention is up to four times as fast in float32


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """softmax(Q K^T / sqrt(d)) V, computed in `heads` slices of width d = C / heads.

    q (B, N, C), k and v (B, M, C) -> (B, N, C).
    """
    B, N, C = q.shape
    q, k, v = (x.view(B, -1, heads, C // heads).transpose(1, 2) for x in (q, k, v))  # (B, h, N or M, d)
    if q.device.type == "mps" and (n_scores := B * heads * N * k.shape[2]) > MOST_SCORES:
        out = attend_in_parts(q, k, v, max(1, N * MOST_SCORES // n_scores))
    elif q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.requires_grad and N * k.shape[2] < FEW_SCORES:
        with torch.autocast("cpu", enabled=False):  # which would cast to bfloat16 again
            out = F.scaled_dot_product_attention(q.float(), k.float(), v.float()).to(q.dtype)
    else:
        out = F.scaled_dot_product_attention(q, k, v)
    return out.transpose(1, 2).reshape(B, N, C)


def attend_in_parts(q: Tensor, k: Tensor, v: Tensor, n: int) -> Tensor:
    """The same for n queries at a time. Apple GPUs hold all scores at once, and fail from 2^31 of them on."""
    return torch.cat([F.scaled_dot_product_attention(part, k, v) for part in q.split(n, dim=2)], dim=2)


class Attention(nn.Module):
    """Attention with learned projections: cross-attention to a context, or self-attention without one."""

    def __init__(self, channels: int, heads: int, context_channels: int | None = None, bias: bool = False) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels do not divide into {heads} heads")
        context_channels = context_channels or channels
        self.heads = heads
        self.to_q = nn.Linear(channels, channels, bias=bias)
        self.to_k = nn.Linear(context_channels, channels, bias=bias)
        self.to_v = nn.Linear(context_channels, channels, bias=bias)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])  # a list, because the files say to_out.0

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """x (B, N, C), context (B, M, context_channels) -> (B, N, C)."""
        context = x if context is None else context
        return self.to_out[0](attention(self.to_q(x), self.to_k(context), self.to_v(context), self.heads))
