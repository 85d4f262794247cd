"""The diffusion process in latent space, z_t of eq. (1) and eq. (2), as pure functions.

Symbols, after the paper (z_i = alpha_i z_0 + sigma_i eps):

    t               timestep, 0 .. T - 1, larger is noisier; T = 1000
    alpha_bar_t     DDPM's cumulative product; DDIM's paper calls it alpha
    alpha_t         sqrt(alpha_bar_t), the signal's share of z_t
    sigma_t         sqrt(1 - alpha_bar_t), the noise's share of z_t
    z_t             noisy latent, (B, C, h, w)
    eps             noise, shape of z_t; eps_hat is its estimate
    s, w            strength in (0, 1] and guidance scale of image-oriented generation

The timestep before t = 0 is written -1. No noise is left there: alpha_bar = 1.
"""
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

T = 1000
BETA_START, BETA_END = 0.00085, 0.012  # Stable Diffusion v1's scheduler_config.json


def alpha_bar_table(T: int = T, beta_start: float = BETA_START, beta_end: float = BETA_END,
                    schedule: str = "scaled_linear") -> Tensor:
    """alpha_bar_t for t = 0 .. T - 1, float64 (T,). "scaled_linear" is linear in sqrt(beta), "linear" in beta."""
    if schedule == "scaled_linear":
        beta = torch.linspace(beta_start**0.5, beta_end**0.5, T, dtype=torch.float64) ** 2
    elif schedule == "linear":
        beta = torch.linspace(beta_start, beta_end, T, dtype=torch.float64)
    else:
        raise ValueError(f"beta_schedule {schedule!r} is neither scaled_linear nor linear")
    return torch.cumprod(1 - beta, dim=0)


def timesteps(steps: int, strength: float = 1.0, T: int = T) -> list[tuple[int, int]]:
    """[(t, t_prev), ..] from the noisiest to (t, -1), evenly spaced.

    The first t is round(s T) - 1, the paper's T' = sT, for any `steps`. There are round(s * steps) steps, at least 1.
    """
    if not 0 < strength <= 1:
        raise ValueError(f"strength must lie in (0, 1], not {strength}")
    if not 1 <= steps <= T:
        raise ValueError(f"steps must lie in 1 .. {T}, not {steps}")
    top = max(1, round(strength * T))
    count = min(top, max(1, round(strength * steps)))
    grid = [round(top * (count - k) / count) - 1 for k in range(count + 1)]
    return list(zip(grid[:-1], grid[1:]))


def add_noise(z_0: Tensor, eps: Tensor, alpha_bar: float | Tensor) -> Tensor:
    """z_t = alpha_t z_0 + sigma_t eps. `alpha_bar` is a number, or (B,) on the CPU, one for each sample."""
    alpha_bar = torch.as_tensor(alpha_bar, dtype=torch.float64)  # on the CPU: Apple's GPUs have no float64
    if alpha_bar.ndim:
        alpha_bar = alpha_bar.view(-1, 1, 1, 1)
    alpha, sigma = (root.sqrt().to(z_0.dtype).to(z_0.device) for root in (alpha_bar, 1 - alpha_bar))
    return alpha * z_0 + sigma * eps


def guide(eps_uncond: Tensor, eps_cond: Tensor, w: float) -> Tensor:
    """Classifier-free guidance, eq. (2): eps(z, t) + w [eps(z; tau(y), t) - eps(z, t)]. w = 1: see estimate_noise."""
    return eps_uncond + w * (eps_cond - eps_uncond)


def predict_z_0(z_t: Tensor, eps: Tensor, alpha_bar_t: float) -> Tensor:
    """(z_t - sigma_t eps) / alpha_t: the clean latent that the estimated noise implies."""
    return (z_t - (1 - alpha_bar_t) ** 0.5 * eps) / alpha_bar_t**0.5


Noise = Callable[[], Tensor]  # draws another one at each call


def noise_source(seeds: Sequence[int], shape: Sequence[int], device: torch.device | str = "cpu",
                 dtype: torch.dtype = torch.float32) -> Noise:
    """A function that draws Gaussian noise (len(seeds), *shape). Row i depends on seeds[i] alone, not on the device."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return lambda: torch.stack([torch.randn(tuple(shape), generator=g) for g in generators]).to(device, dtype)


# ---- one step of a sampler, z_t -> z_prev -----------------------------------------------------------------------
# All have one signature. `before` is the estimate of the step before, None in the first. noise() draws fresh noise.


class Estimate(NamedTuple):
    """The clean latent that a step implied."""
    z_0: Tensor
    alpha_bar_t: float


Sampler = Callable[[Tensor, Tensor, float, float, Estimate | None, Noise], Tensor]


def ddim_step(z_t: Tensor, eps: Tensor, alpha_bar_t: float, alpha_bar_prev: float, before: Estimate | None = None,
              noise: Noise | None = None) -> Tensor:
    """Deterministic: the estimated noise is added back at the next level (Song et al. 2021, eq. 12 with sigma = 0)."""
    return alpha_bar_prev**0.5 * predict_z_0(z_t, eps, alpha_bar_t) + (1 - alpha_bar_prev) ** 0.5 * eps


def ddpm_step(z_t: Tensor, eps: Tensor, alpha_bar_t: float, alpha_bar_prev: float, before: Estimate | None,
              noise: Noise) -> Tensor:
    """A draw from the posterior q(z_prev | z_t, z_0) (Ho et al. 2020, eq. 6 and 7), for any t_prev < t."""
    alpha = alpha_bar_t / alpha_bar_prev  # 1 - beta of the step, which may span several timesteps
    beta = 1 - alpha
    mean = (alpha_bar_prev**0.5 * beta * predict_z_0(z_t, eps, alpha_bar_t)
            + alpha**0.5 * (1 - alpha_bar_prev) * z_t) / (1 - alpha_bar_t)
    variance = beta * (1 - alpha_bar_prev) / (1 - alpha_bar_t)
    return mean + variance**0.5 * noise()


def paper_step(z_t: Tensor, eps: Tensor, alpha_bar_t: float, alpha_bar_prev: float, before: Estimate | None,
               noise: Noise) -> Tensor:
    """Algorithm 1: alpha_{i-1} (z_i - sigma_i eps_hat) / alpha_i + sigma_{i-1} noise.

    The paper prints sigma_i: noise of level i, signal of level i - 1. eps_theta never saw that. We read sigma_{i-1}.
    """
    return alpha_bar_prev**0.5 * predict_z_0(z_t, eps, alpha_bar_t) + (1 - alpha_bar_prev) ** 0.5 * noise()


def dpm_step(z_t: Tensor, eps: Tensor, alpha_bar_t: float, alpha_bar_prev: float, before: Estimate | None,
             noise: Noise | None = None) -> Tensor:
    """DPM-Solver++(2M): DDIM with a corrected noise (Lu et al. 2022, Algorithm 2).

    DDIM holds the predicted z_0 fixed within a step. Here it follows its trend along lambda = log(alpha / sigma). The
    first step knows no trend, and lambda is infinite at the end of the last one: these two are DDIM's.
    """
    if before is not None and alpha_bar_prev < 1:
        lambda_before, lambda_t, lambda_prev = (
            0.5 * math.log(a / (1 - a)) for a in (before.alpha_bar_t, alpha_bar_t, alpha_bar_prev))
        z_0 = predict_z_0(z_t, eps, alpha_bar_t)
        trend = 0.5 * (lambda_prev - lambda_t) / (lambda_t - lambda_before) * (z_0 - before.z_0)
        eps = eps - (alpha_bar_t / (1 - alpha_bar_t)) ** 0.5 * trend
    return ddim_step(z_t, eps, alpha_bar_t, alpha_bar_prev)


SAMPLERS: dict[str, Sampler] = {"ddim": ddim_step, "dpm": dpm_step, "ddpm": ddpm_step, "paper": paper_step}
