"""What pretrain.py is made of: pools of drawn textures, the VAE's loss, one resumable loop with averaged weights."""
import hashlib
import json
import multiprocessing
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from ..storage.errors import UserError
from ..storage.files import read_json, write_csv, write_json
from ..storage.tensors import load_tensors, save_tensors
from .textures import draw

HELD_OUT = 10_000_000  # textures from this index on are never trained on
BETAS = (0.9, 0.99)


def draw_pool(work, n, side, seed, first=0):
    """n textures as (images (n, 3, side, side) uint8, captions, attributes), drawn on all cores and kept in `work`."""
    stem = Path(work) / f"textures-{side}-{seed}-{first}-{n}"
    tensors, words = stem.with_suffix(".safetensors"), stem.with_suffix(".json")
    if not (tensors.is_file() and words.is_file()):
        jobs = [(index, seed, side) for index in range(first, first + n)]
        with multiprocessing.get_context("spawn").Pool() as pool:
            drawn = list(tqdm(pool.imap(_draw, jobs, chunksize=16), total=n, unit="texture", desc=f"drawing at {side} px"))
        images = torch.from_numpy(np.stack([texture.image for texture in drawn])).permute(0, 3, 1, 2)
        save_tensors(tensors, {"images": images})
        write_json(words, [[texture.caption, texture.attributes] for texture in drawn])
    captions, attributes = zip(*read_json(words))
    return load_tensors(tensors)[0]["images"], captions, attributes


def _draw(job):
    return draw(*job)


def digest(*tensors):
    """Sixteen letters that name the contents of tensors."""
    sha256 = hashlib.sha256()
    for tensor in tensors:
        sha256.update(tensor.detach().cpu().contiguous().numpy())
    return sha256.hexdigest()[:16]


@torch.no_grad()
def encode_pool(work, vae, images, batch=32):
    """{"mean", "logvar"} of the posteriors of images (n, 3, H, W) uint8, each (n, 4, h, w) float16, kept in `work`."""
    path = Path(work) / f"latents-{images.shape[2]}-{digest(images, *vae.state_dict().values())}.safetensors"
    if not path.is_file():
        device = next(vae.parameters()).device
        parts = [vae.encode(x.to(device) / 127.5 - 1) for x in tqdm(images.split(batch), desc="encoding")]
        mean, logvar = (torch.cat(part).half().cpu() for part in zip(*parts))
        save_tensors(path, {"mean": mean, "logvar": logvar})
    return load_tensors(path)[0]


# ---- the VAE's loss ---------------------------------------------------------------------------------------------


def random_crops(images, n, side, generator):
    """n crops (n, 3, side, side) of random images, mirrored and turned at random, so that no direction is special."""

    def draw(high):
        return int(torch.randint(0, high, (), generator=generator))

    crops = []
    for _ in range(n):
        image, top, left = images[draw(len(images))], draw(images.shape[2] - side + 1), draw(images.shape[3] - side + 1)
        crop = image[:, top:top + side, left:left + side].rot90(draw(4), (1, 2))
        crops.append(crop.flip(2) if draw(2) else crop)
    return torch.stack(crops)


def reconstruction_loss(y, x):
    """Pixels, edges at three scales, and how much edge there is around each place.

    The last term compares the local energy of gradients, not the gradients: grain may be redrawn, but not be lost.
    """
    loss = F.l1_loss(y, x) + F.mse_loss(y, x)
    for _ in range(3):
        low_y, low_x = F.avg_pool2d(y, 2), F.avg_pool2d(x, 2)
        edges_y, edges_x = (a - F.interpolate(low, scale_factor=2, mode="bilinear") for a, low in ((y, low_y), (x, low_x)))
        loss = loss + 2 * F.l1_loss(edges_y, edges_x)
        for axis in (2, 3):
            energies = [F.avg_pool2d(a.diff(dim=axis).square(), 7, stride=4).add(1e-5).sqrt() for a in (y, x)]
            loss = loss + 0.35 * F.l1_loss(*energies)
        y, x = low_y, low_x
    return loss


def psnr(y, x):
    """Mean over the images (B, 3, H, W) in [-1, 1], in dB."""
    return float((-10 * ((y.clamp(-1, 1) - x) / 2).square().mean((1, 2, 3)).log10()).mean())


# ---- training ---------------------------------------------------------------------------------------------------


def fit(stage, model, loss_at, *, steps, lr, decay, work, seed, every, evaluate, settings, dtype):
    """Minimise loss_at(generator, progress) over the model's parameters; it ends with their exponential moving average.

    generator  fixed by (seed, step), the source of all the loss's randomness, so that a stopped run goes on as if it
               never had been
    progress   from 0 at the first step to 1 after the last
    lr         Adam's rate: rising over 100 steps, constant, and falling to 0 over the last third
    decay      of the moving average, which evaluation and result use
    every      steps between checkpoints in `work`, each with a row of evaluate() -> {name: number} in log-STAGE.csv
    dtype      of the arithmetic of loss_at, by autocast; weights and evaluation stay float32
    settings   what the result depends on; a finished or half-done stage of other settings is refused

    Returns the log's rows.
    """
    from ..train import generator_for

    finished, checkpoint = work / f"{stage}.safetensors", work / f"checkpoint-{stage}.safetensors"
    settings = json.loads(json.dumps({**settings, "steps": steps, "lr": lr, "decay": decay, "seed": seed}))
    if finished.is_file():
        tensors, metadata = load_tensors(finished)
        _check(finished, metadata, settings)
        model.load_state_dict(tensors)
        return json.loads(metadata["rows"])

    device = next(model.parameters()).device
    average = {name: value.detach().clone() for name, value in model.state_dict().items()}
    optimiser = torch.optim.Adam(model.parameters(), lr=lr, betas=BETAS)
    rows, first, spent = [], 0, 0.0
    if checkpoint.is_file():
        first, spent, rows = _restore(checkpoint, model, average, optimiser, settings)
        print(f"{stage}: going on after {first} of {steps} steps")
    start, losses = time.monotonic() - spent, []

    bar = tqdm(range(first, steps), initial=first, total=steps, unit="step", desc=stage, smoothing=0.02)
    for step in bar:
        for group in optimiser.param_groups:
            group["lr"] = lr * min(1, (step + 1) / 100, 3 * (steps - step) / steps)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            loss = loss_at(generator_for(seed, step), step / steps)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.detach())
        follow(average, model, min(decay, (step + 1) / (step + 10)))

        if (step + 1) % every == 0 or step + 1 == steps:
            mean = float(torch.stack(losses).mean())
            if not np.isfinite(mean):
                raise UserError(f"The loss of {stage} became infinite near step {step + 1}: lower its learning rate.")
            own = {name: value.clone() for name, value in model.state_dict().items()}
            model.load_state_dict(average)
            measured = {name: round(float(value), 5) for name, value in evaluate().items()}
            rows.append({"step": step + 1, "hours": round((time.monotonic() - start) / 3600, 3), "loss": round(mean, 5),
                         **measured})
            bar.write(f"{stage} {rows[-1]}")
            write_csv(work / f"log-{stage}.csv", rows[-1], [[row.get(key, "") for key in rows[-1]] for row in rows])
            if step + 1 < steps:
                model.load_state_dict(own)
            losses = []
            _save(checkpoint, model, average, optimiser, settings, step + 1, time.monotonic() - start, rows)
    save_tensors(finished, average, {"settings": json.dumps(settings), "rows": json.dumps(rows)})
    checkpoint.unlink()
    return rows


@torch.no_grad()
def follow(average, model, decay):
    """average <- decay * average + (1 - decay) * weights; counters are copied."""
    for name, value in model.state_dict().items():
        average[name].lerp_(value, 1 - decay) if value.is_floating_point() else average[name].copy_(value)


def _save(path, model, average, optimiser, settings, step, spent, rows):
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.items()}
    for i, state in optimiser.state_dict()["state"].items():
        tensors |= {f"adam.{i}.{name}": value for name, value in state.items()}
    save_tensors(path, tensors, {"settings": json.dumps(settings), "step": str(step), "seconds": str(spent),
                                 "rows": json.dumps(rows)})


def _restore(path, model, average, optimiser, settings):
    tensors, metadata = load_tensors(path)
    _check(path, metadata, settings)
    model.load_state_dict({name: tensors[f"model.{name}"] for name in average})
    for name, value in average.items():
        value.copy_(tensors[f"average.{name}"])
    state = {}
    for key, value in tensors.items():
        if key.startswith("adam."):
            _, i, name = key.split(".")
            state.setdefault(int(i), {})[name] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    return int(metadata["step"]), float(metadata["seconds"]), json.loads(metadata["rows"])


def _check(path, metadata, settings):
    before = json.loads(metadata["settings"])
    if changed := [key for key in settings if before.get(key) != settings[key]]:
        raise UserError(f"{path} was made with other settings ({', '.join(changed)}): repeat those, or delete it to start anew.")
