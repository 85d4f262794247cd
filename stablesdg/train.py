"""The loss of eq. (1) and the loop that learns v_d, BA or all weights with it.

Symbols as in diffusion.py. Seed and step number fix a step's randomness: a resumed run ends with the same bytes.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from .diffusion import add_noise
from .models.vae import Posterior
from .storage.checkpoint import Checkpoint, require_finite

if TYPE_CHECKING:
    from .models.stable_diffusion import StableDiffusion

HELD_OUT_DRAWS, HELD_OUT_BATCH, HELD_OUT_SEED = 32, 4, 2024  # (image, t, eps) triples, how many at once, their seed
LOG_STEPS, CHECKPOINT_SECONDS = 100, 60  # between measurements of the held-out loss, and between checkpoints


def denoising_loss(sd: StableDiffusion, z_0: Tensor, context: Tensor, t: Tensor, eps: Tensor,
                   reduction: str = "mean") -> Tensor:
    """Eq. (1): || eps_theta(z_t; tau(y), t) - eps ||^2, averaged over all elements, or (B, C, h, w) for "none".

    z_0, eps  (B, C, h, w), scaled
    context   (B, M, C), or (1, M, C) of one prompt for the whole batch
    t         (B,) on the CPU
    """
    z_t = add_noise(z_0, eps, sd.alpha_bar[t])
    eps_hat = sd.unet(z_t, t.to(sd.device), context.expand(len(z_t), -1, -1))
    return F.mse_loss(eps_hat.float(), eps.float(), reduction=reduction)


def draw_batch(sd: StableDiffusion, posteriors: Sequence[Posterior], indices: Sequence[int], generator: torch.Generator,
               crop: int | None = None) -> tuple[Tensor, Tensor]:
    """(z_0, eps) of the images `indices`, (B, C, h, w) each, freshly drawn.

    Random crops have the size of the smallest latent, or `crop` positions a side if that is smaller.
    """
    h, w = (min([posteriors[i].mean.shape[axis] for i in indices] + ([crop] if crop else [])) for axis in (1, 2))
    z_0, eps = [], []
    for i in indices:
        mean, logvar = posteriors[i]
        top, left = (int(torch.randint(0, full - size + 1, (), generator=generator))
                     for full, size in zip(mean.shape[1:], (h, w)))
        part = Posterior(*(p[:, top:top + h, left:left + w] for p in (mean, logvar)))
        z_0.append(part.sample(torch.randn(part.mean.shape, generator=generator).to(mean.dtype)))
        eps.append(torch.randn(part.mean.shape, generator=generator).to(mean.dtype))
    return sd.vae.scaling_factor * torch.stack(z_0).to(sd.device), torch.stack(eps).to(sd.device)


def generator_for(seed: int, *numbers: int) -> torch.Generator:
    """A generator whose stream is fixed by the seed and by where in the run it is used."""
    value = seed
    for number in numbers:
        value = (value * 1_000_003 + number + 1) % 2**63
    return torch.Generator().manual_seed(value)


def batch_indices(step: int, batch_size: int, n: int, seed: int) -> list[int]:
    """The images of one step. Each epoch is a new permutation and takes every image once."""
    positions = range(step * batch_size, (step + 1) * batch_size)
    orders = {epoch: torch.randperm(n, generator=generator_for(seed, 0, epoch)).tolist()
              for epoch in {p // n for p in positions}}
    return [orders[p // n][p % n] for p in positions]


@torch.no_grad()
def fixed_noise_loss(sd: StableDiffusion, posteriors: Sequence[Posterior], prompt: str,
                     crop: int | None = None) -> list[float]:
    """Eq. (1) of each draw. Images, timesteps and noise are the same in every call, so that values can be compared."""
    T, n = len(sd.alpha_bar), HELD_OUT_DRAWS
    context = sd.text.encode([prompt])
    losses = []
    for start in range(0, n, HELD_OUT_BATCH):
        draws = range(start, min(start + HELD_OUT_BATCH, n))
        t = torch.tensor([(2 * k + 1) * T // (2 * n) for k in draws])  # evenly over 0 .. T - 1
        z_0, eps = draw_batch(sd, posteriors, [k % len(posteriors) for k in draws],
                              generator_for(HELD_OUT_SEED, start), crop)
        losses += denoising_loss(sd, z_0, context, t, eps, "none").mean(dim=(1, 2, 3)).tolist()
    return losses


@dataclass
class TrainingLog:
    """What a run has measured so far."""
    losses: list[float] = field(default_factory=list)  # of each batch
    held_out: dict[int, list[float]] = field(default_factory=dict)  # step -> fixed-noise losses of held-out images
    seconds: float = 0.0  # of the whole run, its earlier parts included


def adapt(sd: StableDiffusion, parameters: Mapping[str, torch.nn.Parameter], posteriors: Sequence[Posterior],
          held_out: Sequence[Posterior], prompt: str, checkpoint: Checkpoint, *, iterations: int, batch_size: int,
          lr: float, seed: int, crop: int | None = None, resume: bool = False,
          autocast_dtype: torch.dtype | None = None, asked_to_stop: Callable[[], bool] = lambda: False,
          part: slice = slice(None), reduce: Callable[[Tensor], Tensor] = lambda loss: loss) -> TrainingLog:
    """Minimise eq. (1) over `parameters` (float32) with Adam, without weight decay.

    posteriors      of the training images; `held_out` are those of images that are not trained on
    checkpoint      is written every minute and at every measurement; `resume` goes on from it
    crop            side of random crops in latent positions, or None for whole images
    autocast_dtype  of the arithmetic, where it is not the parameters' own dtype
    asked_to_stop   is asked after each step; if so, the checkpoint is written and KeyboardInterrupt raised
    part, reduce    of many processes: the images of each batch that this one takes, and what makes the gradients and
                    the loss means over the whole batch
    """
    optimiser = torch.optim.Adam(parameters.values(), lr=lr)
    scaler = torch.amp.GradScaler(sd.device.type, enabled=torch.float16 in (sd.dtype, autocast_dtype))
    log = TrainingLog()
    if resume and (record := checkpoint.resume(parameters, optimiser)):
        scaler.load_state_dict(record["scaler"])
        log = TrainingLog(record["losses"], {int(k): v for k, v in record["held_out"].items()}, record["seconds"])
        print(f"resuming after {len(log.losses)} iterations")
    start, saved = time.monotonic() - log.seconds, time.monotonic()
    amp = torch.autocast(sd.device.type, autocast_dtype, enabled=autocast_dtype is not None)

    first, recent = len(log.losses), []
    if held_out and first == 0:
        with amp:
            log.held_out[0] = fixed_noise_loss(sd, held_out, prompt, crop)
    bar = tqdm(range(first, iterations), initial=first, total=iterations, unit="it", smoothing=0.05, disable=None)
    for step in bar:
        generator = generator_for(seed, 1, step)
        t = torch.randint(0, len(sd.alpha_bar), (batch_size,), generator=generator)
        z_0, eps = draw_batch(sd, posteriors, batch_indices(step, batch_size, len(posteriors), seed), generator, crop)
        with amp:
            loss = denoising_loss(sd, z_0[part], sd.text.encode([prompt]), t[part], eps[part])
        optimiser.zero_grad()
        scaler.scale(loss).backward()
        loss = reduce(loss.detach())
        scaler.step(optimiser)
        scaler.update()
        recent.append(loss)  # read only when it is logged, so that we need not wait for a GPU

        measure, stop = (step + 1) % LOG_STEPS == 0 or step + 1 == iterations, asked_to_stop()
        if measure or stop or time.monotonic() - saved > CHECKPOINT_SECONDS:
            new, recent = [*map(float, recent)], []
            require_finite(new, parameters.values(), step + 1, lr, autocast_dtype or sd.dtype)
            log.losses = [*log.losses, *new]
            mean = fmean(log.losses[-LOG_STEPS:])
            if held_out and measure:
                with amp:
                    log.held_out[step + 1] = fixed_noise_loss(sd, held_out, prompt, crop)
            values = f"loss {mean:.4f}" + (f", held out {fmean([*log.held_out.values()][-1]):.4f}" if held_out else "")
            bar.set_postfix_str(values)
            if bar.disable and measure:  # the output is not a terminal
                print(f"iteration {step + 1} of {iterations}: {values}", flush=True)
            log.seconds, saved = time.monotonic() - start, time.monotonic()
            checkpoint.save(parameters, optimiser, {**asdict(log), "scaler": scaler.state_dict()})
            if stop:
                raise KeyboardInterrupt
    return log
