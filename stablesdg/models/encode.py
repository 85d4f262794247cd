"""Image files -> posteriors of their latents, E of Rombach et al. 2022."""
from collections.abc import Sequence
from pathlib import Path

import torch

from ..data.images import read_fitted
from .stable_diffusion import StableDiffusion
from .vae import Posterior


@torch.no_grad()
def encode_images(sd: StableDiffusion, files: Sequence[Path], resolution: int | None) -> list[Posterior]:
    """The VAE's posterior of each image, on the CPU, (C, h, w).

    The posterior is kept, never one draw from it: training draws afresh at every step.
    """
    posteriors = []
    for file in files:
        x = read_fitted(file, resolution, sd.vae.factor).x[None].to(sd.device, sd.fine_dtype)
        posteriors.append(Posterior(*(p[0].cpu() for p in sd.vae.encode(x))))
    return posteriors
