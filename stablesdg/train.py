"""The loss and the loop that token embedding, LoRA and full adaptation share.

Every step's randomness follows from (seed, step) alone, so a checkpoint is parameters, Adam's moments and the losses
so far, and a resumed run ends with the same bytes as one that never stopped.
"""
import contextlib
import json
import time
from pathlib import Path

import torch
from torch.nn import functional as F
from tqdm import tqdm

from .diffusion import add_noise
from .files import UserError, load_tensors, save_tensors, write_csv
from .vae import sample_posterior

HELD_OUT_DRAWS, HELD_OUT_BATCH = 32, 4  # (image, t, eps) triples of the fixed-noise loss, and how many at once
HELD_OUT_SEED = 2024
CHECKPOINT_SECONDS = 60


def denoising_loss(sd, z_0, context, t, eps):
    """|| eps_theta(z_t; tau(y), t) - eps ||^2, averaged over all elements: eq. (1).

    z_0 and eps (B, 4, h, w), scaled; context (1, M, C), one prompt for the whole batch;
    t (B,) on the CPU.
    """
    z_t = add_noise(z_0, eps, sd.alpha_bar[t])
    eps_hat = sd.unet(z_t, t.to(sd.device), context.expand(len(z_t), -1, -1))
    return F.mse_loss(eps_hat.float(), eps.float())


def draw_batch(sd, posteriors, indices, t, generator, crop=None):
    """(z_0, t, eps) for the images `indices`: a fresh draw from each posterior, cropped at random to the smallest of
    them, and to `crop` latent positions a side if that is given."""
    h, w = (min([posteriors[i][0].shape[axis] for i in indices] + ([crop] if crop else [])) for axis in (1, 2))
    z_0, eps = [], []
    for i in indices:
        mean, logvar = posteriors[i]
        top, left = (int(torch.randint(0, full - size + 1, (), generator=generator))
                     for full, size in zip(mean.shape[1:], (h, w)))
        mean, logvar = (p[:, top:top + h, left:left + w] for p in (mean, logvar))
        z_0.append(sample_posterior(mean, logvar, torch.randn(mean.shape, generator=generator).to(mean.dtype)))
        eps.append(torch.randn(mean.shape, generator=generator).to(mean.dtype))
    return sd.vae.scaling_factor * torch.stack(z_0).to(sd.device), t, torch.stack(eps).to(sd.device)


def generator_for(seed, *numbers):
    """A generator whose stream is fixed by the seed and by where in the run it is used."""
    value = seed
    for number in numbers:
        value = (value * 1_000_003 + number + 1) % 2**63
    return torch.Generator().manual_seed(value)


def batch_indices(step, batch_size, n, seed):
    """The images of one step: epoch after epoch of fresh permutations, each image once an epoch."""
    positions = range(step * batch_size, (step + 1) * batch_size)
    orders = {epoch: torch.randperm(n, generator=generator_for(seed, 0, epoch)).tolist()
              for epoch in {p // n for p in positions}}
    return [orders[p // n][p % n] for p in positions]


@torch.no_grad()
def fixed_noise_loss(sd, posteriors, prompt, crop=None):
    """eq. (1) on the same images, timesteps and noises whenever it is asked, so that it can be compared."""
    T, n = len(sd.alpha_bar), HELD_OUT_DRAWS
    context = sd.text.encode([prompt])
    losses = []
    for start in range(0, n, HELD_OUT_BATCH):
        draws = range(start, min(start + HELD_OUT_BATCH, n))
        t = torch.tensor([(2 * k + 1) * T // (2 * n) for k in draws])  # evenly over 0 .. T - 1
        z_0, t, eps = draw_batch(sd, posteriors, [k % len(posteriors) for k in draws], t,
                                generator_for(HELD_OUT_SEED, start), crop)
        losses += [float(denoising_loss(sd, z_0, context, t, eps))] * len(draws)
    return sum(losses) / n


def adapt(sd, parameters, posteriors, held_out, prompt, *, iterations, batch_size, lr, seed, checkpoint, settings,
          crop=None, resume=False, autocast_dtype=None, log_every=100):
    """Minimise eq. (1) over `parameters` ({name: Parameter}, float32) with Adam; no weight decay.

    posteriors    [(mean, logvar)] of the training images; `held_out` the same of images kept out
    crop          side of random crops in latent positions, or None for whole images
    checkpoint    file written every `log_every` steps and every minute; `settings` must be the same when resuming from it
    autocast_dtype  for parameters that compute in another dtype than they are kept in

    Returns (losses, one a step; {step: fixed-noise loss of the held-out images}; seconds of the whole run).
    """
    optimiser = torch.optim.Adam(parameters.values(), lr=lr)
    scaler = torch.amp.GradScaler(sd.device.type, enabled=torch.float16 in (sd.dtype, autocast_dtype))
    losses, evaluations, spent, first = [], {}, 0.0, 0
    if resume and Path(checkpoint).is_file():
        losses, evaluations, spent = restore(checkpoint, parameters, optimiser, scaler, settings)
        first = len(losses)
        print(f"resuming after {first} of {iterations} iterations")
    elif resume:
        print(f"no {checkpoint}: starting from the beginning")
    start, saved = time.monotonic() - spent, time.monotonic()

    def amp():
        return torch.autocast(sd.device.type, autocast_dtype) if autocast_dtype else contextlib.nullcontext()

    def evaluate(step):
        if held_out:
            with amp():
                evaluations[step] = fixed_noise_loss(sd, held_out, prompt, crop)

    if first == 0:
        evaluate(0)
    bar = tqdm(range(first, iterations), initial=first, total=iterations, unit="it", smoothing=0.05)
    for step in bar:
        generator = generator_for(seed, 1, step)
        t = torch.randint(0, len(sd.alpha_bar), (batch_size,), generator=generator)
        indices = batch_indices(step, batch_size, len(posteriors), seed)
        z_0, t, eps = draw_batch(sd, posteriors, indices, t, generator, crop)

        with amp():
            loss = denoising_loss(sd, z_0, sd.text.encode([prompt]), t, eps)
        optimiser.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()

        losses.append(loss.detach())
        if len(losses) % log_every == 0 or len(losses) == iterations:
            losses = [float(value) for value in losses]
            if not all(map(torch.isfinite, torch.tensor(losses[-log_every:]))):
                raise UserError(f"The loss became infinite before iteration {len(losses)}: lower --lr or use --dtype float32.")
            evaluate(len(losses))
            recent = sum(losses[-log_every:]) / len(losses[-log_every:])
            bar.set_postfix({"loss": f"{recent:.4f}", "held out": f"{evaluations.get(len(losses), float('nan')):.4f}"})
        if len(losses) % log_every == 0 or len(losses) == iterations or time.monotonic() - saved > CHECKPOINT_SECONDS:
            saved = time.monotonic()
            save_checkpoint(checkpoint, parameters, optimiser, scaler, settings, losses, evaluations,
                            time.monotonic() - start)
    return losses, evaluations, time.monotonic() - start


def save_checkpoint(path, parameters, optimiser, scaler, settings, losses, evaluations, seconds):
    tensors = {f"parameter.{name}": p for name, p in parameters.items()}
    for name, p in parameters.items():  # no state yet where float16 overflowed in every step so far
        tensors |= {f"{key}.{name}": value for key, value in optimiser.state.get(p, {}).items()}
    tensors["losses"] = torch.tensor([float(loss) for loss in losses], dtype=torch.float64)
    save_tensors(path, tensors, {"settings": json.dumps(settings), "evaluations": json.dumps(evaluations),
                                 "scaler": json.dumps(scaler.state_dict()), "seconds": str(seconds)})


def restore(path, parameters, optimiser, scaler, settings):
    """Fill parameters and optimiser from a checkpoint. Returns (losses, evaluations, seconds)."""
    tensors, metadata = load_tensors(path)
    saved = json.loads(metadata["settings"])
    now = json.loads(json.dumps(settings))
    if saved != now:
        changed = [f"{k} was {saved.get(k)!r} and is now {now.get(k)!r}" for k in {**saved, **now} if saved.get(k) != now.get(k)]
        raise UserError(f"{path} belongs to other settings ({'; '.join(changed)}): repeat those, or start without --resume.")
    with torch.no_grad():
        for name, p in parameters.items():
            p.copy_(tensors[f"parameter.{name}"])
            if f"step.{name}" in tensors:
                optimiser.state[p] = {"step": tensors[f"step.{name}"],
                                      **{m: tensors[f"{m}.{name}"].to(p) for m in ("exp_avg", "exp_avg_sq")}}
    scaler.load_state_dict(json.loads(metadata["scaler"]))
    evaluations = {int(step): value for step, value in json.loads(metadata["evaluations"]).items()}
    return tensors["losses"].tolist(), evaluations, float(metadata["seconds"])


def write_log(path, losses, evaluations):
    """log.csv: iteration, loss of its batch, fixed-noise loss of held-out images where it was measured."""
    rows = [(0, "", f"{evaluations[0]:.6f}")] if 0 in evaluations else []
    rows += [(step, f"{loss:.6f}", f"{evaluations[step]:.6f}" if step in evaluations else "")
             for step, loss in enumerate(losses, start=1)]
    write_csv(path, ("iteration", "loss", "held_out_loss"), rows)
