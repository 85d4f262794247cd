"""The signals, filters and nonlinearity of StyleGAN3: published numbers, scipy's filters, a direct computation."""
import math

import numpy as np
import pytest
import torch
from scipy import signal, special

from stablesdg.rivals.stylegan3_filters import (
    CRITICAL_LAYERS,
    GAIN,
    SLOPE,
    TAPS,
    FilteredLeakyReLU,
    Signal,
    downsample,
    kaiser_window,
    layer_signals,
    lowpass,
    radial_lowpass,
    upsample,
)

# As NVIDIA's networks name their layers: size and channels of each. (side, config, base) -> layers 0 to 14.
# `base` is that of config T. Those for 256 px have half of it.
PUBLISHED = {
    (256, "T", 16384): "36_512 36_512 36_512 52_512 52_512 84_512 84_512 148_362 148_256 148_181 276_128 276_91 "
                       "276_64 256_64 256_3",
    (256, "T", 32768): "36_512 36_512 36_512 52_512 52_512 84_512 84_512 148_512 148_512 148_362 276_256 276_181 "
                       "276_128 256_128 256_3",
    (1024, "T", 32768): "36_512 36_512 52_512 52_512 84_512 148_512 148_512 276_323 276_203 532_128 1044_81 1044_51 "
                        "1044_32 1024_32 1024_3",
    (256, "R", 16384): "36_1024 36_1024 36_1024 52_1024 52_1024 84_1024 84_1024 148_724 148_512 148_362 276_256 "
                       "276_181 276_128 256_128 256_3",
    (512, "R", 32768): "36_1024 36_1024 52_1024 52_1024 84_1024 84_1024 148_1024 148_967 276_645 276_431 532_287 "
                       "532_192 532_128 512_128 512_3"}
# Of the network for faces at 1024 px, config T, to the digits that it prints: s, f_c, f_h.
FACES = [(16, 2, 6), (16, 3.1748, 4.8252), (32, 5.03968, 10.9603), (32, 8, 8), (64, 12.6992, 19.3008),
         (128, 20.1587, 43.8413), (128, 32, 32), (256, 50.7968, 77.2032), (256, 80.6349, 47.3651), (512, 128, 128),
         (1024, 203.187, 308.813), (1024, 322.54, 189.46), (1024, 512, 118.346), (1024, 512, 118.346),
         (1024, 512, 118.346)]


def signals_of(side, config, base=32768):
    factor = 2 if config == "R" else 1
    return layer_signals(side, channel_base=factor * base, channel_max=factor * 512)


@pytest.mark.parametrize("side, config, base", PUBLISHED)
def test_sizes_and_channels_are_the_published_ones(side, config, base):
    ours = [f"{s.size}_{s.channels}" for s in signals_of(side, config, base)]
    assert ours == PUBLISHED[side, config, base].split()


def test_rates_cutoffs_and_half_widths_for_faces_are_the_published_ones():
    for ours, (rate, cutoff, half_width) in zip(signals_of(1024, "T"), FACES, strict=True):
        assert ours.sampling_rate == rate
        assert ours.cutoff == pytest.approx(cutoff, rel=2e-6)
        assert ours.half_width == pytest.approx(half_width, rel=5e-6)


@pytest.mark.parametrize("config", ["T", "R"])
@pytest.mark.parametrize("side", [64, 128, 256, 512, 1024])
def test_signals_follow_the_formulas(side, config):
    """f_c, f_t geometric from (2, 2^2.1) to (side / 2, side / 2 * 2^0.3); s the power of 2 that holds 2 f_t."""
    i = np.minimum(np.arange(15), 12)
    ratio = np.log([side / 4, side / 2 * 2 ** 0.3 / 2 ** 2.1]) / 12
    f_c, f_t = 2 * np.exp(i * ratio[0]), 2 ** 2.1 * np.exp(i * ratio[1])
    s = np.array([next(2 ** k for k in range(20) if 2 ** k >= min(2 * t * (1 - 1e-12), side)) for t in f_t])
    base, most = (65536, 1024) if config == "R" else (32768, 512)
    ours = signals_of(side, config)
    np.testing.assert_allclose([x.cutoff for x in ours], f_c, rtol=1e-12)
    np.testing.assert_allclose([x.half_width for x in ours], np.where(f_t > s / 2, f_t, s / 2) - f_c, rtol=1e-9)
    assert [x.sampling_rate for x in ours] == s.tolist()
    assert [x.size for x in ours] == [*(s[:13] + 20), side, side]
    assert [x.channels for x in ours] == [*(min(round(base / 2 / f), most) for f in f_c[:14]), 3]


@pytest.mark.parametrize("taps, cutoff, half_width, rate", [(12, 2.0, 6.0, 32.0), (24, 12.7, 19.3, 256.0),
                                                            (12, 512.0, 118.3, 2048.0), (12, 3.0, 0.4, 32.0)])
def test_lowpass_is_scipys_kaiser_filter(taps, cutoff, half_width, rate):
    expected = signal.firwin(taps, cutoff, width=2 * half_width, fs=rate)
    np.testing.assert_allclose(lowpass(taps, cutoff, half_width, rate).numpy(), expected, rtol=0, atol=1e-12)


def test_kaisers_window_is_scipys_for_strong_and_weak_attenuation():
    for half_width in (0.5, 2.0, 7.0):
        beta = signal.kaiser_beta(signal.kaiser_atten(12, 2 * half_width / 16))
        np.testing.assert_allclose(kaiser_window(12, half_width, 32), np.kaiser(12, beta), atol=1e-12)


def test_radial_filter_is_the_transform_of_a_disk_under_the_window():
    """Each tap is the integral of exp(2 pi i f x) over |f| <= f_c, which is computed here ring by ring."""
    taps, cutoff, half_width, rate = 12, 5.0, 8.0, 64.0
    ours = radial_lowpass(taps, cutoff, half_width, rate).numpy()
    window = kaiser_window(taps, half_width, rate).numpy()
    x = (np.arange(taps) - 5.5) / rate
    rings = (np.arange(4000) + 0.5) / 4000 * cutoff
    r = np.hypot(x[:, None], x[None, :])
    disk = (2 * math.pi * rings * special.j0(2 * math.pi * rings * r[..., None])).sum(-1) * cutoff / 4000
    expected = disk * np.outer(window, window)
    np.testing.assert_allclose(ours, expected / expected.sum(), atol=1e-8)
    np.testing.assert_allclose(ours, ours.T, atol=1e-15)


def zero_stuffed(x, factor):
    """With the samples in the middle of their cells, as far as whole positions allow: the zeros come after them."""
    out = np.zeros(len(x) * factor - factor + 1)
    out[::factor] = x
    return out


def along_both(x, function):
    return np.apply_along_axis(function, 1, np.apply_along_axis(function, 0, x))


def middle(x, length):
    crop = (len(x) - length) // 2
    assert crop >= 0 and (len(x) - length) % 2 == 0
    return x[crop:len(x) - crop, crop:len(x) - crop]


CASES = {"same rate": (Signal(2, 36, 16, 2.0, 6.0), Signal(2, 36, 16, 3.2, 4.8), 38),
         "higher rate": (Signal(2, 36, 16, 3.2, 4.8), Signal(2, 52, 32, 5.0, 11.0), 38),
         "four times the rate": (Signal(2, 36, 16, 3.2, 4.8), Signal(2, 84, 64, 10.0, 22.0), 38),
         "last layer": (Signal(2, 36, 16, 8.0, 1.8), Signal(2, 16, 16, 8.0, 1.8), 38),
         "config R": (Signal(2, 36, 16, 3.2, 4.8), Signal(2, 52, 32, 5.0, 11.0), 36)}


@pytest.mark.parametrize("case", CASES)
def test_filtered_leaky_relu_is_the_direct_computation(case):
    before, after, in_size = CASES[case]
    radial = case == "config R"
    layer = FilteredLeakyReLU(before, after, in_size, radial).double()
    fine = 2 * max(before.sampling_rate, after.sampling_rate)
    up, down = fine // before.sampling_rate, fine // after.sampling_rate
    up_taps = signal.firwin(TAPS * up, before.cutoff, width=2 * before.half_width, fs=fine)
    down_taps = signal.firwin(TAPS * down, after.cutoff, width=2 * after.half_width, fs=fine)
    layer.up_taps = torch.from_numpy(up_taps)  # the layer's own are in float32
    layer.down_taps = torch.from_numpy(down_taps)
    if radial:
        layer.down_taps = radial_lowpass(TAPS * down, after.cutoff, after.half_width, fine)
    x = torch.randn(1, 2, in_size, in_size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours = layer(x)
    assert ours.shape == (1, 2, after.size, after.size)
    for plane, expected_of in zip(ours[0].numpy(), x[0].numpy()):
        finer = along_both(expected_of, lambda row: np.convolve(zero_stuffed(row, up), up * up_taps))
        finer = middle(finer, (after.size - 1) * down + TAPS * down)
        finer = np.where(finer > 0, finer, SLOPE * finer) * GAIN
        if radial:
            smooth = signal.convolve2d(finer, layer.down_taps.numpy(), mode="valid")
        else:
            smooth = along_both(finer, lambda row: np.convolve(row, down_taps, mode="valid"))
        np.testing.assert_allclose(plane, smooth[::down, ::down], rtol=0, atol=1e-12)


def test_a_smooth_signal_is_resampled_at_the_right_places():
    """A wave below the cutoff, sampled in the middles of cells, comes out as the same wave on a grid twice as fine."""
    f, taps = 2.0, lowpass(24, 6.0, 4.0, 64.0)

    def wave(n, rate):
        at = (torch.arange(n, dtype=torch.float64) + 0.5 - n / 2) / rate
        return torch.cos(2 * math.pi * f * (at[:, None] + 0.3 * at[None, :]) + 0.4)[None, None]

    finer = upsample(wave(36, 16), taps, 4, crop=(35 * 4 + 24 - 80) // 2)
    assert (finer - wave(80, 64)).abs().max() < 3e-2
    assert (downsample(wave(80, 64), taps, 2) - wave(29, 32)).abs().max() < 1e-2


def test_layers_know_their_place_in_the_network():
    signals = layer_signals(64, 14)
    assert all(s.cutoff == s.sampling_rate / 2 for s in signals[-CRITICAL_LAYERS - 1:])
    assert all(s.cutoff < s.sampling_rate / 2 for s in signals[:-CRITICAL_LAYERS - 1])
