"""Diffusion from scratch: the UNet of the paper without text, trained on one category (Ho et al. 2020).

    ddpm  draws by ancestral sampling, 1000 steps (Ho et al. 2020, Algorithm 2)
    ddim  draws with the same network without noise on the way, 50 steps (Song et al. 2021)

The paper's row "Yang et al." is its reference [46], a denoising diffusion model that is trained from scratch. We found
neither its text nor its code in public. From what the paper says of it we take: a denoising diffusion model, no prior.
All sizes are guessed, so `ddpm` takes its place, and is not the same method.

Taken from Ho et al.: T = 1000, beta linear from 1e-4 to 0.02, the simple loss, Adam, gradients of length 1 at most, a
moving average of the weights, attention at 16 positions a side. Where we leave them:

    UNet     Stable Diffusion's, which also attends at 8 positions, without cross-attention and without dropout
    pixels   where an image has up to 64 a side. Beyond that, the latents of a prior's frozen VAE save time: --latents
    width    64 channels, not 128; the rate is 2e-4 at all sizes; 16 images a batch, not 128
    z_0      in pixels, each step's estimate is clipped to [-1, 1], as their code does
"""
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..diffusion import SAMPLERS, Estimate, add_noise, alpha_bar_table, noise_source, predict_z_0, timesteps
from ..models.attention import Attention
from ..models.unet import TransformerBlock, UNet
from ..models.vae import VAE, Posterior
from .common import Learning, Phase, Rival

BETA_START, BETA_END = 1e-4, 0.02
WIDTH = 64  # channels at full size
MULTIPLES = (1, 2, 2, 4)  # of the width, at the first levels and at all that follow
MOST_ATTENDED, LEAST_SIDE = 16, 8  # positions a side: attention at this many and fewer, no level below that
HEADS, GROUPS = 4, 8
LEARNING = Learning(lr=2e-4, most_gradient=1.0)
BATCH_SIZE = 16
STEPS = {"ddpm": 1000, "ddim": 50}  # of drawing
ENCODED_AT_ONCE = 4  # images


class NoContext(Attention):
    """In the place of cross-attention: there is no text, and nothing is added."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """x -> zeros of its shape."""
        return torch.zeros_like(x)


def unet_without_text(channels: int, side: int, width: int) -> UNet:
    """The UNet for z (B, channels, side, side). Each level halves the side, down to 8 positions or just above."""
    sides = [side]
    while sides[-1] // 2 >= LEAST_SIDE:
        sides.append(sides[-1] // 2)
    kinds = ["CrossAttn" if s <= MOST_ATTENDED else "" for s in sides]
    unet = UNet(channels, channels, [width * MULTIPLES[min(k, len(MULTIPLES) - 1)] for k in range(len(sides))],
                layers_per_block=2, attention_head_dim=HEADS, cross_attention_dim=1,
                down_block_types=[f"{kind}DownBlock2D" for kind in kinds],
                up_block_types=[f"{kind}UpBlock2D" for kind in reversed(kinds)], norm_num_groups=GROUPS,
                sample_size=side)
    for module in list(unet.modules()):
        if isinstance(module, TransformerBlock):
            module.add_module("attn2", NoContext())
            module.add_module("norm2", nn.Identity())
    return unet


def diffusion(images: Tensor, *, sampler: str = "ddpm", steps: int | None = None, width: int = WIDTH,
              vae: VAE | None = None, seed: int = 0, device: torch.device | str = "cpu") -> Rival:
    """A diffusion model of images (N, 3, side, side) in [-1, 1].

    sampler  "ddpm" or "ddim"
    steps    of drawing (None: 1000 or 50)
    width    channels of the UNet at full size
    vae      a frozen VAE, whose latents are learned instead of pixels
    seed     of the weights at the start
    """
    device = torch.device(device)
    alpha_bar = alpha_bar_table(beta_start=BETA_START, beta_end=BETA_END, schedule="linear")
    posteriors = encode(images, vae) if vae else None
    shape = posteriors.mean.shape[1:] if posteriors else images.shape[1:]
    scale = 1 / float(posteriors.mean.std()) if posteriors else 1.0  # Rombach et al. 2022, section D.1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = unet_without_text(shape[0], shape[1], width).to(device)
    nothing = torch.zeros(1, 1, 1, device=device)

    def loss(indices: list[int], generator: torch.Generator) -> Tensor:
        """Eq. (14) of Ho et al. 2020: || eps - eps_theta(z_t, t) ||^2, as the mean over all elements."""
        t = torch.randint(0, len(alpha_bar), (len(indices),), generator=generator)
        z_0 = images[indices]
        if posteriors:
            noise = torch.randn((len(indices), *shape), generator=generator)
            z_0 = scale * Posterior(*(p[indices] for p in posteriors)).sample(noise)
        eps = torch.randn(z_0.shape, generator=generator)
        z_t = add_noise(z_0, eps, alpha_bar[t]).to(device)
        return F.mse_loss(unet(z_t, t.to(device), nothing).float(), eps.to(device))

    @torch.no_grad()
    def draw(seeds: Sequence[int]) -> Tensor:
        z = denoise(unet, seeds, shape, alpha_bar, sampler, steps or STEPS[sampler], clip=vae is None)
        return (torch.cat([vae.decode(part / scale) for part in z.split(ENCODED_AT_ONCE)]) if vae else z).clamp(-1, 1)

    return Rival(nn.ModuleDict({"unet": unet}), {"unet": LEARNING}, [Phase("loss", "unet", loss)], draw,
                 averaged="unet")


@torch.no_grad()
def encode(images: Tensor, vae: VAE) -> Posterior:
    """The posteriors of all images, on the CPU."""
    device = next(vae.parameters()).device
    parts = [vae.encode(part.to(device)) for part in images.split(ENCODED_AT_ONCE)]
    return Posterior(*(torch.cat([part[k].cpu() for part in parts]) for k in range(2)))


@torch.no_grad()
def denoise(unet: UNet, seeds: Sequence[int], shape: Sequence[int], alpha_bar: Tensor, sampler: str, steps: int,
            clip: bool) -> Tensor:
    """z_0 (B, *shape) from noise. Row i depends on seeds[i] alone.

    clip  hold each step's estimate of z_0 in [-1, 1]
    """
    device = next(unet.parameters()).device
    noise = noise_source(seeds, shape, device)
    z, before = noise(), None
    levels = alpha_bar.tolist() + [1.0]  # t_prev = -1 finds the last one
    nothing = torch.zeros(len(seeds), 1, 1, device=device)
    for t, t_prev in timesteps(steps, 1.0, len(alpha_bar)):
        eps_hat = unet(z, t, nothing)
        z_0 = predict_z_0(z, eps_hat, levels[t])
        if clip:  # and the noise that belongs to it
            z_0 = z_0.clamp(-1, 1)
            eps_hat = (z - levels[t] ** 0.5 * z_0) / (1 - levels[t]) ** 0.5
        z = SAMPLERS[sampler](z, eps_hat, levels[t], levels[t_prev], before, noise)
        before = Estimate(z_0, levels[t])
    return z
