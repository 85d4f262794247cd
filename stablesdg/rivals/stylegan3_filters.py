"""The signals between StyleGAN3's layers, its low-pass filters, and the leaky ReLU between two of them.

Source: Karras et al. 2021, "Alias-Free Generative Adversarial Networks", section 3 and the appendix on filters.

Symbols
    s      sampling rate of a feature map: samples per side of the image
    f_c    cutoff: frequencies below it are kept. In cycles per side of the image, as f_t and f_h
    f_t    stopband: frequencies above it are suppressed
    f_h    half-width of the transition between the two
    n      taps of a filter per sample of the lower of its two rates
    m      factor by which a feature map is made finer before the leaky ReLU
"""
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FIRST_CUTOFF = 2.0  # f_c of the Fourier features
FIRST_STOPBAND = 2 ** 2.1  # f_t of the Fourier features
LAST_STOPBAND_RATIO = 2 ** 0.3  # f_t / f_c of the last layers
CRITICAL_LAYERS = 2  # at the end, with f_c at half the sampling rate
MARGIN = 10  # samples beyond each border of the image
TAPS = 6  # n
LRELU_UPSAMPLING = 2  # m
SLOPE, GAIN = 0.2, math.sqrt(2)  # of the leaky ReLU; the gain keeps the variance


@dataclass(frozen=True)
class Signal:
    """What a layer gives: channels, samples a side with margins (size), s, f_c and f_h."""
    channels: int
    size: int
    sampling_rate: int
    cutoff: float
    half_width: float


def layer_signals(side: int, layers: int = 14, channel_base: int = 32768, channel_max: int = 512,
                  image_channels: int = 3) -> list[Signal]:
    """The signals that layers 0 to `layers` give (the last is toRGB) for an image with `side` pixels a side.

    Cutoffs and stopbands rise geometrically until the first critically sampled layer and stay there (section 3.2).
    """
    result = []
    for i in range(layers + 1):
        progress = min(i / (layers - CRITICAL_LAYERS), 1)
        f_c = FIRST_CUTOFF * (side / 2 / FIRST_CUTOFF) ** progress
        f_t = FIRST_STOPBAND * (side / 2 * LAST_STOPBAND_RATIO / FIRST_STOPBAND) ** progress
        s = 2 ** math.ceil(math.log2(min(2 * f_t, side)))
        has_margin = i < layers - 1
        channels = image_channels if i == layers else round(min(channel_base / 2 / f_c, channel_max))
        result.append(Signal(channels, s + 2 * MARGIN * has_margin, s, f_c, max(f_t, s / 2) - f_c))
    return result


def kaiser_window(taps: int, half_width: float, sampling_rate: float) -> Tensor:
    """Kaiser's window for a transition of 2 * half_width, (taps,) in float64. Its beta follows from the attenuation."""
    attenuation = 2.285 * (taps - 1) * math.pi * (2 * half_width / (sampling_rate / 2)) + 7.95  # in dB
    if attenuation > 50:
        beta = 0.1102 * (attenuation - 8.7)
    else:
        beta = 0.5842 * max(attenuation - 21, 0) ** 0.4 + 0.07886 * max(attenuation - 21, 0)
    return torch.kaiser_window(taps, periodic=False, beta=beta, dtype=torch.float64)


def sample_positions(taps: int, sampling_rate: float) -> Tensor:
    """Where the taps of a filter lie, (taps,) in sides of the image, with 0 in the middle."""
    return (torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2) / sampling_rate


def lowpass(taps: int, cutoff: float, half_width: float, sampling_rate: float) -> Tensor:
    """sinc(2 f_c x) under Kaiser's window, with sum 1. (taps,) in float64; used along one axis after the other."""
    x = sample_positions(taps, sampling_rate)
    h = torch.sinc(2 * cutoff * x) * kaiser_window(taps, half_width, sampling_rate)
    return h / h.sum()


def radial_lowpass(taps: int, cutoff: float, half_width: float, sampling_rate: float) -> Tensor:
    """jinc(2 f_c r) = J_1(2 pi f_c r) / (pi f_c r), the same in all directions. (taps, taps) in float64, with sum 1.

    `taps` must be even: there is none at r = 0. The window is separable, as in the paper.
    """
    x = sample_positions(taps, sampling_rate)
    r = torch.hypot(x[:, None], x[None, :])
    window = kaiser_window(taps, half_width, sampling_rate)
    h = torch.special.bessel_j1(2 * math.pi * cutoff * r) / (math.pi * cutoff * r) * window[:, None] * window[None, :]
    return h / h.sum()


def upsample(x: Tensor, taps: Tensor, factor: int, crop: int) -> Tensor:
    """Put factor - 1 zeros after each sample and filter, along both axes. `crop` samples go at each end.

    x     (B, C, H, W)
    taps  (n,), with sum 1; the gain `factor` makes up for the zeros
    -> (B, C, (H - 1) * factor + n - 2 * crop, ..)
    """
    C = x.shape[1]
    column = (factor * taps).reshape(1, 1, -1, 1).expand(C, 1, -1, 1)
    x = F.conv_transpose2d(x, column, stride=(factor, 1), padding=(crop, 0), groups=C)
    return F.conv_transpose2d(x, column.mT, stride=(1, factor), padding=(0, crop), groups=C)


def downsample(x: Tensor, taps: Tensor, factor: int, padding: int = 0) -> Tensor:
    """Filter x (B, C, H, W) and keep every factor-th sample. taps (n,) for each axis, or (n, n)."""
    C = x.shape[1]
    if taps.ndim == 2:
        return F.conv2d(x, taps.expand(C, 1, -1, -1), stride=factor, padding=padding, groups=C)
    column = taps.reshape(1, 1, -1, 1).expand(C, 1, -1, 1)
    x = F.conv2d(x, column, stride=(factor, 1), padding=(padding, 0), groups=C)
    return F.conv2d(x, column.mT, stride=(1, factor), padding=(0, padding), groups=C)


class FilteredLeakyReLU(nn.Module):
    """A leaky ReLU that adds no aliasing: make finer, apply, remove what the new rate cannot hold (figure 4b).

    before, after  the signals around it: it changes the sampling rate from the one to the other
    in_size        samples a side that come in: the convolution before has widened the signal's
    radial         filter with a jinc on the way down (config R)
    """

    def __init__(self, before: Signal, after: Signal, in_size: int, radial: bool) -> None:
        super().__init__()
        fine = LRELU_UPSAMPLING * max(before.sampling_rate, after.sampling_rate)
        self.up, self.down = fine // before.sampling_rate, fine // after.sampling_rate
        up_taps, down_taps = TAPS * self.up, TAPS * self.down
        low = radial_lowpass if radial else lowpass
        self.up_taps: Tensor
        self.down_taps: Tensor
        self.register_buffer("up_taps", lowpass(up_taps, before.cutoff, before.half_width, fine).float(), False)
        self.register_buffer("down_taps", low(down_taps, after.cutoff, after.half_width, fine).float(), False)
        # All lengths but in_size are even, so that the middle of the image stays in the middle.
        self.crop = ((in_size - 1) * self.up + up_taps - (after.size - 1) * self.down - down_taps) // 2

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, in_size, in_size) -> (B, C, after.size, after.size)"""
        x = upsample(x, self.up_taps, self.up, self.crop)
        return GAIN * downsample(F.leaky_relu(x, SLOPE, inplace=True), self.down_taps, self.down)
