"""Image-oriented generation against diffusers' image-to-image pipeline, and its determinism."""
import numpy as np
import pytest
import torch
from PIL import Image
from test_diffusion import run_dpm

from stablesdg import generate, load_stable_diffusion
from stablesdg.app.compat import plan_diffusers
from stablesdg.data.images import to_image, to_tensor
from stablesdg.diffusion import add_noise, noise_source, timesteps
from stablesdg.generation import plan
from stablesdg.prior.textures import draw

PROMPT = "A photo of <unknown>"


def source(side=64, seed=0):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).resize((side, side))


def diffusers_image(folder, image, prepare=lambda pipe: None, prompt=PROMPT, **settings):
    from diffusers import DDIMScheduler, StableDiffusionImg2ImgPipeline

    pipe = StableDiffusionImg2ImgPipeline.from_pretrained(folder, safety_checker=None, requires_safety_checker=False)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    prepare(pipe)
    generator = [torch.Generator().manual_seed(5)]
    return np.asarray(pipe(prompt=prompt, image=image, generator=generator, **settings).images[0])


def our_image(sd, image, prompt=PROMPT, **settings):
    path = plan_diffusers(sd, settings["strength"], settings["steps"], "ddim")
    y = generate(sd, to_tensor(image)[None], [5], prompt, path=path, **settings)
    return np.asarray(to_image(y[0]))


def max_difference(a, b):
    return np.abs(a.astype(int) - b.astype(int)).max()


@pytest.mark.parametrize("weights", ["toy", "nano"])
@pytest.mark.parametrize("side", [64, 200])
def test_compat_diffusers_gives_the_image_of_the_diffusers_pipeline(weights, side, request):
    folder = request.getfixturevalue(weights)
    image = source(side)
    theirs = diffusers_image(folder, image, strength=0.6, guidance_scale=3.0, num_inference_steps=10)
    ours = our_image(load_stable_diffusion(folder), image, strength=0.6, guidance=3.0, steps=10)
    assert max_difference(ours, theirs) <= 1


@pytest.fixture(scope="module")
def sd(nano):
    return load_stable_diffusion(nano)


@torch.no_grad()
def test_in_bfloat16_the_vae_is_off_by_at_most_two_gray_levels(nano):
    coarse = load_stable_diffusion(nano, dtype=torch.bfloat16)
    x = to_tensor(Image.fromarray(draw(7, side=64).image))[None]
    fine = coarse.vae.encode(x)
    posterior = coarse.encode(x)
    assert posterior.mean.dtype == torch.float32
    assert (posterior.mean - fine.mean).abs().mean() < 0.02 * fine.mean.std()
    decoded = coarse.decode(coarse.vae.scaling_factor * fine.mean)
    error = 127.5 * (decoded - coarse.vae.decode(fine.mean)).abs()
    assert decoded.dtype == torch.float32 and 0 < error.max() <= 2 and error.mean() < 0.5


@pytest.mark.parametrize("sampler", ["ddim", "dpm", "ddpm", "paper"])
def test_an_image_depends_on_its_seed_and_source_not_on_its_batch(sd, sampler):
    x = torch.stack([to_tensor(source(50, i)) for i in range(3)])
    settings = dict(strength=0.5, guidance=2.0, steps=6, sampler=sampler)
    together = generate(sd, x, [7, 8, 9], PROMPT, **settings)
    alone = torch.cat([generate(sd, x[i:i + 1], [7 + i], PROMPT, **settings) for i in range(3)])
    assert (together - alone).abs().max() < 1e-3  # less than an eighth of a gray level
    other = generate(sd, x[:1], [8], PROMPT, **settings)
    assert (other - alone[:1]).abs().max() > 0.05


@torch.no_grad()
def test_dpm_runs_as_the_multistep_solver_of_the_tests_of_its_step(toy):
    """The loop must hand each step the estimate of the step before: else DPM-Solver++ is DDIM."""
    sd = load_stable_diffusion(toy)
    x, path = to_tensor(source(64))[None], plan(sd, 0.8, 8)
    draw = noise_source([3], sd.latent_shape(x))
    z = add_noise(sd.vae.scaling_factor * sd.encode(x).sample(draw()), draw(), path[0].alpha_bar_t)
    context = sd.text.encode([PROMPT])
    z = run_dpm(z, lambda z, t: sd.unet(z, torch.tensor(t), context), timesteps(8, 0.8))
    dpm, ddim = (generate(sd, x, [3], PROMPT, guidance=1.0, sampler=name, path=path) for name in ("dpm", "ddim"))
    assert (dpm - sd.decode(z).clamp(-1, 1)).abs().max() < 1e-3 < 0.005 < (dpm - ddim).abs().max()


def test_a_guidance_of_1_is_the_conditional_model_alone(sd):
    x = to_tensor(source(48))[None]
    just_one = generate(sd, x, [1], PROMPT, guidance=1.0, steps=4)
    almost = generate(sd, x, [1], PROMPT, guidance=1.0 + 1e-6, steps=4)
    assert (just_one - almost).abs().max() < 1e-3


def test_more_strength_leaves_less_of_the_source(sd):
    x = to_tensor(source(64))[None]
    distances = [(generate(sd, x, [1], PROMPT, strength=s, guidance=1.0, steps=10) - x).square().mean()
                 for s in (0.1, 0.4, 0.8)]
    assert distances == sorted(distances)


def test_from_pure_noise_only_the_size_of_the_images_counts(sd):
    torch.manual_seed(0)
    x = torch.rand(2, 3, 48, 40)
    y, other = (generate(sd, image, [1, 2], PROMPT, from_noise=True, guidance=1.0, steps=3) for image in (x, -x))
    assert y.shape == x.shape and torch.equal(y, other)
    assert y.abs().max() <= 1


@pytest.mark.parametrize("uncond", ["adapted", "base"])
def test_the_unconditional_branch_runs_with_the_adapters_or_without(toy, uncond):
    from test_lora import randomise

    from stablesdg import lora

    sd = load_stable_diffusion(toy)
    randomise(lora.inject(sd, rank=1))
    x, settings = to_tensor(source(64))[None], dict(strength=0.5, steps=4)
    # At w = 0 only the unconditional branch counts.
    image = generate(sd, x, [1], PROMPT, guidance=0.0, uncond=uncond, **settings)
    plain = generate(load_stable_diffusion(toy), x, [1], "", guidance=1.0, **settings)
    adapted = generate(sd, x, [1], "", guidance=1.0, **settings)
    expected, other = (plain, adapted) if uncond == "base" else (adapted, plain)
    assert (image - expected).abs().max() < 1e-4 < 0.01 < (image - other).abs().max()
    # At w = 1 only the conditional one does, which has the adapters in both cases.
    image, whole = (generate(sd, x, [1], PROMPT, guidance=w, uncond=uncond, **settings) for w in (1 + 1e-6, 1.0))
    assert (image - whole).abs().max() < 1e-3


def test_diffusers_timesteps_are_refused_for_a_sampler_that_has_others_there(sd):
    for sampler in ("dpm", "paper"):
        with pytest.raises(ValueError, match=f"go with ddim and ddpm, not with {sampler}"):
            plan_diffusers(sd, 0.4, 50, sampler)


def test_every_image_needs_a_seed_of_its_own(sd):
    with pytest.raises(ValueError, match="1 seeds for 2 images"):
        generate(sd, torch.zeros(2, 3, 64, 64), [0], "a photo", steps=2)


def test_an_unknown_sampler_is_named_with_those_that_there_are(sd):
    with pytest.raises(ValueError, match="no sampler 'euler': there are ddim, dpm, ddpm, paper"):
        generate(sd, torch.zeros(1, 3, 64, 64), [0], "a photo", sampler="euler")


def test_at_most_four_images_are_decoded_at_once(sd, monkeypatch):
    decode, counts = sd.vae.decode, []

    def count(z):
        counts.append(len(z))
        return decode(z)

    monkeypatch.setattr(sd.vae, "decode", count)
    x = torch.stack([to_tensor(source(32, i)) for i in range(6)])
    assert generate(sd, x, range(6), PROMPT, guidance=1.0, steps=2).shape == x.shape and counts == [4, 2]


def test_pure_noise_is_denoised_from_the_first_timestep_on_whatever_the_strength(sd):
    size = torch.zeros(1, 3, 16, 16)
    x, y = (generate(sd, size, [0], "a photo", steps=2, strength=s, from_noise=True) for s in (0.4, 1.0))
    assert torch.equal(x, y)
