"""What surrounds a rival: settings resolved, images and prior opened, training recorded, images drawn and kept."""
import dataclasses
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ..data.generated import ImageSet, Job, is_finished, list_jobs, require_own_folder
from ..data.images import read_batches, read_image, save_image, to_image
from ..data.split import SEEN, Split, refuse_leak, surfaces_of
from ..evaluate.features import load_nano_network
from ..evaluate.novelty import NoveltyMeter
from ..models.encode import encode_images
from ..models.vae import Posterior
from ..rivals import dcgan, ddpm, dreambooth, stylegan3, textual_inversion
from ..rivals.common import Rival, Training, fit, read_squares
from ..storage.checkpoint import Checkpoint
from ..storage.errors import UserError
from ..storage.files import read_optional_json, sha256, write_json
from ..storage.settings import as_json, changed_settings
from ..storage.tensors import load_tensors, read_metadata, save_tensors
from .command_line import duration
from .devices import pick_device, pick_dtype
from .interrupt import stop_when_asked
from .model import from_recipe, open_model, pixels
from .paths import split_file
from .sampling import GUIDANCE, ImageMaker, make_batch, save_pictures, warn_of_novelty

try:
    import resource
except ImportError:  # Windows
    resource = None

MODEL, CHECKPOINT = "model.safetensors", "checkpoint.safetensors"
SIDES = (64, 128, 256)  # of images of a rival that starts from nothing
LOOP_VERSION = 1  # of the arithmetic of a step; a checkpoint of another cannot end with the same bytes


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
    latents: bool
    weights: str | None
    prompt: str | None
    token: str
    class_prompt: str
    prior_preservation: int
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
    def drawing(self) -> torch.nn.Module:
        """What images are drawn with, and what is written down."""
        return self.rival.networks[self.rival.averaged] if self.rival.averaged else self.rival.networks

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum(p.numel() for p in self.rival.networks.parameters() if p.requires_grad)


@dataclass(frozen=True)
class Trained:
    """What a training took."""
    steps: int
    seconds: float  # those of the preparation included
    memory: int  # bytes at the peak: of the process on a CPU, of what was allocated on a GPU


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
        rival, batch_size = stylegan3.stylegan3(images, **how), stylegan3.BATCH_SIZE
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
    w = from_recipe(sd, "sample", guidance=settings.guidance)["guidance"] or GUIDANCE
    prompt = settings.prompt or (dreambooth.PROMPT if full else f"A photo of {settings.token}")
    prompted = textual_inversion.Prompted(sd, encode_images(sd, files, side), crop and max(1, crop // sd.vae.factor),
                                          prompt, w, settings.draw_steps or textual_inversion.STEPS)
    depends_on = {"rival": settings.name, "weights": sd.sha256, "prompt": prompt, "resolution": side, "crop": crop}
    seconds = 0.0
    if full:
        others, seconds = class_posteriors(settings, prompted) if settings.prior_preservation else ([], 0.0)
        lr, batch_size = recipe["lr"] or dreambooth.LEARNING_RATE, dreambooth.BATCH_SIZE
        rival = dreambooth.dreambooth(prompted, others, settings.class_prompt, lr)
        depends_on |= class_settings(settings, prompted)
    else:
        lr, batch_size = recipe["lr"] or textual_inversion.LEARNING_RATE, textual_inversion.BATCH_SIZE
        rival = textual_inversion.textual_inversion(prompted, settings.token, lr)
        depends_on["token"] = settings.token
    arithmetic = pick_dtype(settings.dtype, device) if full else torch.float32  # a frozen UNet is in it already
    columns = {"s": "1", "w": f"{w:g}", "sampler": "ddim", "steps": str(prompted.steps)}
    return Opened(rival, settings.batch_size or batch_size, {**depends_on, "lr": lr, "model dtype": str(sd.dtype)},
                  side, device, arithmetic, columns, seconds)


def class_settings(settings: RivalSettings, prompted: textual_inversion.Prompted) -> dict[str, Any]:
    """What the class images follow from."""
    return {"class prompt": settings.class_prompt, "class images": settings.prior_preservation,
            "class weights": prompted.sd.sha256, "class w": prompted.guidance, "class steps": prompted.steps}


def class_posteriors(settings: RivalSettings, prompted: textual_inversion.Prompted) -> tuple[list[Posterior], float]:
    """The class images of the unadapted prior, encoded, and the seconds that drawing them took.

    They are kept in class-images. Those that an earlier call has drawn with the same settings are not drawn again.
    """
    folder, record = settings.out / "class-images", settings.out / "class-images.json"
    asked, before = class_settings(settings, prompted), read_optional_json(record)
    seconds = before.get("seconds", 0.0) if before.get("settings") == asked else 0.0
    if before.get("settings") != asked:
        for file in folder.glob("*.png"):
            file.unlink()
    prior = dataclasses.replace(prompted, prompt=settings.class_prompt)
    files = [folder / f"{i:05d}.png" for i in range(settings.prior_preservation)]
    print(f"{len(files)} class images by {settings.class_prompt!r}: {sum(f.is_file() for f in files)} are there")
    for i, file in enumerate(files):
        start = time.monotonic()
        if not file.is_file():
            save_image(file, to_image(prior.draw([dreambooth.CLASS_SEED + i])[0]))
            seconds += time.monotonic() - start
            write_json(record, {"settings": asked, "seconds": seconds})
    return encode_images(prompted.sd, files, None), seconds


# ---- training ---------------------------------------------------------------------------------------------------


def train(settings: RivalSettings, opened: Opened, split: Split) -> Trained:
    """Train, or read what is already trained with the same settings. Writes model.safetensors."""
    file = settings.out / MODEL
    asked = as_json({**opened.depends_on, "steps": settings.steps, "minutes": settings.minutes})
    if settings.resume and file.is_file():
        tensors, metadata = load_tensors(file)
        refuse_leak(json.loads(metadata[SEEN]), split, str(file))
        if not changed_settings(json.loads(metadata["settings"]), asked):
            print(f"{file} is already trained; leave out --resume to train it again")
            opened.drawing.load_state_dict(tensors)
            opened.rival.networks.eval()
            return Trained(**json.loads(metadata["trained"]))
    trained = run_loop(settings, opened)
    save_tensors(file, opened.drawing.state_dict(), {
        SEEN: json.dumps(opened.depends_on["images"]), "settings": json.dumps(asked),
        "trained": json.dumps(vars(trained))})
    print(f"wrote {file} after {trained.steps} steps in {duration(trained.seconds)}")
    return trained


def run_loop(settings: RivalSettings, opened: Opened) -> Trained:
    """The loop of rivals/common.py. Ctrl-C saves first, and says after how many steps."""
    seconds = 60 * settings.minutes - opened.prepared_seconds if settings.minutes else math.inf
    if seconds <= 0:
        raise UserError(f"The class images alone took {duration(opened.prepared_seconds)}: raise --minutes, or lower "
                        "--prior-preservation or --draw-steps.")
    training = Training(settings.steps, opened.batch_size, settings.seed, seconds, settings.resume, opened.dtype)
    checkpoint = Checkpoint(settings.out / CHECKPOINT, opened.depends_on)
    if not settings.resume:
        checkpoint.path.unlink(missing_ok=True)
    try:
        with stop_when_asked() as asked_to_stop:
            progress = fit(opened.rival, len(opened.depends_on["images"]), training, checkpoint, asked_to_stop)
    except KeyboardInterrupt:
        if not checkpoint.path.is_file():
            raise KeyboardInterrupt("nothing of this training is saved") from None
        done = json.loads(read_metadata(checkpoint.path)["record"])["step"]
        raise KeyboardInterrupt(f"saved after {done} steps; the same command with --resume goes on") from None
    return Trained(progress.step, round(progress.seconds + opened.prepared_seconds, 1), peak_memory(opened.device))


def peak_memory(device: torch.device) -> int:
    """Bytes at the peak so far: what PyTorch had allocated on a GPU, the whole process elsewhere. 0 if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if resource is None:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# ---- drawing ----------------------------------------------------------------------------------------------------


def draw_samples(settings: RivalSettings, opened: Opened, files: Sequence[Path], split: Split) -> float:
    """Draw the images as sample.py does: manifest, settings, novelty, pictures. Returns the seconds it took.

    Each has size and mode of a training image, which is nothing else to it: all training images have their turn.
    """
    out = settings.out / "samples"
    require_own_folder(out)
    seen = frozenset(opened.depends_on["images"])
    depends_on = {"rival": settings.name, "model": sha256(settings.out / MODEL), "seed": settings.seed,
                  "number": settings.number, "from_noise": True, "sampler": settings.name, "resolution": opened.side,
                  "steps": opened.columns["steps"], "w": opened.columns["w"], "device": opened.device.type,
                  "data": str(settings.data), "seen": sorted(seen)}
    if settings.resume and is_finished(out, depends_on):
        print(f"the images in {out} are already finished; leave out --resume to make them again")
        return read_optional_json(settings.out / "run.json").get("drawing_seconds", 0.0)

    def draw(x: Tensor, seeds: Sequence[int]) -> Tensor:
        return opened.rival.draw(seeds).float()

    maker = ImageMaker(draw, f"drawn by {settings.name}", opened.columns, opened.side, 1, depends_on, seen)
    jobs = list_jobs(files, settings.number, settings.seed)
    images = ImageSet(out, depends_on, settings.resume)
    meter = NoveltyMeter(load_nano_network(opened.device), files, surfaces_of(split, files))
    seconds = draw_all(jobs, maker, meter, images, settings.draw_batch)
    rows = images.finish(jobs)
    save_pictures(settings.out, out, rows, jobs, files, maker)
    values = sorted(float(row["novelty"]) for row in rows)
    print(f"wrote {len(rows)} images to {out} in {duration(seconds)}; novelty {values[len(values) // 2]:.2f} (median; "
          "0 is a copy of a training image, 1 as far as real ones of other surfaces are apart)")
    warn_of_novelty(values[len(values) // 2], maker)
    return round(seconds, 1)


def draw_all(jobs: Sequence[Job], maker: ImageMaker, meter: NoveltyMeter, images: ImageSet, batch_size: int) -> float:
    """Draw all images that are not there yet. Returns the seconds it took. Ctrl-C says what is kept."""
    start = time.monotonic()
    try:
        with tqdm(total=len(jobs), unit="image", disable=None) as bar:
            for batch in read_batches(jobs, batch_size, maker.resolution or SIDES[-1], 1):  # only for their sizes
                if not all(images.has(source.job.name) for source in batch):
                    make_batch(batch, maker, meter, images, 0.0, from_noise=True)
                bar.update(len(batch))
    except KeyboardInterrupt:
        kept = sum(images.has(job.name) for job in jobs)
        raise KeyboardInterrupt(f"the training is finished, and {kept} of {len(jobs)} images are kept; the same "
                                "command with --resume goes on") from None
    return time.monotonic() - start


def record(settings: RivalSettings, opened: Opened, trained: Trained, drawing_seconds: float) -> None:
    """run.json: settings, seconds, parameters, memory, and which images were seen."""
    write_json(settings.out / "run.json", {
        "rival": settings.name, "data": str(settings.data.resolve()),
        "split_sha256": sha256(split_file(settings.data)),
        "arguments": {name: str(v) if isinstance(v, Path) else v for name, v in vars(settings).items()},
        "steps": trained.steps, "training_seconds": trained.seconds, "drawing_seconds": drawing_seconds,
        "parameters": opened.parameters, "peak_memory": trained.memory, "device": opened.device.type,
        "versions": {"python": sys.version.split()[0], "torch": torch.__version__},
        "finished": time.strftime("%Y-%m-%d %H:%M:%S"), SEEN: opened.depends_on["images"]})
