"""The last stage: the UNet learns eq. (1) on captioned images, from nothing."""
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..models.stable_diffusion import StableDiffusion
from ..models.unet import UNet
from ..models.vae import VAE, Posterior
from ..text import TextEncoder
from ..train import denoising_loss, generator_for
from .loop import Loop, Row, fit, generator_on
from .pool import Pool, digest, encode_pool

SCALE_IMAGES = 1000  # whose latents' standard deviation becomes 1
CAPTIONS_AT_ONCE = 256
MEASURED_TIMES, MEASURED_IMAGES = (100, 300, 500, 700, 900), 16


@dataclass(frozen=True)
class Schedule:
    """Named as in scheduler/scheduler_config.json.

    Stable Diffusion's schedule, noisier at its end (0.02, not 0.012). Latents of so little reduction are so redundant
    that the brightness of an image would shine through all the noise of the last step, and pure noise would always
    come out gray.
    """
    num_train_timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.02
    beta_schedule: str = "scaled_linear"
    prediction_type: str = "epsilon"
    steps_offset: int = 1
    clip_sample: bool = False
    set_alpha_to_one: bool = False


@dataclass(frozen=True)
class DenoiserSettings:
    """Sizes are named as in unet/config.json. There is attention where a 200 px image has 25 positions a side and
    fewer.

    caption_dropout  share of training images without their caption
    small_share      of the steps, the first ones, on crops of half the side: four times as many images an hour
    large_share      of the steps after that, on large images
    """
    block_out_channels: tuple[int, ...] = (24, 48, 96, 160)
    down_block_types: tuple[str, ...] = ("DownBlock2D",) * 2 + ("CrossAttnDownBlock2D",) * 2
    up_block_types: tuple[str, ...] = ("CrossAttnUpBlock2D",) * 2 + ("UpBlock2D",) * 2
    layers_per_block: int = 1
    attention_head_dim: int = 4
    norm_num_groups: int = 8
    caption_dropout: float = 0.1
    small_share: float = 0.4
    large_share: float = 0.3
    schedule: Schedule = field(default_factory=Schedule)

    def sizes(self, latent_channels: int, context_channels: int, sample_size: int) -> dict[str, Any]:
        """The arguments of UNet, as unet/config.json has them."""
        names = ("block_out_channels", "down_block_types", "up_block_types", "layers_per_block", "attention_head_dim",
                 "norm_num_groups")
        own = {name: list(value) if isinstance(value := getattr(self, name), tuple) else value for name in names}
        return {"in_channels": latent_channels, "out_channels": latent_channels, "sample_size": sample_size,
                "cross_attention_dim": context_channels, **own}


@dataclass(frozen=True)
class Latents:
    """What the UNet sees of a pool: the posteriors of its images (n, C, h, w) and the contexts of their captions
    (n, length, width), in float16. `empty` (1, length, width) is the context of no caption."""
    posterior: Posterior
    contexts: Tensor
    empty: Tensor

    def __len__(self) -> int:
        return len(self.contexts)

    def side(self) -> int:
        """Positions along the images."""
        return self.posterior.mean.shape[2]

    def draw(self, indices: Tensor, generator: torch.Generator, side: int | None = None) -> tuple[Tensor, Tensor]:
        """(z_0 unscaled, eps) of some images, or of random crops of `side` positions."""
        device = self.contexts.device
        mean, logvar = (value[indices.to(device)].float() for value in self.posterior)
        if side:
            top, left = (int(torch.randint(0, full - side + 1, (), generator=generator)) for full in mean.shape[2:])
            mean, logvar = (value[:, :, top:top + side, left:left + side] for value in (mean, logvar))
        source = generator_on(device, generator)
        noise, eps = (torch.randn(mean.shape, generator=source, device=device) for _ in range(2))
        return Posterior(mean, logvar).sample(noise), eps

    def context(self, indices: Tensor, kept: Tensor) -> Tensor:
        """The contexts (B, length, width) of some images' captions. Those that are not kept (B,) are empty."""
        device = self.contexts.device
        return torch.where(kept.to(device)[:, None, None], self.contexts[indices.to(device)], self.empty).float()


@torch.no_grad()
def latents_of(pool: Pool, vae: VAE, text: TextEncoder, work: Path, device: torch.device) -> Latents:
    """Encode images and captions of a pool once."""
    mean, logvar = (value.to(device) for value in encode_pool(work, vae, pool.images))
    starts = range(0, len(pool), CAPTIONS_AT_ONCE)
    contexts = torch.cat([text.encode(pool.captions[i:i + CAPTIONS_AT_ONCE]).half() for i in starts])
    return Latents(Posterior(mean, logvar), contexts, text.encode([""]).half())


def pretrain_denoiser(vae: VAE, text: TextEncoder, pool: Pool, large: Pool, held_out: Mapping[str, Pool],
                      settings: DenoiserSettings, loop: Loop, work: Path,
                      device: torch.device) -> tuple[StableDiffusion, list[Row] | None]:
    """Learn to denoise, each timestep weighted by 1 / sqrt(alpha_bar_t). Returns (StableDiffusion, rows of its log or
    None).

    Unweighted, nearly all of the loss lies at small t, where the image itself shows through and no caption is needed.
    """
    text = text.to(device)
    ordinary, wide = (latents_of(images, vae, text, work, device) for images in (pool, large))
    vae.scaling_factor = 1 / float(ordinary.posterior.mean[:SCALE_IMAGES].float().std())
    channels, side = ordinary.posterior.mean.shape[1], ordinary.side()
    unet = UNet(**settings.sizes(channels, text.model.config.hidden_size, side))
    sd = StableDiffusion(text, unet, vae, asdict(settings.schedule), work, {}, device, torch.float32)
    sd.unet.requires_grad_(True)
    wide_batch = max(1, loop.batch_size * side**2 // wide.side() ** 2)

    def loss_at(generator: torch.Generator, progress: float) -> Tensor:
        small = progress < settings.small_share
        is_wide = float(torch.rand((), generator=generator)) < settings.large_share and not small
        latents, B = (wide, wide_batch) if is_wide else (ordinary, loop.batch_size)
        indices = torch.randint(0, len(latents), (B,), generator=generator)
        context = latents.context(indices, torch.rand(B, generator=generator) >= settings.caption_dropout)
        t = ((torch.arange(B) + torch.rand(B, generator=generator)) / B * len(sd.alpha_bar)).long()  # spread evenly
        t = t.clamp(max=len(sd.alpha_bar) - 1)  # in float32 a number just below 1 may be rounded up to it
        z_0, eps = latents.draw(indices, generator, side // 2 if small else None)
        losses = denoising_loss(sd, vae.scaling_factor * z_0, context, t, eps, "none").mean(dim=(1, 2, 3))
        return (sd.alpha_bar[t].rsqrt().to(losses) * losses).mean()

    shown = {name: latents_of(other, vae, text, work, device) for name, other in held_out.items()}
    rows = fit("unet", sd.unet, loss_at, loop, work, lambda: held_out_losses(sd, shown, loop.seed),
               {**asdict(settings), "text": digest(*text.model.state_dict().values()),
                "autoencoder": digest(*vae.state_dict().values())})
    sd.unet.requires_grad_(False)
    return sd, rows


@torch.no_grad()
def held_out_losses(sd: StableDiffusion, shown: Mapping[str, Latents], seed: int) -> dict[str, float]:
    """Eq. (1) on held-out images of each source, with their captions and without, and by timestep."""
    row: dict[str, float] = {}
    by_time: dict[int, list[float]] = {t: [] for t in MEASURED_TIMES}
    for source, latents in shown.items():
        indices = torch.arange(min(MEASURED_IMAGES, len(latents)))
        losses: dict[str, list[float]] = {"with": [], "without": []}
        for t in MEASURED_TIMES:
            z_0, eps = latents.draw(indices, generator_for(seed, t))
            for kind, own in (("with", True), ("without", False)):
                context = latents.context(indices, torch.full((len(indices),), own))
                loss = denoising_loss(sd, sd.vae.scaling_factor * z_0, context, torch.full_like(indices, t), eps)
                losses[kind].append(float(loss))
            by_time[t].append(losses["with"][-1])
        row |= {f"held_out_{source}_{kind}_caption": sum(values) / len(values) for kind, values in losses.items()}
    return row | {f"t{t}": sum(values) / len(values) for t, values in by_time.items()}
