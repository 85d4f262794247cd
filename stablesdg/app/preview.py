"""The preview of a training stage: what its model makes of its training images, and of pure noise."""
import itertools
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from ..data.images import read_batches, save_image, to_image
from ..generation import CODED_AT_ONCE, GUIDANCE, generate
from ..models.stable_diffusion import StableDiffusion
from ..report.pictures import image_grid
from .command_line import duration

IMAGES, STRENGTH, STEPS = 6, 0.4, 12
SIDE = 512  # pixels; larger images are shrunk


def draw_preview(folder: Path, stage: str, sd: StableDiffusion, files: Sequence[Path], prompt: str,
                 resolution: int | None, seed: int) -> None:
    """Draw the preview of a stage that is finished and recorded in a run folder.

    files       training images, of which the first IMAGES are shown
    resolution  their shorter side in pixels, or None for their own size
    """
    path, files = folder / f"preview-{stage}.png", files[:IMAGES]
    print(f"drawing {path.name}: {2 * len(files)} images (--no-preview leaves it out)", flush=True)
    started = time.monotonic()
    try:
        save_preview(path, sd, files, prompt, resolution, seed)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the {stage} stage is finished and recorded; only {path} is missing") from None
    print(f"wrote {path} in {duration(time.monotonic() - started)}")


def preview_resolution(file: Path, resolution: int | None) -> int | None:
    """The shorter side in pixels at which the preview reads an image: no longer side is above SIDE."""
    with Image.open(file) as image:
        shorter, longer = sorted(image.size)
    if (resolution or shorter) * longer <= SIDE * shorter:
        return resolution
    return max(1, SIDE * shorter // longer)


def save_preview(path: Path, sd: StableDiffusion, files: Sequence[Path], prompt: str, resolution: int | None,
                 seed: int) -> None:
    """One grid: training images, images generated from them, and images from pure noise, at SIDE at most."""
    w = sd.recipe.get("sample", {}).get("guidance", GUIDANCE)
    rows = [("real", []), (f"generated from these, s = {STRENGTH}, w = {w:g}", []), (f"from pure noise, w = {w:g}", [])]
    jobs = [(file, seed + i) for i, file in enumerate(files)]
    by_size = itertools.groupby(jobs, lambda job: preview_resolution(job[0], resolution))
    for batch in (batch for own, same in by_size
                  for batch in read_batches(list(same), CODED_AT_ONCE, own, sd.vae.factor)):
        x, seeds = torch.stack([source.x for source in batch]), [source.job[1] for source in batch]
        oriented, free = (generate(sd, x, seeds, prompt, strength=STRENGTH, guidance=w, sampler="dpm", steps=STEPS,
                                   from_noise=from_noise) for from_noise in (False, True))
        for (_, images), row in zip(rows, (x, oriented, free)):
            images += [to_image(image, source.size, source.mode) for image, source in zip(row, batch)]
    save_image(path, image_grid(rows))
