"""Diffusion from scratch: shapes, gradients, the loss, seeds, resuming, and whether it can learn four images."""
import dataclasses
from types import SimpleNamespace

import pytest
import torch

from stablesdg.diffusion import alpha_bar_table
from stablesdg.models.stable_diffusion import load_stable_diffusion
from stablesdg.rivals import ddpm
from stablesdg.rivals.common import Learning, Training, fit
from stablesdg.storage.checkpoint import Checkpoint
from stablesdg.train import denoising_loss


def images(side=16, n=4):
    return torch.rand((n, 3, side, side), generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("side, levels", [(16, 2), (64, 4), (100, 4), (128, 5), (256, 6)])
def test_the_unet_goes_down_to_8_positions_or_just_above_and_back(side, levels):
    unet = ddpm.unet_without_text(3, side, 8)
    assert len(unet.down_blocks) == levels
    if side <= 64:
        assert unet(torch.zeros(1, 3, side, side), 5, torch.zeros(1, 1, 1)).shape == (1, 3, side, side)


def test_gradients_reach_every_parameter():
    rival = ddpm.diffusion(images(), width=8)
    torch.nn.init.normal_(rival.networks["unet"].conv_out.weight)
    loss = rival.phases[0].loss([0, 1, 2, 3], torch.Generator().manual_seed(0))
    named = dict(rival.networks.named_parameters())
    for name, gradient in zip(named, torch.autograd.grad(loss, list(named.values()))):
        assert gradient.abs().max() > 0, name


def test_the_loss_is_eq_1_on_the_same_noise():
    rival, generator = ddpm.diffusion(images(), width=8), torch.Generator().manual_seed(7)
    ours = rival.phases[0].loss([2, 0], torch.Generator().manual_seed(7))
    t = torch.randint(0, 1000, (2,), generator=generator)
    eps = torch.randn((2, 3, 16, 16), generator=generator)
    model = SimpleNamespace(unet=rival.networks["unet"], device="cpu",
                            alpha_bar=alpha_bar_table(beta_start=1e-4, beta_end=0.02, schedule="linear"))
    assert torch.equal(ours, denoising_loss(model, images()[[2, 0]], torch.zeros(1, 1, 1), t, eps))


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_an_image_depends_on_its_seed_alone(sampler):
    rival = ddpm.diffusion(images(), width=8, sampler=sampler, steps=4)
    together, alone = rival.draw([3, 4, 5]), rival.draw([4])
    assert together.shape == (3, 3, 16, 16) and together.abs().max() <= 1
    assert (together[1] - alone[0]).abs().max() < 1 / 127.5  # a gray level: the first step enlarges rounding 150 times
    assert not torch.allclose(together[0], together[1], atol=0.1)


def test_a_stopped_training_ends_with_the_same_bytes(tmp_path):
    whole, part = ddpm.diffusion(images(), width=8), ddpm.diffusion(images(), width=8)
    fit(whole, 4, Training(5, 4), Checkpoint(tmp_path / "a" / "c.safetensors", {}))
    stops = iter([False, True])
    checkpoint = Checkpoint(tmp_path / "b" / "c.safetensors", {})
    with pytest.raises(KeyboardInterrupt):
        fit(part, 4, Training(5, 4), checkpoint, lambda: next(stops))
    resumed = ddpm.diffusion(images(), width=8, seed=9)
    fit(resumed, 4, Training(5, 4, resume=True), checkpoint)
    assert all(torch.equal(a, b) for a, b in zip(whole.networks.parameters(), resumed.networks.parameters()))


def test_it_learns_four_images(tmp_path):
    x = torch.tensor([-0.8, -0.3, 0.3, 0.8])[:, None, None, None].expand(4, 3, 8, 8).contiguous()
    rival = ddpm.diffusion(x, width=16, sampler="ddim", steps=20)
    rival = dataclasses.replace(rival, learning={"unet": Learning(2e-3, most_gradient=1.0)})
    before = spread(rival.draw(range(12)), x)
    fit(rival, 4, Training(250, 16), Checkpoint(tmp_path / "c.safetensors", {}))
    assert spread(rival.draw(range(12)), x) < before / 2


def spread(drawn, x):
    """The mean distance of drawn images from the nearest of x."""
    return float((drawn[:, None] - x[None]).abs().mean(dim=(2, 3, 4)).min(dim=1).values.mean())


def test_latents_of_a_frozen_vae_can_be_learned_instead_of_pixels(nano):
    vae = load_stable_diffusion(nano).vae
    rival = ddpm.diffusion(images(32), width=8, steps=3, vae=vae, sampler="ddim")
    assert rival.networks["unet"].conv_in.in_channels == 4 and rival.draw([1]).shape == (1, 3, 32, 32)
    loss = rival.phases[0].loss([0, 1], torch.Generator().manual_seed(0))
    assert 0.5 < float(loss) < 2  # the latents have about unit variance, and nothing is learned yet
    assert not any(p.requires_grad for p in vae.parameters())
