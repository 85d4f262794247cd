"""Image-oriented generation, the paper's Algorithm 1: noise a real defect image in part, then denoise it."""
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .diffusion import SAMPLERS, Estimate, add_noise, guide, noise_source, predict_z_0, timesteps
from .models.stable_diffusion import StableDiffusion
from .models.vae import Posterior

GUIDANCE = 5.0  # w where nothing else is known
CODED_AT_ONCE = 4  # images; the VAE's layers at full size need far more memory than the steps of the UNet


class Step(NamedTuple):
    """One step of denoising, from t to the timestep before it."""
    t: int
    alpha_bar_t: float
    alpha_bar_prev: float


def plan(sd: StableDiffusion, strength: float, steps: int) -> list[Step]:
    """The steps to run, noisiest first. There are none for strength 0."""
    if strength == 0:
        return []
    alpha_bar = sd.alpha_bar.tolist() + [1.0]  # t_prev = -1 finds the last one
    return [Step(t, alpha_bar[t], alpha_bar[t_prev]) for t, t_prev in timesteps(steps, strength, len(sd.alpha_bar))]


@torch.no_grad()
def generate(sd: StableDiffusion, x: Tensor | Posterior, seeds: Sequence[int], prompt: str, *, strength: float = 0.4,
             guidance: float = GUIDANCE, steps: int = 50, sampler: str = "ddim", uncond: str = "adapted",
             from_noise: bool = False, path: Sequence[Step] | None = None) -> Tensor:
    """Algorithm 1: make new images from the images x.

    sd          a StableDiffusion with its adapters loaded
    x           (B, 3, H, W) in [-1, 1], or their posterior as vae.encode gives it
    seeds       B numbers; image i depends on seeds[i] and x[i], and not on its batch or the device, up to rounding
    prompt      y, the same for all
    strength    s: denoising starts at T' = sT; 0 decodes what was encoded
    guidance    w of eq. (2)
    steps       of a full run; s times these are run
    sampler     "paper" is the step of Algorithm 1 with sigma_{i-1} for its sigma_i. "ddim", which needs fewer steps and
                draws no noise on the way, is the default (docs/paper.md says why). "dpm" needs fewer still, and
                "ddpm" draws noise, too
    uncond      the unconditional branch of eq. (2) runs with the adapters ("adapted") or without ("base")
    from_noise  start from noise alone at s = 1, the paper's ablation; only the size of x counts
    path        steps to run instead of those of `strength` and `steps`

    Returns (B, 3, H, W) in [-1, 1]. Raises ValueError for an unknown sampler, or without one seed for each image.
    """
    B, shape = (len(x.mean), x.mean.shape[1:]) if isinstance(x, Posterior) else (len(x), sd.latent_shape(x))
    if len(seeds) != B:
        raise ValueError(f"{len(seeds)} seeds for {B} images")
    if sampler not in SAMPLERS:
        raise ValueError(f"there is no sampler {sampler!r}: there are {', '.join(SAMPLERS)}")
    path = plan(sd, 1.0 if from_noise else strength, steps) if path is None else path
    draw = noise_source(seeds, shape, sd.device, sd.fine_dtype)

    if from_noise:
        z = draw()
    else:
        parts = [x] if isinstance(x, Posterior) else [sd.encode(part) for part in x.split(CODED_AT_ONCE)]
        posterior = Posterior(*map(torch.cat, zip(*parts)))
        z_0 = sd.vae.scaling_factor * posterior.sample(draw())  # E(x)
        z = add_noise(z_0, draw(), path[0].alpha_bar_t) if path else z_0  # z_T'

    context, empty = sd.contexts(prompt, B, uncond)
    before = None
    for t, alpha_bar_t, alpha_bar_prev in path:
        eps_hat = estimate_noise(sd, z, t, context, empty, guidance, uncond)
        now = Estimate(predict_z_0(z, eps_hat, alpha_bar_t), alpha_bar_t)
        z = SAMPLERS[sampler](z, eps_hat, alpha_bar_t, alpha_bar_prev, before, draw)
        before = now
    return torch.cat([sd.decode(part) for part in z.split(CODED_AT_ONCE)]).clamp(-1, 1)  # D(z_0)


def estimate_noise(sd: StableDiffusion, z: Tensor, t: int, context: Tensor, empty: Tensor, w: float,
                   uncond: str) -> Tensor:
    """eps_hat of eq. (2). At w = 1 it is the conditional estimate alone, which costs half as much."""
    step = torch.tensor(t, device=sd.device)  # a tensor, so that a compiled UNet is compiled once
    if w == 1:
        return sd.unet(z, step, context)
    if uncond == "base":
        with sd.without_adapters():
            eps_uncond = sd.unet(z, step, empty)
        return guide(eps_uncond, sd.unet(z, step, context), w)
    eps_uncond, eps_cond = sd.unet(z, step, torch.cat([empty, context])).chunk(2)
    return guide(eps_uncond, eps_cond, w)
