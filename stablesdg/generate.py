"""Image-oriented generation, the paper's Algorithm 1: a real defect image, partly noised, denoised anew."""
import torch

from .diffusion import STEPS, add_noise, extrapolate, guide, timesteps, timesteps_diffusers
from .vae import sample_posterior


def plan(sd, strength, steps, sampler="ddim", compat=None):
    """The steps to run: [(t, alpha_bar_t, alpha_bar_prev), ..], noisiest first; none for strength 0."""
    if strength == 0:
        return []
    alpha_bar, T = sd.alpha_bar, len(sd.alpha_bar)
    if compat == "diffusers":
        if sampler == "dpm":
            raise ValueError("diffusers has other timesteps for dpm; its image-to-image timesteps go with ddim and ddpm")
        pairs = timesteps_diffusers(steps, strength, T, sd.steps_offset)
        final = 1.0 if sampler == "ddpm" else float(alpha_bar[0])
    else:
        pairs, final = timesteps(steps, strength, T), 1.0
    return [(t, float(alpha_bar[t]), float(alpha_bar[t_prev]) if t_prev >= 0 else final) for t, t_prev in pairs]


def draw(generators, shape, like):
    """One standard normal tensor a generator, drawn on the CPU so that every device sees the same noise."""
    return torch.stack([torch.randn(shape, generator=g) for g in generators]).to(like)


@torch.no_grad()
def generate(sd, x, seeds, prompt, *, strength=0.4, guidance=5.0, steps=50, sampler="ddim", uncond="adapted",
             compat=None):
    """New images from the images x.

    sd        a StableDiffusion, adapters loaded
    x         (B, 3, H, W) in [-1, 1]; or their posterior (mean, logvar) as vae.encode gives it; or the shape
              (B, 4, h, w) of the latents, to start from pure noise, as in the paper's ablation without image
              orientation; strength is 1 then, whatever is passed
    seeds     B integers; image i depends on seeds[i] and x[i] alone
    strength  s, so that T' = sT is the first timestep; 0 decodes what was encoded
    guidance  w of eq. (2); the unconditional branch is the empty prompt through the adapted model, or through
              the model without adapters if `uncond` is "base"
    sampler   "ddim" and "dpm" (deterministic), "ddpm", or "paper" (Algorithm 1)
    compat    None, or "diffusers" for the timesteps of its image-to-image pipeline

    Returns (B, 3, H, W) in [-1, 1].
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    oriented = torch.is_tensor(x) or torch.is_tensor(x[0])
    path = plan(sd, strength if oriented else 1.0, steps, sampler, compat)
    step = STEPS[sampler]

    if oriented:
        mean, logvar = sd.vae.encode(x.to(sd.device, sd.fine_dtype)) if torch.is_tensor(x) else x
        shape = mean.shape[1:]
        z_0 = sd.vae.scaling_factor * sample_posterior(mean, logvar, draw(generators, shape, mean))
        z = add_noise(z_0, draw(generators, shape, z_0), path[0][1]) if path else z_0  # z_T'
    else:
        shape = x[1:]
        z = draw(generators, shape, torch.empty(0, dtype=sd.fine_dtype, device=sd.device))

    B = len(z)
    if B != len(seeds):
        raise ValueError(f"{len(seeds)} seeds for {B} images")
    context = sd.text.encode([prompt]).expand(B, -1, -1)
    guided = guidance != 1 and not (compat == "diffusers" and guidance < 1)
    if guided:
        with sd.without_adapters(uncond == "base"):
            empty = sd.text.encode([""]).expand(B, -1, -1)

    last = None
    for t, alpha_bar_t, alpha_bar_prev in path:
        t = torch.tensor(t, device=sd.device)  # a tensor, so that a compiled UNet is compiled once
        if not guided:
            eps_hat = sd.unet(z, t, context)
        elif uncond == "base":
            with sd.without_adapters():
                eps_uncond = sd.unet(z, t, empty)
            eps_hat = guide(eps_uncond, sd.unet(z, t, context), guidance)
        else:
            eps_uncond, eps_cond = sd.unet(torch.cat([z, z]), t, torch.cat([empty, context])).chunk(2)
            eps_hat = guide(eps_uncond, eps_cond, guidance)
        if sampler == "dpm":
            eps_hat, last = extrapolate(z, eps_hat, alpha_bar_t, alpha_bar_prev, last)
        noise = None if sampler in ("ddim", "dpm") else draw(generators, shape, z)
        z = step(z, eps_hat, alpha_bar_t, alpha_bar_prev, noise)

    return sd.vae.decode(z / sd.vae.scaling_factor).clamp(-1, 1)
