"""What the training loop sees: every image in every epoch, random windows, timesteps spread over the schedule."""
from types import SimpleNamespace

import pytest
import torch

from stablesdg import train
from stablesdg.diffusion import alpha_bar_table
from stablesdg.models.vae import Posterior
from stablesdg.storage.checkpoint import Checkpoint

SCALE, EXACT = 0.5, -30.0  # of the stub's VAE; a log variance that leaves no noise


def test_each_epoch_is_a_new_permutation_of_all_images():
    n, batch = 10, 4  # batches lie across the end of an epoch
    seen = [i for step in range(15) for i in train.batch_indices(step, batch, n, seed=3)]
    epochs = [seen[k:k + n] for k in range(0, len(seen), n)]
    assert all(sorted(epoch) == list(range(n)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs) == 6
    assert seen[:n] != [i for step in range(3) for i in train.batch_indices(step, batch, n, seed=4)][:n]


def numbered(height, width, first=0):
    """A posterior whose latent at each place is its number, counted row by row."""
    mean = first + torch.arange(height * width, dtype=torch.float32).view(1, height, width)
    return Posterior(mean, torch.full_like(mean, EXACT))


def stub(eps_of=lambda z, t: torch.zeros_like(z)):
    """What draw_batch and fixed_noise_loss ask of a StableDiffusion. `t` of each call of the UNet is kept."""
    times = []

    def unet(z, t, context):
        times.append(t)
        return eps_of(z, t)

    return SimpleNamespace(vae=SimpleNamespace(scaling_factor=SCALE), device=torch.device("cpu"), unet=unet,
                           dtype=torch.float32, alpha_bar=alpha_bar_table(), times=times,
                           text=SimpleNamespace(encode=lambda prompts: torch.zeros(1, 2, 3)))


@pytest.mark.parametrize("crop, side", [(None, (6, 5)), (4, (4, 4)), (9, (6, 5))])
def test_a_batch_holds_scaled_random_windows_of_the_smallest_latent_or_of_the_crop(crop, side):
    posteriors = [numbered(8, 9), numbered(6, 12), numbered(9, 5)]
    corners = set()
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        z_0, eps = train.draw_batch(stub(), posteriors, [0, 1, 2], generator, crop)
        assert z_0.shape == eps.shape == (3, 1, *side)
        for k, (posterior, window) in enumerate(zip(posteriors, z_0 / SCALE)):
            width = posterior.mean.shape[2]
            top, left = divmod(round(float(window[0, 0, 0])), width)
            inside = posterior.mean[:, top:top + side[0], left:left + side[1]]
            assert torch.allclose(window, inside, atol=1e-4)
            corners.add((k, top, left))
    assert len({corner for corner in corners if corner[0] == 0}) > 5  # many windows of the first one


def test_the_held_out_loss_spreads_its_timesteps_evenly_takes_all_images_and_is_the_same_in_each_call(monkeypatch):
    posteriors, sd, drawn, draw = [numbered(4, 4) for _ in range(5)], stub(), [], train.draw_batch

    def note(sd, posteriors, indices, *more):
        drawn.extend(indices)
        return draw(sd, posteriors, indices, *more)

    monkeypatch.setattr(train, "draw_batch", note)
    losses = train.fixed_noise_loss(sd, posteriors, "")
    t = torch.cat(sd.times)
    assert max(drawn.count(k) for k in range(5)) - min(drawn.count(k) for k in range(5)) <= 1
    assert len(losses) == len(t) == train.HELD_OUT_DRAWS
    assert t.diff().tolist() == pytest.approx([1000 / len(t)] * (len(t) - 1), abs=1) and t[0] == 1000 // (2 * len(t))
    assert train.fixed_noise_loss(stub(), posteriors, "") == losses
    assert all(0.2 < loss < 3 for loss in losses)  # eps_hat is 0: the mean square of unit noise


def test_training_images_are_trained_on_and_held_out_ones_measured(tmp_path):
    """With eps_hat = parameter, the loss is (parameter - eps)^2. What it was asked about is told by z_t."""
    parameter = torch.nn.Parameter(torch.zeros(()))
    asked = []

    def eps_of(z, t):
        asked.append((torch.is_grad_enabled(), float(z.abs().max()) > 1000))
        return parameter.expand_as(z)

    near, far = [numbered(4, 4)] * 3, [numbered(4, 4, first=10**6)] * 3
    train.adapt(stub(eps_of), {"p": parameter}, far, near, "", Checkpoint(tmp_path / "c.safetensors", {}),
                iterations=4, batch_size=2, lr=1e-3, seed=0)
    assert {is_far for learns, is_far in asked if learns} == {True}
    assert {is_far for learns, is_far in asked if not learns} == {False}
