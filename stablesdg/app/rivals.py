"""Settings of a rival resolved, its images and its prior opened. rival_runs.py trains it and draws."""
import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..data.images import read_image, save_image, to_image
from ..generation import GUIDANCE
from ..models.encode import encode_images
from ..models.vae import Posterior
from ..rivals import dcgan, ddpm, dreambooth, stylegan3, textual_inversion
from ..rivals.common import Rival, read_squares
from ..storage.errors import UserError
from ..storage.files import read_optional_json, sha256, write_json
from ..text import contains
from .command_line import TOKEN
from .devices import pick_device, pick_dtype
from .model import from_recipe, open_model, pixels

SIDES = (64, 128, 256)  # of images of a rival that starts from nothing
LOOP_VERSION = 2  # of the arithmetic of a step; a checkpoint of another cannot end with the same bytes


@dataclass(frozen=True)
class RivalSettings:
    """The arguments of `python -m stablesdg.rivals`. None is left to the rival, or to the weights' recipe."""
    name: str
    data: Path
    split: str | None
    out: Path
    size: int | None
    steps: int
    minutes: float | None
    batch_size: int | None
    lr: float | None
    width: int | None
    augmentation: bool | None
    gamma: float | None
    rotation: bool
    truncation: float | None
    latents: bool
    weights: str | None
    prompt: str | None
    token: str | None
    class_prompt: str | None
    prior_preservation: int | None
    guidance: float | None
    draw_steps: int | None
    number: int
    draw_batch: int
    seed: int
    device: str
    dtype: str
    resume: bool


@dataclass(frozen=True)
class Opened:
    """A rival with its images, ready to be trained."""
    rival: Rival
    batch_size: int
    depends_on: Mapping[str, Any]  # what the training follows from, besides steps and minutes
    side: int | None  # at which it sees images, None for their own
    device: torch.device
    dtype: torch.dtype  # of the arithmetic, where the parameters are finer
    columns: Mapping[str, str]  # s, w, sampler and steps, for the manifest
    prepared_seconds: float = 0.0  # spent before training, and counted as training

    @property
    def drawing(self) -> nn.Module:
        """What images are drawn with, and what is written down."""
        return self.rival.networks[self.rival.averaged] if self.rival.averaged else self.rival.networks

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum(p.numel() for p in self.rival.networks.parameters() if p.requires_grad)


# ---- opening ----------------------------------------------------------------------------------------------------


def open_rival(settings: RivalSettings, files: Sequence[Path]) -> Opened:
    """The rival that was asked for, on the training images `files`."""
    device = pick_device(settings.device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    opened = (open_prompted if settings.name in ("textual-inversion", "dreambooth") else open_scratch)(
        settings, files, device)
    print(f"{settings.name}: {opened.parameters:,} parameters, {len(files)} training images"
          + (f" at {opened.side} px" if opened.side else "") + f", {opened.batch_size} a step")
    common = {"loop": LOOP_VERSION, "batch size": opened.batch_size, "seed": settings.seed, "device": device.type,
              "dtype": str(opened.dtype), "images": [sha256(file) for file in files]}
    return dataclasses.replace(opened, depends_on={**opened.depends_on, **common})


def open_scratch(settings: RivalSettings, files: Sequence[Path], device: torch.device) -> Opened:
    """A rival that starts from random weights."""
    side = settings.size or side_for(files[0])
    if side not in SIDES:
        raise UserError(f"--size is one of {', '.join(map(str, SIDES))} for {settings.name}, not {side}.")
    images = read_squares(files, side)
    dtype = torch.float32 if settings.dtype == "auto" else pick_dtype(settings.dtype, device)
    how: dict[str, Any] = {"seed": settings.seed, "device": device}
    how |= {"width": settings.width} if settings.width else {}
    depends_on: dict[str, Any] = {"rival": settings.name, "side": side, "width": settings.width}
    columns = {"s": "", "w": "", "sampler": settings.name, "steps": ""}
    if settings.name == "dcgan":
        rival, batch_size = dcgan.dcgan(images, augmentation=settings.augmentation, **how), dcgan.BATCH_SIZE
        depends_on["augmentation"] = settings.augmentation
    elif settings.name == "stylegan3":
        rival = stylegan3.stylegan3(images, gamma=settings.gamma, rotation=settings.rotation,
                                    truncation=settings.truncation or 1.0, **how)
        batch_size = stylegan3.BATCH_SIZE
        depends_on |= {"gamma": settings.gamma, "rotation": settings.rotation}
    else:
        sd = open_model(settings.weights, settings.device, "float32") if settings.latents else None
        rival = ddpm.diffusion(images, sampler=settings.name, steps=settings.draw_steps, vae=sd and sd.vae, **how)
        batch_size = ddpm.BATCH_SIZE
        depends_on |= {"rival": "diffusion", "latents": sd and sd.sha256}  # ddpm and ddim learn alike
        columns["steps"] = str(settings.draw_steps or ddpm.STEPS[settings.name])
    return Opened(rival, settings.batch_size or batch_size, depends_on, side, device, dtype, columns)


def side_for(file: Path) -> int:
    """The least side that is no smaller than the image, or the largest one."""
    longer = max(read_image(file)[0].size)
    return next((side for side in SIDES if side >= longer), SIDES[-1])


def open_prompted(settings: RivalSettings, files: Sequence[Path], device: torch.device) -> Opened:
    """A rival that adapts the prior and draws from noise and a prompt."""
    full = settings.name == "dreambooth"
    sd = open_model(settings.weights, settings.device, settings.dtype, kept=torch.float32 if full else None)
    recipe = from_recipe(sd, "train_full" if full else "train_ti", lr=settings.lr, resolution=settings.size, crop=None)
    side, crop = pixels(recipe["resolution"] or sd.resolution), pixels(recipe["crop"])
    w, token = from_recipe(sd, "sample", guidance=settings.guidance)["guidance"] or GUIDANCE, settings.token or TOKEN
    prompt = settings.prompt or (dreambooth.PROMPT if full else f"A photo of {token}")
    if not full and not contains(prompt, token):
        raise UserError(f"The prompt {prompt!r} does not contain the token {token!r}: nothing could be learned.")
    prompted = textual_inversion.Prompted(sd, encode_images(sd, files, side), crop and max(1, crop // sd.vae.factor),
                                          prompt, w, settings.draw_steps or textual_inversion.STEPS)
    depends_on = {"rival": settings.name, "weights": sd.sha256, "prompt": prompt, "resolution": side, "crop": crop}
    seconds = 0.0
    if full:
        number = dreambooth.CLASS_IMAGES if settings.prior_preservation is None else settings.prior_preservation
        class_prompt = settings.class_prompt or dreambooth.CLASS_PROMPT
        others, seconds = class_posteriors(settings.out, prompted, class_prompt, number) if number else ([], 0.0)
        lr, batch_size = recipe["lr"] or dreambooth.LEARNING_RATE, dreambooth.BATCH_SIZE
        rival = dreambooth.dreambooth(prompted, others, class_prompt, lr)
        depends_on |= {"class images": number, **class_settings(prompted, class_prompt)}
    else:
        lr, batch_size = recipe["lr"] or textual_inversion.LEARNING_RATE, textual_inversion.BATCH_SIZE
        rival = textual_inversion.textual_inversion(prompted, token, lr)
        depends_on["token"] = token
    arithmetic = pick_dtype(settings.dtype, device) if full else torch.float32  # a frozen UNet is in it already
    columns = {"s": "1", "w": f"{w:g}", "sampler": "ddim", "steps": str(prompted.steps)}
    return Opened(rival, settings.batch_size or batch_size, {**depends_on, "lr": lr, "model dtype": str(sd.dtype)},
                  side, device, arithmetic, columns, seconds)


def class_settings(prompted: textual_inversion.Prompted, class_prompt: str) -> dict[str, Any]:
    """What a class image follows from, besides its number."""
    return {"class prompt": class_prompt, "class weights": prompted.sd.sha256, "class w": prompted.guidance,
            "class steps": prompted.steps, "class latents": list(prompted.drawn_size)}


def class_posteriors(out: Path, prompted: textual_inversion.Prompted, class_prompt: str,
                     number: int) -> tuple[list[Posterior], float]:
    """The class images of the unadapted prior, encoded, and the seconds that drawing them took.

    They are kept in class-images. Those that an earlier call has drawn with the same settings are not drawn again.
    """
    folder, record = out / "class-images", out / "class-images.json"
    asked, before = class_settings(prompted, class_prompt), read_optional_json(record)
    seconds = before.get("seconds", 0.0) if before.get("settings") == asked else 0.0
    if before.get("settings") != asked:
        for file in folder.glob("*.png"):
            file.unlink()
    prior = dataclasses.replace(prompted, prompt=class_prompt)
    files = [folder / f"{i:05d}.png" for i in range(number)]
    print(f"{number} class images by {class_prompt!r}: {sum(file.is_file() for file in files)} are there", flush=True)
    for i, file in enumerate(files):
        start = time.monotonic()
        if not file.is_file():
            save_image(file, to_image(prior.draw([dreambooth.CLASS_SEED + i])[0]))
            seconds += time.monotonic() - start
            write_json(record, {"settings": asked, "seconds": seconds})
    return encode_images(prompted.sd, files, None), seconds
