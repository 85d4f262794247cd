"""The first stage: the autoencoder learns to reconstruct crops through noisy latents."""
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..models.vae import VAE
from .loop import Loop, Row, fit, generator_on
from .pool import Pool

EDGE_SCALES, EDGE_WEIGHT, ENERGY_WEIGHT = 3, 2.0, 0.7
ENERGY_WINDOW, ENERGY_STRIDE = 7, 4  # pixels: around each place, how much edge there is
NOISE = 0.1  # standard deviations: what a sampler leaves in the latents, at which the log tells the PSNR as well


@dataclass(frozen=True)
class AutoencoderSettings:
    """Sizes are named as in vae/config.json.

    crop       side of the training crops, in pixels
    kl_weight  of the divergence from N(0, 1), per element of the latent; at ten times as much one of four channels died
    jitter     most noise added to the latents, in their own standard deviation
    """
    latent_channels: int = 4
    block_out_channels: tuple[int, ...] = (24, 48)
    layers_per_block: int = 1
    norm_num_groups: int = 8
    mid_block_add_attention: bool = False
    crop: int = 64
    kl_weight: float = 3e-4
    jitter: float = 0.15

    def sizes(self) -> dict[str, Any]:
        """The arguments of VAE, as vae/config.json has them."""
        names = ("latent_channels", "block_out_channels", "layers_per_block", "norm_num_groups",
                 "mid_block_add_attention")
        return {name: asdict(self)[name] for name in names}


def pretrain_autoencoder(pool: Pool, held_out: Mapping[str, Pool], settings: AutoencoderSettings, loop: Loop,
                         work: Path, device: torch.device, data: str) -> tuple[VAE, list[Row] | None]:
    """Reconstruct crops of the pool. Returns (VAE, rows of its log, None if the deadline came first).

    held_out  name of a source -> images that are measured and never trained on
    data      names what the pool holds
    """
    vae = VAE(**settings.sizes(), scaling_factor=1.0).to(device)
    shown = {name: other.images.to(device) / 127.5 - 1 for name, other in held_out.items()}

    def loss_at(generator: torch.Generator, progress: float) -> Tensor:
        x = random_crops(pool.images, loop.batch_size, settings.crop, generator).to(device) / 127.5 - 1
        return autoencoder_loss(vae, x, settings, generator_on(device, generator))[0]

    @torch.no_grad()
    def evaluate() -> dict[str, float]:
        """PSNR of held-out images of each source, plain and with noise in their latents."""
        row = {}
        for name, x in shown.items():
            mean, _ = vae.encode(x)
            noise = NOISE * mean.std() * torch.randn(mean.shape, generator=torch.Generator().manual_seed(0)).to(device)
            row[f"psnr_{name}"] = psnr(vae.decode(mean), x)
            row[f"psnr_{name}_noise_{NOISE}"] = psnr(vae.decode(mean + noise), x)
        return row

    rows = fit("autoencoder", vae, loss_at, loop, work, evaluate, {**asdict(settings), "data": data})
    return vae, rows


def autoencoder_loss(vae: VAE, x: Tensor, settings: AutoencoderSettings,
                     generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(loss, reconstruction y) of images x (B, 3, H, W). The generator is on the device of x."""
    posterior = vae.encode(x)
    z = posterior.sample(torch.randn(posterior.mean.shape, generator=generator, device=x.device))
    sigma = settings.jitter * torch.rand(len(z), 1, 1, 1, generator=generator, device=x.device)
    jitter = sigma * torch.randn(z.shape, generator=generator, device=x.device)
    y = vae.decode(z + posterior.mean.detach().std() * jitter)
    mean, logvar = posterior
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar)
    return reconstruction_loss(y.float(), x) + settings.kl_weight * kl.mean(), y


def random_crops(images: Tensor, n: int, side: int, generator: torch.Generator) -> Tensor:
    """n crops (n, 3, side, side) of random images, mirrored and turned at random, so that no direction is special."""
    def below(high: int) -> int:
        return int(torch.randint(0, high, (), generator=generator))

    crops = []
    for _ in range(n):
        image = images[below(len(images))]
        top, left = (below(full - side + 1) for full in images.shape[2:])
        crop = image[:, top:top + side, left:left + side].rot90(below(4), (1, 2))
        crops.append(crop.flip(2) if below(2) else crop)
    return torch.stack(crops)


def reconstruction_loss(y: Tensor, x: Tensor) -> Tensor:
    """Pixels, edges at three scales, and how much edge there is around each place. y, x (B, 3, H, W).

    The last term compares the local energy of gradients, not the gradients: grain may be redrawn, but not be lost.
    """
    loss = F.l1_loss(y, x) + F.mse_loss(y, x)
    for _ in range(EDGE_SCALES):
        low_y, low_x = F.avg_pool2d(y, 2), F.avg_pool2d(x, 2)
        edges_y, edges_x = (a - F.interpolate(low, scale_factor=2, mode="bilinear")
                            for a, low in ((y, low_y), (x, low_x)))
        loss = loss + EDGE_WEIGHT * F.l1_loss(edges_y, edges_x)
        for axis in (2, 3):
            loss = loss + ENERGY_WEIGHT * F.l1_loss(edge_energy(y, axis), edge_energy(x, axis))
        y, x = low_y, low_x
    return loss


def edge_energy(x: Tensor, axis: int) -> Tensor:
    """Root mean square of the differences along an axis, in windows all over x (B, C, H, W)."""
    return F.avg_pool2d(x.diff(dim=axis).square(), ENERGY_WINDOW, stride=ENERGY_STRIDE).add(1e-5).sqrt()


def psnr(y: Tensor, x: Tensor) -> float:
    """Mean over the images (B, 3, H, W) in [-1, 1], in dB."""
    return float((-10 * ((y.clamp(-1, 1) - x) / 2).square().mean((1, 2, 3)).log10()).mean())
