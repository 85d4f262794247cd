"""The timesteps of diffusers' image-to-image pipeline, for comparison with it."""
from ..diffusion import T
from ..generation import Step
from ..models.stable_diffusion import StableDiffusion


def timesteps_diffusers(steps: int, strength: float = 1.0, T: int = T, offset: int = 1) -> list[tuple[int, int]]:
    """[(t, t_prev), ..] with spacing T // steps, then the last int(s * steps) of them.

    The last t_prev is negative; there DDIM takes alpha_bar_0 and DDPM 1.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must lie in [0, 1], not {strength}")
    ratio = T // max(1, min(steps, T))
    if steps < 1 or (steps - 1) * ratio + offset > T - 1:
        raise ValueError(f"diffusers has no timestep grid for {steps} steps")
    count = min(int(steps * strength), steps)  # truncates: 50 * 0.58 gives 28, not 29
    if count == 0:
        raise ValueError(f"strength {strength} of {steps} steps leaves no step to run; raise either")
    return [(i * ratio + offset, i * ratio + offset - ratio) for i in reversed(range(count))]


def plan_diffusers(sd: StableDiffusion, strength: float, steps: int, sampler: str) -> list[Step]:
    """The steps that diffusers would run, for `generate`. There are none for strength 0."""
    if sampler not in ("ddim", "ddpm"):
        raise ValueError(f"the image-to-image timesteps of diffusers go with ddim and ddpm, not with {sampler}")
    if strength == 0:
        return []
    alpha_bar = sd.alpha_bar.tolist()
    final = 1.0 if sampler == "ddpm" else alpha_bar[0]
    return [Step(t, alpha_bar[t], alpha_bar[t_prev] if t_prev >= 0 else final)
            for t, t_prev in timesteps_diffusers(steps, strength, len(alpha_bar), sd.steps_offset)]
