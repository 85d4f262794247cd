"""UNet, VAE and text encoder against diffusers and transformers, on random weights."""
from pathlib import Path

import pytest
import torch
from conftest import UNET, VAE, relative_error, shrink_streams
from torch import nn

from stablesdg.models.attention import attend_in_parts, attention
from stablesdg.models.blocks import Downsample, GroupNorm, Upsample
from stablesdg.models.stable_diffusion import build, load_stable_diffusion
from stablesdg.models.unet import UNet
from stablesdg.models.vae import VAE as OurVAE


@pytest.fixture(scope="module", params=["unit variance", "small variance"])
def unets(request):
    """diffusers' UNet and ours with the same weights; small variances make every norm's epsilon count."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(1)
    theirs = UNet2DConditionModel(**UNET).double().eval()
    if request.param == "small variance":
        shrink_streams(theirs)
    ours = UNet(**UNET).double()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


@pytest.mark.parametrize("height, width", [(16, 16), (25, 25), (13, 18)])
@torch.no_grad()
def test_unet_equals_diffusers_in_float64_for_even_and_odd_sizes_with_a_timestep_a_sample(unets, height, width):
    theirs, ours = unets
    z, t = torch.randn(3, 4, height, width).double(), torch.tensor([0, 431, 999])
    context = torch.randn(3, 24, 32).double()
    assert relative_error(ours(z, t, context), theirs(z, t, context).sample) < 1e-9


@torch.no_grad()
def test_unet_equals_diffusers_in_float32(unets):
    theirs, ours = unets
    z, context = torch.randn(2, 4, 16, 16), torch.randn(2, 24, 32)
    reference = theirs(z.double(), 500, context.double()).sample
    ours.float()
    assert relative_error(ours(z, 500, context), reference) < 1e-4
    ours.double()


@pytest.mark.parametrize("t", [500, [3, 900]])
@torch.no_grad()
def test_two_contexts_an_image_give_what_each_gives_alone(unets, t):
    _, ours = unets
    z, context = torch.randn(2, 4, 13, 16).double(), torch.randn(4, 24, 32).double()
    both = ours(z, torch.tensor(t), context)
    alone = [ours(z, torch.tensor(t), part) for part in context.split(2)]
    assert relative_error(both, torch.cat(alone)) < 1e-12


@pytest.mark.parametrize("height", [1, 5])
def test_the_gradient_of_halving_one_column_in_bfloat16_is_that_of_float32_up_to_rounding(height):
    torch.manual_seed(0)
    downsample, x = Downsample(32), torch.randn(2, 32, height, 1)

    def gradient(dtype):
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            y = downsample(x)
        for n in (32 * 32 * 9, 32 * 32 * 18):  # memory that holds no number when it is handed out next
            [torch.full((n,), torch.nan, dtype=dtype) for _ in range(3)]
        return torch.autograd.grad(y, downsample.conv.weight, torch.ones_like(y))[0]

    expected = gradient(torch.float32)
    for _ in range(20):
        assert relative_error(gradient(torch.bfloat16), expected) < 0.05  # what is left unset is far larger, or NaN


@pytest.mark.parametrize("size", [None, (10, 14), (9, 13)])
def test_doubling_and_convolving_at_once_is_doubling_and_then_convolving(size):
    upsample = Upsample(3).double()
    x = torch.randn(2, 3, 5, 7, dtype=torch.float64, requires_grad=True)
    larger = torch.nn.functional.interpolate(x, size=size, scale_factor=None if size else 2, mode="nearest")
    expected = torch.nn.functional.conv2d(larger, upsample.conv.weight, upsample.conv.bias, padding=1)
    out, direction = upsample(x, size), torch.randn_like(expected)
    assert torch.allclose(out, expected, atol=1e-12)
    variables = (x, upsample.conv.weight, upsample.conv.bias)
    for a, b in zip(*(torch.autograd.grad(y, variables, direction) for y in (out, expected))):
        assert torch.allclose(a, b, atol=1e-12)


def test_gradient_checkpointing_changes_no_gradient():
    torch.manual_seed(2)
    unet = UNet(**UNET).double()
    z, context = torch.randn(1, 4, 16, 16).double(), torch.randn(1, 24, 32).double()
    gradients = []
    for unet.gradient_checkpointing in (False, True):
        unet.zero_grad()
        unet(z, 10, context).square().sum().backward()
        gradients.append([p.grad.clone() for p in unet.parameters()])
    assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in zip(*gradients))


@pytest.fixture(scope="module", params=["unit variance", "small variance"])
def vaes(request):
    from diffusers import AutoencoderKL

    torch.manual_seed(3)
    theirs = AutoencoderKL(**VAE, down_block_types=("DownEncoderBlock2D",) * 4,
                           up_block_types=("UpDecoderBlock2D",) * 4).double().eval()
    if request.param == "small variance":
        shrink_streams(theirs)
    ours = OurVAE(**VAE).double()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


@torch.no_grad()
def test_vae_equals_diffusers_in_float64(vaes):
    theirs, ours = vaes
    x = torch.rand(2, 3, 200, 72).double() * 2 - 1
    posterior = theirs.encode(x).latent_dist
    mean, logvar = ours.encode(x)
    assert relative_error(mean, posterior.mean) < 1e-9
    assert relative_error(logvar, posterior.logvar) < 1e-9
    z = torch.randn(2, 4, 25, 9).double()
    assert relative_error(ours.decode(z), theirs.decode(z).sample) < 1e-9


@torch.no_grad()
def test_vae_equals_diffusers_in_float32(vaes):
    theirs, ours = vaes
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    reference = theirs.encode(x.double()).latent_dist.mean
    z = torch.randn(1, 4, 8, 8)
    decoded = theirs.decode(z.double()).sample
    ours.float()
    assert relative_error(ours.encode(x)[0], reference) < 1e-4
    assert relative_error(ours.decode(z), decoded) < 1e-4
    ours.double()


def test_the_full_size_models_have_the_official_keys_and_shapes():
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from stablesdg.weights.configs import SD15_TEXT

    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768, block_out_channels=(320, 640, 1280, 1280))
        vae = AutoencoderKL(block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4,
                            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4)
        text = CLIPTextModel(CLIPTextConfig(**SD15_TEXT))
    for ours, theirs, count in ((build(UNet), unet, 859_520_964), (build(OurVAE), vae, 83_653_863)):
        assert ({k: v.shape for k, v in ours.state_dict().items()}
                == {k: v.shape for k, v in theirs.state_dict().items()})
        assert sum(p.numel() for p in ours.parameters()) == count
    assert sum(p.numel() for p in text.parameters()) == 123_060_480


def free_gibibytes():
    """Memory that can be had, with what only holds copies of files. 0 where the system does not say it."""
    memory = Path("/proc/meminfo")
    lines = memory.read_text().splitlines() if memory.is_file() else []
    return next((int(line.split()[1]) / 2**20 for line in lines if line.startswith("MemAvailable:")), 0)


@pytest.mark.skipif(free_gibibytes() < 10, reason="two full-size UNets in float32 need 10 GiB of free memory")
@torch.no_grad()
def test_the_full_size_unet_equals_diffusers_in_float32():
    from diffusers import UNet2DConditionModel

    torch.manual_seed(4)
    ours = build(UNet)
    state = {k: torch.randn(v.shape) * (0.7 / max(1, v[0].numel()) ** 0.5) for k, v in ours.state_dict().items()}
    state |= {k: torch.ones_like(v) for k, v in state.items() if "norm" in k and k.endswith("weight")}
    ours.load_state_dict(state, assign=True)
    with torch.device("meta"):
        theirs = UNet2DConditionModel(cross_attention_dim=768, block_out_channels=(320, 640, 1280, 1280))
    theirs.load_state_dict(state, assign=True)  # the same storage, so that memory holds one copy
    z, context = torch.randn(1, 4, 32, 24), torch.randn(1, 77, 768)
    assert relative_error(ours(z, 500, context), theirs(z, 500, context).sample) < 1e-4


@pytest.mark.parametrize("weights", [True, False], ids=["full adaptation", "LoRA"])
def test_the_gradient_of_a_large_group_norm_in_bfloat16_is_that_of_float32_up_to_rounding(weights):
    torch.manual_seed(0)
    theirs, ours = nn.GroupNorm(2, 4), GroupNorm(2, 4)
    nn.init.normal_(theirs.weight), nn.init.normal_(theirs.bias)
    ours.load_state_dict(theirs.state_dict())
    ours.bfloat16().requires_grad_(weights)
    x, dy = torch.randn(2, 2, 4, 20, 20).bfloat16()
    wanted, x = x.float().requires_grad_(), x.contiguous(memory_format=torch.channels_last).requires_grad_()
    y = ours(x)
    assert "LargeGroupNorm" in type(y.grad_fn).__name__ and y.is_contiguous(memory_format=torch.channels_last)
    y.backward(dy.contiguous(memory_format=torch.channels_last))
    theirs(wanted).backward(dy.float())
    pairs = [(x, wanted), *([(ours.weight, theirs.weight), (ours.bias, theirs.bias)] if weights else [])]
    assert all(relative_error(own.grad, reference.grad) < 0.05 for own, reference in pairs)


@torch.no_grad()
def test_text_states_equal_diffusers(toy):
    from diffusers import StableDiffusionPipeline

    sd = load_stable_diffusion(toy, dtype=torch.float64)
    pipe = StableDiffusionPipeline.from_pretrained(toy, safety_checker=None, torch_dtype=torch.float64)
    for prompt in ("A photo of <unknown>", "", "dark   Patches, it's 1234 on\u00a0steel", "steel " * 60):
        reference = pipe.encode_prompt(prompt, "cpu", 1, False)[0]
        assert relative_error(sd.text.encode([prompt]), reference) < 1e-9


@torch.no_grad()
def test_text_states_in_float32_differ_from_float64_by_less_than_1e_4(toy):
    fine, coarse = (load_stable_diffusion(toy, dtype=dtype) for dtype in (torch.float64, torch.float32))
    prompts = ["A photo of <unknown>", "steel " * 60]
    assert relative_error(coarse.text.encode(prompts), fine.text.encode(prompts)) < 1e-4


@pytest.mark.parametrize("n", [1, 7, 64])
def test_attention_to_a_few_queries_at_a_time_is_attention(n):
    q, k, v = torch.randn(3, 2, 4, 25, 8, dtype=torch.float64)
    whole = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    assert torch.allclose(attend_in_parts(q, k, v, n), whole, atol=1e-12)


@pytest.mark.parametrize("n, m", [(25, 25), (25, 7)])
def test_attention_and_its_gradient_are_those_of_the_equation(n, m):
    q, k, v = (torch.randn(3, length, 16, dtype=torch.float64, requires_grad=True) for length in (n, m, m))
    heads = [x.view(3, -1, 4, 4).transpose(1, 2) for x in (q, k, v)]
    scores = heads[0] @ heads[1].transpose(2, 3) / 4**0.5
    expected = (scores.softmax(dim=-1) @ heads[2]).transpose(1, 2).reshape(3, n, 16)
    direction = torch.randn_like(expected)
    out = attention(q, k, v, heads=4)
    assert torch.allclose(out, expected, atol=1e-12)
    for a, b in zip(*(torch.autograd.grad(y, (q, k, v), direction) for y in (out, expected))):
        assert torch.allclose(a, b, atol=1e-12)


def test_autocast_does_not_undo_attention_in_float32():
    q, k, v = torch.randn(3, 2, 60, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    q.requires_grad_()
    plain = attention(q, k, v, heads=4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(attention(q, k, v, heads=4), plain)
    fine = attention(q.float(), k.float(), v.float(), heads=4)
    assert torch.equal(plain, fine.bfloat16())


@pytest.mark.parametrize("m", [25, 7])
def test_the_gradient_of_attention_in_bfloat16_is_that_of_float32_up_to_rounding(m):
    q, k, v = (torch.randn(3, length, 16).bfloat16().requires_grad_() for length in (25, m, m))
    direction = torch.randn(3, 25, 16).bfloat16()
    fine = torch.autograd.grad(attention(q.float(), k.float(), v.float(), heads=4), (q, k, v), direction.float())
    coarse = torch.autograd.grad(attention(q, k, v, heads=4), (q, k, v), direction)
    for a, b in zip(coarse, fine):
        assert a.dtype == torch.bfloat16 and torch.allclose(a.float(), b.float(), rtol=2**-7, atol=2**-7)
