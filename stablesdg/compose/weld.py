"""The prior welds a composite: only a region of it is noised and denoised, the rest is put back at each step.

After Lugmayr et al. 2022 (RePaint) and Avrahami et al. 2022 (Blended Latent Diffusion). The latents z_t inside the
region come from the sampler. Those outside are the composite's own at the noise level of the step. Both papers draw
fresh noise for the outside. Here it is the noise of the start, so that deterministic samplers stay deterministic. The
outside is then what DDIM would have there if its estimate were perfect.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from ..diffusion import SAMPLERS, Estimate, add_noise, noise_source, predict_z_0
from ..generation import Step, estimate_noise

if TYPE_CHECKING:
    from ..models.stable_diffusion import StableDiffusion


@torch.no_grad()
def weld(sd: StableDiffusion, x: Tensor, region: Tensor, seeds: Sequence[int], prompt: str, path: Sequence[Step], *,
         guidance: float, sampler: str = "ddim", uncond: str = "adapted") -> Tensor:
    """Redraw a region of the images x, as Algorithm 1 redraws all of an image.

    x       (B, 3, H, W) in [-1, 1]
    region  (B, 1, H, W): 1 where the prior redraws; a latent is redrawn if any of its pixels is
    seeds   B numbers; image i depends on seeds[i], x[i] and region[i] alone
    path    steps to run, from generation.plan

    The other arguments are those of `generate`. Returns (B, 3, H, W), decoded: outside of the region too it has been
    through the VAE. paste.lay_in puts the region into the composite.
    """
    B = len(x)
    draw = noise_source(seeds, sd.latent_shape(x), sd.device, sd.fine_dtype)

    posteriors = [sd.encode(image) for image in x.split(1)]  # the VAE needs far more memory than the UNet
    z_0 = sd.vae.scaling_factor * torch.cat([p.sample(n) for p, n in zip(posteriors, draw().split(1))])  # E(x)
    inside = F.max_pool2d(region.to(z_0), sd.vae.factor)  # (B, 1, h, w)
    eps = draw()
    z = add_noise(z_0, eps, path[0].alpha_bar_t)  # z_T'

    context, empty = sd.contexts(prompt, B, uncond)
    before = None
    for t, alpha_bar_t, alpha_bar_prev in path:
        eps_hat = estimate_noise(sd, z, t, context, empty, guidance, uncond)
        now = Estimate(predict_z_0(z, eps_hat, alpha_bar_t), alpha_bar_t)
        z = SAMPLERS[sampler](z, eps_hat, alpha_bar_t, alpha_bar_prev, before, draw)
        z = inside * z + (1 - inside) * add_noise(z_0, eps, alpha_bar_prev)
        before = now
    return torch.cat([sd.decode(part) for part in z.split(1)]).clamp(-1, 1)  # D(z_0)
