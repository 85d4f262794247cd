"""Adaptive augmentation: identity at p = 0, the wavelet, known movements and colours, and how p moves."""
import math

import numpy as np
import pytest
import torch

from stablesdg.rivals.ada import (
    INTERVAL,
    MOST_P,
    SYMLET,
    AdaptiveAugmentation,
    draw_colours,
    draw_geometry,
    rotation,
    scaling,
    translation,
    warp,
)


def numbers(seed=0):
    return torch.Generator().manual_seed(seed)


def smooth_images(B, side):
    """Sums of slow waves: resampling hardly changes them."""
    at = torch.arange(side) / side
    waves = [torch.sin(2 * math.pi * ((b + 1) * at[None, :] * 0.7 + at[:, None] + 0.1 * b)) for b in range(B)]
    return torch.stack(waves)[:, None].expand(B, 3, side, side).contiguous()


def test_at_p_0_nothing_changes_and_gradients_pass():
    x = torch.randn(3, 3, 20, 20, generator=numbers()).requires_grad_()
    y = AdaptiveAugmentation(1000)(x, numbers())
    assert torch.equal(y, x)
    gradient, = torch.autograd.grad((y * x.detach()).sum(), x)
    assert torch.equal(gradient, x.detach())


def test_gradients_pass_through_all_changes():
    augmentation = AdaptiveAugmentation(1000)
    augmentation.p.fill_(0.8)
    x = torch.rand(8, 3, 16, 16, generator=numbers()).requires_grad_()
    y = augmentation(x, numbers(1))
    assert not torch.equal(y, x) and y.isfinite().all()
    gradient, = torch.autograd.grad(y.square().sum(), x)
    assert (gradient.flatten(1).abs().sum(dim=1) > 0).all()


def test_changes_depend_on_the_generator_alone():
    augmentation = AdaptiveAugmentation(1000)
    augmentation.p.fill_(0.5)
    x = torch.rand(4, 3, 16, 16, generator=numbers())
    assert torch.equal(augmentation(x, numbers(1)), augmentation(x, numbers(1)))
    assert not torch.equal(augmentation(x, numbers(1)), augmentation(x, numbers(2)))


@pytest.mark.parametrize("p", [0.2, 0.8])
def test_p_is_the_share_of_images_that_meet_a_change(p):
    C = draw_colours(4000, p, numbers())
    gray = C[:, :, :3].mean(dim=1).sum(dim=1)  # contrast, times -1 if inverted
    assert (C[:, :, 3] != 0).any(dim=1).float().mean().item() == pytest.approx(p, abs=0.03)  # brightness
    assert (gray < 0).float().mean().item() == pytest.approx(p / 2, abs=0.03)
    G = draw_geometry(4000, p, 64, numbers())
    turned = (G[:, 0, 1].abs() > 1e-3) & (G[:, 0, 0].abs() > 1e-3)  # by other than quarters
    assert turned.float().mean().item() == pytest.approx(p, abs=0.03)


def test_the_wavelet_has_six_vanishing_moments_and_an_orthogonal_family():
    h = np.array(SYMLET)
    assert h.sum() == pytest.approx(math.sqrt(2), abs=1e-12)
    for shift in range(6):
        assert h[2 * shift:] @ h[:12 - 2 * shift] == pytest.approx(float(shift == 0), abs=1e-11)
    for moment in range(6):
        assert ((-1.0) ** np.arange(12) * (np.arange(12) - 5.5) ** moment) @ h == pytest.approx(0, abs=1e-7)


def test_a_movement_by_whole_pixels_is_exact_inside():
    """But for the points of the grid, which are in float32."""
    x = torch.randn(1, 3, 32, 32, dtype=torch.float64, generator=numbers())
    moved = warp(x, translation(torch.tensor([[2 * 3 / 32], [-2 * 2 / 32]])))
    torch.testing.assert_close(moved[:, :, 8:-8, 8:-8], x.roll((-2, 3), (2, 3))[:, :, 8:-8, 8:-8], rtol=0, atol=2e-5)


@pytest.mark.parametrize("change, expected", [
    (scaling(torch.tensor([-1.0]), torch.tensor([1.0])), lambda x: x.flip(3)),
    (rotation(torch.tensor([math.pi / 2])), lambda x: x.rot90(-1, (2, 3))),
    (rotation(torch.tensor([math.pi])), lambda x: x.flip(2, 3))])
def test_mirrors_and_quarter_turns_are_those_of_the_array(change, expected):
    x = smooth_images(1, 32)
    inner = (..., slice(6, -6), slice(6, -6))
    torch.testing.assert_close(warp(x, change)[inner], expected(x)[inner], rtol=0, atol=0.02)


def test_scaling_makes_things_larger():
    x = torch.zeros(1, 3, 32, 32)
    x[:, :, 12:20, 12:20] = 1
    assert warp(x, scaling(torch.tensor([1.5]), torch.tensor([1.0]))).sum().item() == pytest.approx(
        1.5 * x.sum().item(), rel=0.03)


def test_images_that_did_not_move_are_not_resampled():
    x, G = torch.randn(2, 3, 16, 16, generator=numbers()), torch.eye(3).repeat(2, 1, 1)
    G[1, 0, 2] = 0.3
    y = warp(x, G)
    assert torch.equal(y[0], x[0]) and not torch.equal(y[1], x[1])


def test_colour_changes_keep_gray_images_gray_and_turn_hues_about_it():
    C = draw_colours(500, 0.8, numbers())
    gray = C[:, :, :3].sum(dim=2) * 0.3 + C[:, :, 3]
    torch.testing.assert_close(gray, gray[:, :1].expand(-1, 3), rtol=0, atol=1e-5)
    determinants = torch.linalg.det(C[:, :, :3])
    assert (determinants < 0).any() and (determinants > 0).any()


def steps(augmentation, logits, number):
    for _ in range(number):
        augmentation.observe(torch.tensor(logits))
    return float(augmentation.p)


def test_p_rises_while_the_discriminator_is_too_sure_and_falls_when_it_is_not():
    augmentation = AdaptiveAugmentation(rise=160)
    assert steps(augmentation, [1.0, 2.0], INTERVAL - 1) == 0
    assert steps(augmentation, [1.0, 2.0], 1) == pytest.approx(2 * INTERVAL / 160)
    assert steps(augmentation, [1.0, 2.0], 3 * INTERVAL) == pytest.approx(8 * INTERVAL / 160)
    assert augmentation.r_t == 1
    assert steps(augmentation, [1.0, -2.0], INTERVAL) == pytest.approx(6 * INTERVAL / 160)
    assert steps(augmentation, [-1.0, -2.0], 10 * INTERVAL) == 0
    assert steps(augmentation, [1.0, 2.0], 200 * INTERVAL) == pytest.approx(MOST_P)


def test_the_target_is_sixty_percent_net():
    augmentation = AdaptiveAugmentation(rise=1000)
    assert steps(augmentation, [1.0] * 17 + [-1.0] * 3, INTERVAL) > 0  # r_t = 0.7
    assert steps(augmentation, [1.0] * 15 + [-1.0] * 5, INTERVAL) == 0  # r_t = 0.5
