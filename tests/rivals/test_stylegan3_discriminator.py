"""StyleGAN2's discriminator and R1: direct computations."""
import math

import numpy as np
import pytest
import torch
from scipy import signal
from torch import nn

from stablesdg.rivals.stylegan2_discriminator import (
    Discriminator,
    EqualConv,
    EqualLinear,
    leaky_relu,
    minibatch_std,
    r1_penalty,
)


@pytest.mark.parametrize("lr", [1.0, 0.01])
def test_equalised_layers_scale_weights_of_variance_1_in_each_call(lr):
    torch.manual_seed(0)
    layer, x = EqualLinear(400, 300, bias=0.5, lr=lr), torch.randn(64, 400)
    assert layer.weight.std().item() * lr == pytest.approx(1, abs=0.01)
    torch.testing.assert_close(layer(x), x @ layer.weight.T * lr / 20 + 0.5)
    assert (layer(x) - 0.5).std().item() == pytest.approx(1, abs=0.03)
    conv = EqualConv(16, 8, 3)
    torch.testing.assert_close(conv(torch.ones(1, 16, 5, 5))[0, :, 2, 2], conv.weight.sum((1, 2, 3)) / math.sqrt(144))


@pytest.mark.parametrize("kernel", [1, 3])
def test_halving_filters_before_it_drops_samples(kernel):
    torch.manual_seed(0)
    layer = EqualConv(2, 1, kernel, halve=True).double()
    x = np.random.default_rng(0).normal(size=(2, 8, 8))
    low = np.outer(*[np.array([1, 3, 3, 1]) / 8] * 2)
    weight = layer.weight.detach().numpy()[0] / math.sqrt(2 * kernel ** 2)
    padded = np.pad(x, ((0, 0), *[(1 + kernel // 2,) * 2] * 2))
    expected = sum(signal.correlate2d(signal.correlate2d(plane, low, "valid"), w, "valid")
                   for plane, w in zip(padded, weight))[::2, ::2]
    ours = layer(torch.from_numpy(x)[None])[0, 0].detach().numpy()
    assert ours.shape == (4, 4)
    np.testing.assert_allclose(ours, expected, atol=1e-12)


@pytest.mark.parametrize("B, group", [(8, 4), (4, 4), (6, 6), (1, 1)])
def test_minibatch_standard_deviation_is_that_of_a_loop(B, group):
    x = torch.randn(B, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    out = minibatch_std(x)
    assert out.shape == (B, 4, 2, 2) and torch.equal(out[:, :3], x)
    for i in range(B):
        members = [x[j] for j in range(B) if j % (B // group) == i % (B // group)]
        deviations = [math.sqrt(np.var([float(m[c, r, q]) for m in members]) + 1e-8)
                      for c in range(3) for r in range(2) for q in range(2)]
        np.testing.assert_allclose(out[i, 3].numpy(), np.mean(deviations), rtol=1e-12)


def test_r1_is_the_squared_slope_and_its_gradient_that_of_differences():
    torch.manual_seed(0)
    toy = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 1), nn.Flatten(0)).double()
    x = torch.randn(3, 3, 2, 2, dtype=torch.float64)
    W, b, v = toy[1].weight, toy[1].bias, toy[3].weight[0]
    with torch.no_grad():
        slope = (v * (1 - torch.tanh(x.flatten(1) @ W.T + b) ** 2)) @ W  # (3, 12)
    penalty = r1_penalty(toy, x)
    torch.testing.assert_close(penalty, slope.square().sum(dim=1))
    gradient, = torch.autograd.grad(penalty.sum(), W)
    step, before = 1e-6, W[2, 4].item()
    sums = []
    for sign in (1, -1):
        W.data[2, 4] = before + sign * step
        sums.append(r1_penalty(toy, x).sum().item())
    W.data[2, 4] = before
    assert gradient[2, 4].item() == pytest.approx((sums[0] - sums[1]) / (2 * step), rel=1e-6)


def test_discriminator_gives_a_logit_an_image_and_all_parameters_learn():
    torch.manual_seed(0)
    D = Discriminator(32, channel_base=256, channel_max=16)
    logits = D(torch.randn(4, 3, 32, 32))
    assert logits.shape == (4,)
    for gradient in torch.autograd.grad(logits.square().sum(), list(D.parameters())):
        assert gradient.abs().max() > 0
    assert [block.conv1.weight.shape[:2] for block in D.blocks] == [(16, 8), (16, 16), (16, 16)]


def test_leaky_relu_keeps_the_second_moment():
    x = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    assert leaky_relu(x).square().mean().item() == pytest.approx(1.04, abs=0.02)  # 2 (1 + 0.2^2) / 2
