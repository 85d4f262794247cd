"""Minutes and memory of each stage: with weights/nano on this machine, and with Stable Diffusion v1.5 on a GPU."""
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from statistics import median

import torch

from ..models.stable_diffusion import load_stable_diffusion
from ..train import denoising_loss
from ..weights.read import NANO

ITERATIONS, BATCH_SIZE = 1000, 4  # of a training, as the scripts have them
IMAGES = 1000  # made of each class
STRENGTH, DDIM_STEPS, DPM_STEPS = 0.4, 50, 25
TIMED_SECONDS, LEAST_TIMED = 0.5, 1  # each operation is repeated for so long, and at least so often
MIDDLE_TIMESTEP = 500
PROMPT = "A photo of <unknown>"
TERA_FLOP_PER_SECOND = 20  # that a GPU is assumed to sustain
EMBEDDING, LORA = "token embedding", "LoRA"  # stages
DDIM_IMAGES = f"{IMAGES:,} images, s = {STRENGTH:g} of {DDIM_STEPS} steps"
DPM_IMAGES = f"{IMAGES:,} images, --sampler dpm --steps {DPM_STEPS}"
NANO_GIB = 1.7  # of the whole demo in main memory, measured (README)


@dataclass(frozen=True)
class StageCost:
    """One stage for one class."""
    stage: str
    minutes: float
    gib: float  # of memory
    gib_float32: float | None = None  # the same where the number format is float32 and not bfloat16


# Computed from parameters and intermediate results at 512 px, not measured: README, "What it needs on Stable Diffusion
# v1.5". (PFLOP, GiB in bfloat16, GiB in float32). One of a stage's figures stands for the whole stage.
STABLE_DIFFUSION = {
    EMBEDDING: (7, 5.3, 9.7),
    LORA: (7, 5.5, 10.2),
    DDIM_IMAGES: (36, 5.4, 7.0),
    DPM_IMAGES: (20, 5.4, 7.0),
}


def stable_diffusion_costs() -> list[StageCost]:
    """With Stable Diffusion v1.5 at 512 px, on a GPU that sustains TERA_FLOP_PER_SECOND."""
    return [StageCost(stage, 1000 * peta / TERA_FLOP_PER_SECOND / 60, gib, gib_float32)
            for stage, (peta, gib, gib_float32) in STABLE_DIFFUSION.items()]


def nano_costs(width: int, height: int, device: torch.device, dtype: torch.dtype) -> list[StageCost]:
    """With weights/nano at this size in pixels. Steps of the UNet and the VAE are timed here, for a few seconds.

    Training sees crops as large as the weights' recipe says.
    """
    sd = load_stable_diffusion(NANO, device, dtype)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    h, w = (max(1, side // sd.vae.factor) for side in (height, width))
    z = torch.zeros(BATCH_SIZE, sd.unet.conv_in.in_channels, h, w, device=device)
    crop = z[..., :sd.recipe["all"]["crop"] // sd.vae.factor, :sd.recipe["all"]["crop"] // sd.vae.factor]
    t = torch.full((BATCH_SIZE,), MIDDLE_TIMESTEP)
    context = sd.text.encode([PROMPT]).detach()

    def training_step() -> None:
        learned = context.clone().requires_grad_(True)  # gradients run back to the prompt, as for v_d and BA
        denoising_loss(sd, crop, learned, t, crop).backward()

    def denoising_step() -> None:
        with torch.no_grad():
            sd.unet(z, t.to(device), context.expand(BATCH_SIZE, -1, -1))

    def round_trip() -> None:
        with torch.no_grad():
            sd.encode(sd.decode(z))

    training, step, vae = (seconds(work, device) for work in (training_step, denoising_step, round_trip))
    gib = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else NANO_GIB
    batches = ceil(IMAGES / BATCH_SIZE)
    total = {EMBEDDING: ITERATIONS * training, LORA: ITERATIONS * training,  # guidance doubles the steps of images
             DDIM_IMAGES: batches * (vae + 2 * STRENGTH * DDIM_STEPS * step),
             DPM_IMAGES: batches * (vae + 2 * STRENGTH * DPM_STEPS * step)}
    return [StageCost(stage, total[stage] / 60, gib) for stage in STABLE_DIFFUSION]


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def seconds(work: Callable[[], None], device: torch.device) -> float:
    """How long a piece of work takes: the median, after one that does not count."""
    times: list[float] = []
    while len(times) <= LEAST_TIMED or sum(times) < TIMED_SECONDS:
        start = time.perf_counter()
        work()
        wait_for(device)
        times.append(time.perf_counter() - start)
    return median(times[1:])
