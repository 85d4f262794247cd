"""Noise schedule, timesteps and sampler steps against diffusers' schedulers and closed forms, in float64."""
import numpy as np
import pytest
import torch
from conftest import relative_error

from stablesdg import diffusion
from stablesdg.app.compat import timesteps_diffusers
from stablesdg.diffusion import Estimate, add_noise, alpha_bar_table, guide, predict_z_0, timesteps

SD15 = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


def exact(scheduler):
    """A diffusers scheduler with its float32 table replaced by one that numpy computes in float64."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    scheduler.alphas_cumprod = torch.from_numpy(np.cumprod(1 - betas))
    scheduler.alphas = torch.from_numpy(1 - betas)
    scheduler.betas = torch.from_numpy(betas)
    scheduler.final_alpha_cumprod = scheduler.alphas_cumprod[0]
    return scheduler


def fake_eps(z, t):
    """Stands for a network: deterministic, not linear, different at every t."""
    return torch.sin(3 * z + 0.01 * t) + 0.1 * z


def test_alpha_bar_table_equals_diffusers():
    from diffusers import DDIMScheduler

    theirs = DDIMScheduler(**SD15).alphas_cumprod
    assert relative_error(alpha_bar_table(), theirs) < 2e-6  # theirs is float32
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    assert relative_error(alpha_bar_table(), torch.from_numpy(np.cumprod(1 - betas))) < 1e-12


@pytest.mark.parametrize("strength", [0.05, 0.1, 0.4, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("steps", [1, 7, 20, 50, 1000])
def test_the_first_timestep_is_exactly_sT_and_the_last_step_ends_without_noise(steps, strength):
    pairs = timesteps(steps, strength)
    assert pairs[0][0] == round(strength * 1000) - 1
    assert pairs[-1][1] == -1
    assert len(pairs) == max(1, round(strength * steps))
    assert all(t > t_prev for t, t_prev in pairs)
    assert [t for _, t in pairs[:-1]] == [t for t, _ in pairs[1:]]


@pytest.mark.parametrize("strength", [0, -0.1, 1.01])
def test_strength_outside_0_to_1_is_refused(strength):
    with pytest.raises(ValueError, match="strength"):
        timesteps(50, strength)


@pytest.mark.parametrize("strength", [0.05, 0.1, 0.29, 0.4, 0.5, 0.58, 0.9, 1.0])
@pytest.mark.parametrize("steps", [20, 50, 100])
def test_compat_timesteps_equal_those_of_diffusers_img2img(steps, strength):
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(**SD15, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    scheduler.set_timesteps(steps)
    first = steps - min(int(steps * strength), steps)
    assert [t for t, _ in timesteps_diffusers(steps, strength)] == scheduler.timesteps[first:].tolist()


def test_compat_refuses_what_diffusers_answers_with_an_empty_batch_or_an_index_error():
    with pytest.raises(ValueError, match="no step"):
        timesteps_diffusers(10, 0.05)
    with pytest.raises(ValueError, match="grid"):
        timesteps_diffusers(1000, 1.0)


@pytest.mark.parametrize("strength", [0.05, 0.1, 0.4, 0.5, 0.9, 1.0])
def test_the_noised_start_equals_diffusers(strength):
    from diffusers import DDIMScheduler

    torch.manual_seed(0)
    z_0, eps = torch.randn(2, 2, 4, 8, 8).double()
    scheduler = exact(DDIMScheduler(**SD15))
    for pairs in (timesteps(50, strength), timesteps_diffusers(50, strength)):
        t = pairs[0][0]
        theirs = scheduler.add_noise(z_0, eps, torch.tensor([t]))
        assert relative_error(add_noise(z_0, eps, float(alpha_bar_table()[t])), theirs) < 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_add_noise_takes_its_roots_in_float64(dtype):
    """sigma at t = 0 is 0.029; from an alpha_bar in bfloat16, which is 1 there, it would be 0."""
    for alpha_bar in (1 - 1e-7, *alpha_bar_table()[[0, 1, 500, 999]].tolist()):
        one, zero = torch.ones((), dtype=dtype), torch.zeros((), dtype=dtype)
        assert add_noise(zero, one, alpha_bar) == torch.tensor((1 - alpha_bar) ** 0.5, dtype=dtype)
        assert add_noise(one, zero, alpha_bar) == torch.tensor(alpha_bar**0.5, dtype=dtype)


def test_add_noise_takes_one_timestep_a_sample():
    z_0, eps = torch.randn(2, 3, 4, 5, 6).double()
    alpha_bar = alpha_bar_table()[torch.tensor([0, 500, 999])]
    for i in range(3):
        assert torch.equal(add_noise(z_0, eps, alpha_bar)[i], add_noise(z_0[i:i + 1], eps[i:i + 1], alpha_bar[i])[0])


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "paper"])
@pytest.mark.parametrize("strength", [0.4, 1.0])
def test_a_whole_trajectory_equals_diffusers(sampler, strength):
    """DDIM and DDPM by the schedulers of that name; Algorithm 1 by the consistency sampler, which has its form."""
    from diffusers import DDIMScheduler, DDPMScheduler, LCMScheduler

    if sampler == "ddim":
        scheduler = exact(DDIMScheduler(**SD15, clip_sample=False, set_alpha_to_one=False, steps_offset=1))
    elif sampler == "ddpm":
        scheduler = exact(DDPMScheduler(**SD15, clip_sample=False, steps_offset=1, timestep_spacing="leading"))
    else:
        # A huge timestep scaling makes its boundary condition vanish: c_skip = 0, c_out = 1.
        scheduler = exact(LCMScheduler(**SD15, clip_sample=False, timestep_scaling=1e12))
    pairs = timesteps_diffusers(20, strength)
    if sampler == "paper":
        scheduler.set_timesteps(timesteps=[t for t, _ in pairs])
    else:
        scheduler.set_timesteps(20)

    alpha_bar = alpha_bar_table()
    torch.manual_seed(1)
    ours = theirs = torch.randn(2, 4, 8, 8).double()
    for i, (t, t_prev) in enumerate(pairs):
        generator = torch.Generator().manual_seed(i)
        noise = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
        final = float(alpha_bar[0]) if sampler == "ddim" else 1.0
        prev = float(alpha_bar[t_prev]) if t_prev >= 0 else final
        ours = diffusion.SAMPLERS[sampler](ours, fake_eps(ours, t), float(alpha_bar[t]), prev, None,
                                           lambda noise=noise: noise)
        options = {} if sampler == "ddim" else {"generator": generator.manual_seed(i)}
        theirs = scheduler.step(fake_eps(theirs, t), t, theirs, **options).prev_sample
        assert relative_error(ours, theirs) < 1e-9


def run_dpm(z, eps_of, pairs, order=2):
    """z after all steps of DPM-Solver++ of that order; the first order is DDIM."""
    alpha_bar, before = alpha_bar_table(), None
    for t, t_prev in pairs:
        a, a_prev = float(alpha_bar[t]), float(alpha_bar[t_prev]) if t_prev >= 0 else 1.0
        eps = eps_of(z, t)
        now = Estimate(predict_z_0(z, eps, a), a)
        z = diffusion.SAMPLERS["dpm"](z, eps, a, a_prev, before if order == 2 else None, None)
        before = now
    return z


@pytest.mark.parametrize("strength", [0.05, 0.4, 1.0])
def test_dpm_equals_the_multistep_solver_of_diffusers(strength):
    from diffusers import DPMSolverMultistepScheduler

    pairs = timesteps(20, strength)
    scheduler = exact(DPMSolverMultistepScheduler(**SD15, final_sigmas_type="zero"))
    scheduler.set_timesteps(timesteps=[t for t, _ in pairs])
    a = alpha_bar_table()[[t for t, _ in pairs]]
    scheduler.sigmas = torch.cat([((1 - a) / a).sqrt(), torch.zeros(1)])
    torch.manual_seed(1)
    ours = theirs = torch.randn(2, 4, 8, 8).double()
    for t, _ in pairs:
        theirs = scheduler.step(fake_eps(theirs, t), t, theirs).prev_sample
    assert relative_error(run_dpm(ours, fake_eps, pairs), theirs) < 2e-5  # their step casts to float32


def test_dpm_is_of_second_order_where_ddim_is_of_first():
    """Latents of variance v have z_t of variance alpha^2 v + sigma^2. The best eps is sigma z / variance, and z scales
    as the root of the variance."""
    alpha_bar, v = alpha_bar_table(), 0.3
    variance = alpha_bar * v + 1 - alpha_bar
    error = {}
    for order in (1, 2):
        for count in (16, 32):
            grid = np.linspace(800, 100, count + 1).round().astype(int).tolist()  # without the final step to -1
            z = run_dpm(torch.ones(1).double(), lambda z, t: (1 - alpha_bar[t]).sqrt() * z / variance[t],
                        list(zip(grid[:-1], grid[1:])), order)
            error[order, count] = abs(float(z / (variance[100] / variance[800]).sqrt()) - 1)
    assert 1.8 < error[1, 16] / error[1, 32] < 2.2
    assert 3.3 < error[2, 16] / error[2, 32] and error[2, 16] < error[1, 16] / 10


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "paper"])
def test_with_the_true_noise_every_sampler_keeps_the_marginal(sampler):
    """If eps_hat is the noise that is in z_t, one step to t_prev has mean alpha_prev z_0 and variance sigma_prev^2."""
    alpha_bar = alpha_bar_table()
    a, a_prev = float(alpha_bar[600]), float(alpha_bar[500])
    torch.manual_seed(2)
    eps, noise = torch.randn(2, 400_000).double()
    z_t = add_noise(torch.full((), 0.7).double(), eps, a)
    z_prev = diffusion.SAMPLERS[sampler](z_t, eps, a, a_prev, None, lambda: noise)
    assert abs(float(z_prev.mean()) - 0.7 * a_prev**0.5) < 5e-3
    assert abs(float(z_prev.var()) - (1 - a_prev)) < 5e-3


def test_the_last_step_returns_the_predicted_clean_latent():
    z_t, eps, noise = torch.randn(3, 1, 4, 8, 8).double()
    a = float(alpha_bar_table()[19])
    for step in diffusion.SAMPLERS.values():
        assert relative_error(step(z_t, eps, a, 1.0, None, lambda: noise), predict_z_0(z_t, eps, a)) < 1e-12


def test_guidance_interpolates_and_extrapolates():
    uncond, cond = torch.randn(2, 4, 8, 8)
    assert torch.equal(guide(uncond, cond, 0), uncond)
    assert torch.allclose(guide(uncond, cond, 1), cond)
    assert torch.allclose(guide(uncond, cond, 3), 3 * cond - 2 * uncond, atol=1e-5)
