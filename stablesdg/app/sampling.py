"""What surrounds generation: s and w chosen, batches of sources made into images, rows of the manifest."""
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..data.augment import augment
from ..data.folders import name_of
from ..data.generated import ImageSet, Job, Row
from ..data.images import Source, read_batches, read_image
from ..evaluate.novelty import COPY_NOVELTY, STRANGE_NOVELTY, NoveltyMeter, similarity
from ..generation import GUIDANCE, Step, generate, plan
from ..models.stable_diffusion import StableDiffusion
from ..report.pairs import PAIRS_SHOWN, Pair, save_novelty_picture, save_pairs
from ..storage import torchrun
from ..storage.errors import UserError
from ..storage.files import sha256
from . import processes
from .command_line import duration
from .compat import plan_diffusers
from .makers import ImageMaker, from_pixels
from .model import Trained, from_recipe, load_adapters, open_model
from .runs import read_choice

# The paper's Table I: s and w that it found best for each category of NEU and CCBSD.
TABLE_I = {"Cr": (0.2, 2), "In": (0.9, 9), "Pa": (0.4, 6), "PS": (0.5, 3), "RS": (0.1, 8), "Sc": (0.5, 7),
           "Inc": (0.5, 5), "Ind": (0.2, 7), "Ox": (0.6, 3), "SG": (0.5, 4)}
STRENGTH, SAMPLER, STEPS = 0.4, "ddim", 50
FEWEST_STEPS = 10  # of any sampler; docs/results/samplers.md shows what fewer lose
LOG_IMAGES = 10  # between two lines where the output is not a terminal
MOST_TRIES = 5  # an image gets at most so many seeds to become as novel as --min-novelty asks
STRENGTH_STREAM = 31  # of random numbers: apart from that of the noise, which has the same seed
RETRY_STRIDE = 1_000_000_000  # between the seeds of two tries


@dataclass(frozen=True)
class SamplingSettings:
    """The arguments of sample.py."""
    run: Path | None
    data: Path | None
    weights: str | None
    adapters: str
    out: str | None  # a name in the run folder, or a path with a slash
    strength: float | None  # or the lower end of a range
    strength_high: float | None  # the upper end
    guidance: float | None
    untuned: bool
    number: int
    steps: int | None
    sampler: str | None
    from_noise: bool
    classic: bool
    other: Path | None  # --from: sources of another class
    compose: bool
    region: str
    ground: Path | None
    masks: Path | None
    boxes: Path | None
    box_class: str | None
    min_novelty: float
    uncond: str
    compat: str | None
    batch_size: int
    seed: int
    device: str
    dtype: str
    resume: bool


def open_classic() -> ImageMaker:
    """Rotate and mirror the sources."""
    def draw(x: Tensor, seeds: Sequence[int]) -> Tensor:
        return torch.stack([augment(image, seed) for image, seed in zip(x, seeds)])

    label = "rotated and mirrored"
    print(label)
    return ImageMaker(from_pixels(draw), label, columns={"s": "", "w": "", "sampler": "classic", "steps": ""},
                      resolution=None, multiple=1, depends_on={}, seen=frozenset())


@dataclass(frozen=True)
class Prior:
    """A model with the adapters of a run, and how it is to be run."""
    sd: StableDiffusion
    trained: Trained
    s: float
    s_high: float | None  # each image draws its own s from here to there
    w: float
    sampler: str
    steps: int
    settings: SamplingSettings

    @property
    def strength(self) -> str:
        """s for a person."""
        return f"{self.s:g}" if self.s_high is None else f"{self.s:g} to {self.s_high:g}"

    def path(self, s: float) -> list[Step]:
        """The steps to run from strength s."""
        return steps_to_run(self.sd, s, self.steps, self.sampler, self.settings.compat)

    def parts(self, seeds: Sequence[int]) -> list[tuple[slice, float]]:
        """(images, s) of the parts of a batch that can run together: all, or one by one if each draws its s."""
        if self.s_high is None:
            return [(slice(0, len(seeds)), self.s)]
        return [(slice(i, i + 1), strength_of(seed, self.s, self.s_high)) for i, seed in enumerate(seeds)]

    def columns(self) -> dict[str, str]:
        """What the manifest says of all images."""
        return {"s": self.strength, "w": f"{self.w:g}", "sampler": self.sampler, "steps": str(self.steps)}

    def columns_of(self, seed: int) -> dict[str, str]:
        """What the manifest says of one image, where it differs from others."""
        return {} if self.s_high is None else {"s": f"{strength_of(seed, self.s, self.s_high):g}"}

    def depends_on(self) -> dict[str, Any]:
        """The settings that images follow from. What was not asked for is not named."""
        asked = self.settings
        return {"steps": self.steps, "sampler": self.sampler, "uncond": asked.uncond, "compat": asked.compat,
                "adapters": asked.adapters, "s": self.s, "w": self.w, "prompt": self.trained.prompt,
                "weights": self.sd.sha256, "resolution": self.trained.resolution, "dtype": str(self.sd.dtype),
                "adapter_files": [sha256(file) for file in self.sd.adapter_files], "device": self.sd.device.type,
                **({} if self.s_high is None else {"s_high": self.s_high})}


def open_prior(settings: SamplingSettings, folder: Path, record: Mapping[str, Any]) -> Prior:
    """Load the weights and the adapters of a run, and choose s, w, sampler and steps. Says what was chosen."""
    sd = open_model(settings.weights, settings.device, settings.dtype, record)
    trained = load_adapters(sd, folder, record, settings.adapters)
    if settings.uncond == "base" and folder / "full.safetensors" in sd.adapter_files:
        raise UserError("--uncond base needs the model without adapters, but a full adaptation has replaced it: leave "
                        "out --uncond.")
    tuned = {} if settings.from_noise or settings.untuned else read_choice(folder)
    s, w = choose_strength_and_guidance(settings, sd, Path(record["data"]).name, tuned)
    sampler, steps = settings.sampler or tuned.get("sampler", SAMPLER), settings.steps or tuned.get("steps", STEPS)
    prior = Prior(sd, trained, s, settings.strength_high, w, sampler, steps, settings)
    path = prior.path(settings.strength_high or s)
    print(f"prompt {trained.prompt!r}, s = {prior.strength}, w = {w:g}, {sampler}: " + (
        f"{len(path)} steps from t = {path[0].t}" if path else "through the VAE and back"))
    warn_of_few_steps(s, len(prior.path(s)))
    return prior


def open_diffusion(settings: SamplingSettings, folder: Path, record: Mapping[str, Any]) -> ImageMaker:
    """Algorithm 1 with the adapters of a run."""
    prior = open_prior(settings, folder, record)
    guidance = 1.0 if settings.compat and prior.w < 1 else prior.w  # diffusers does not guide below 1

    def draw(x: Tensor, seeds: Sequence[int]) -> Tensor:
        return torch.cat([
            generate(prior.sd, x[part], seeds[part], prior.trained.prompt, guidance=guidance, sampler=prior.sampler,
                     uncond=settings.uncond, from_noise=settings.from_noise, path=prior.path(s))
            for part, s in prior.parts(seeds)])

    columns, depends_on = prior.columns(), prior.depends_on()
    if settings.other:
        columns["source_class"] = depends_on["source_class"] = settings.other.resolve().name
    return ImageMaker(from_pixels(draw, prior.columns_of), f"generated, s = {prior.strength}, w = {prior.w:g}",
                      columns=columns, resolution=prior.trained.resolution, multiple=prior.sd.vae.factor,
                      depends_on=depends_on, seen=prior.trained.seen, sd=prior.sd, keeps_places=not settings.from_noise)


def strength_of(seed: int, low: float, high: float) -> float:
    """s of the image with this seed, even between low and high, to three digits."""
    return round(float(np.random.default_rng([STRENGTH_STREAM, seed]).uniform(low, high)), 3)


def steps_to_run(sd: StableDiffusion, s: float, steps: int, sampler: str, compat: str | None = None) -> list[Step]:
    """The steps of a run, for --steps, --sampler and --compat."""
    try:
        return plan_diffusers(sd, s, steps, sampler) if compat == "diffusers" else plan(sd, s, steps)
    except ValueError as error:
        raise UserError(f"{error}.") from None


def warn_of_few_steps(s: float, count: int) -> None:
    """Say when few steps are left to run. Fine detail is lost then, and the eye hardly sees it."""
    if 0 < count < FEWEST_STEPS:
        print(f"s = {s:g} leaves {count} steps to run, and fewer than {FEWEST_STEPS} lose fine detail: --steps "
              f"{math.ceil(FEWEST_STEPS / s)} keeps more of it")


def choose_strength_and_guidance(settings: SamplingSettings, sd: StableDiffusion, category: str,
                                 tuned: Mapping[str, Any]) -> tuple[float, float]:
    """(s, w): the command line's, else tune.py's, the recipe's, Table I's for a category of that name, or 0.4 and 5."""
    strength, guidance = 1.0 if settings.from_noise else settings.strength, settings.guidance
    if tuned and (strength is None or guidance is None):
        print(f"tune.py chose s = {tuned['s']:g}, w = {tuned['w']:g}")
        for line in doubts_of_choice(tuned):
            print(line)
        strength = tuned["s"] if strength is None else strength
        guidance = tuned["w"] if guidance is None else guidance
    chosen = from_recipe(sd, "sample", strength=strength, guidance=guidance)
    s, w = chosen["strength"], chosen["guidance"]
    s_default, w_default = TABLE_I.get(category, (STRENGTH, GUIDANCE))
    taken = [f"{name} = {default}" for name, value, default in (("s", s, s_default), ("w", w, w_default))
             if value is None]
    if taken and category in TABLE_I:
        print(f"the paper's Table I has {', '.join(taken)} for {category}")
    return (s_default if s is None else s), (w_default if w is None else w)


def doubts_of_choice(tuned: Mapping[str, Any]) -> list[str]:
    """What the record of tune.py's choice says against it, a sentence each."""
    lines = []
    if tuned.get("told_apart") is False:
        lines.append("warning: by their intervals, tune.py could not tell this choice from others: look at "
                     "tune-images.png, or run tune.py with a larger --number")
    if tuned.get("below_floor"):
        lines.append("warning: tune.py's choice lies below the floor, where the distance no longer ranks: look at the "
                     "novelty of the images, or run tune.py with --min-novelty 0.5")
    return lines


def say_novelty(rows: Sequence[Row], out: Path, seconds: float, against_copies: str, against_strange: str) -> None:
    """Say how novel the images are. Warn if most are copies or unlike anything real, with what helps against it.

    against_copies  "" where the images are meant as copies
    """
    values = sorted(float(row["novelty"]) for row in rows)
    novelty = values[len(values) // 2]
    print(f"wrote {len(rows)} images to {out} in {duration(seconds)}; novelty {novelty:.2f} (median; 0 is a copy of a "
          "training image, 1 as far as real ones of other surfaces are apart)")
    most = f"warning: at a median novelty of {novelty:.2f} most images are"
    if novelty < COPY_NOVELTY and against_copies:
        print(f"{most} near copies of training images: {against_copies}")
    if novelty > STRANGE_NOVELTY:
        print(f"{most} unlike anything real: {against_strange}")


def make_batch(batch: Sequence[Source[Job]], maker: ImageMaker, meter: NoveltyMeter, images: ImageSet,
               min_novelty: float, from_noise: bool) -> None:
    """Make an image of each source. If it is not novel enough, make it again with another seed."""
    pending = list(batch)
    for attempt in range(MOST_TRIES if min_novelty > 0 else 1):
        seeds = [source.job.seed + attempt * RETRY_STRIDE for source in pending]
        made = maker.make(pending, seeds)
        below = []
        for source, seed, new, (novelty, nearest) in zip(pending, seeds, made, meter.measure([m.image for m in made])):
            if novelty < min_novelty:
                below.append(source)
                images.give_up(source.job.name)
                continue
            file = source.job.source
            images.keep(source.job.name, new.image, {
                "file": source.job.name, "source": "" if from_noise else name_of(file), "seed": str(seed),
                **maker.columns, **new.columns, "novelty": f"{novelty:.4f}", "nearest": name_of(nearest),
                "ssim": "" if from_noise else f"{similarity(new.image, read_image(file)[0]):.4f}"}, new.mask)
        pending = below
        if not pending:
            break
    images.save_progress()


def make_images(jobs: Sequence[Job], maker: ImageMaker, meter: NoveltyMeter, images: ImageSet, *, batch_size: int,
                from_noise: bool, min_novelty: float = 0.0) -> float:
    """Make all images that are not there yet. Returns the seconds it took. Ctrl-C says what is kept.

    Process k of N makes every N-th batch, from batch k on. Afterwards the images know what all of them made.
    """
    started, done = time.monotonic(), 0
    try:
        with tqdm(total=len(jobs), unit="image", disable=None) as bar:
            for number, batch in enumerate(read_batches(jobs, batch_size, maker.resolution, maker.multiple)):
                own = number % torchrun.size() == torchrun.rank()
                if own and not all(images.has(source.job.name) for source in batch):  # whole batches: see --batch-size
                    make_batch(batch, maker, meter, images, min_novelty, from_noise)
                bar.update(len(batch))
                before, done = done, done + len(batch)
                if bar.disable and (done // LOG_IMAGES > before // LOG_IMAGES or done == len(jobs)):
                    print(f"image {done} of {len(jobs)}", flush=True)  # the output is not a terminal
        for rows in processes.gather(images.rows):
            images.take_in(rows)
    except KeyboardInterrupt:
        images.read_progress()
        kept = sum(images.has(job.name) for job in jobs)
        raise KeyboardInterrupt(f"{kept} of {len(jobs)} images are kept; the same command with --resume goes on"
                                if kept else "no image was finished") from None
    return time.monotonic() - started


def save_preview(folder: Path, images: ImageSet, rows: Sequence[Row], jobs: Sequence[Job], maker: ImageMaker) -> None:
    """Draw the first sources and what was made of them."""
    source_of = {job.name: job.source for job in jobs}
    save_pairs(folder / f"preview-{images.out.name}.png",
               [Pair(source_of[row["file"]], images.partial / row["file"], float(row["novelty"]))
                for row in rows[:PAIRS_SHOWN]], maker.label, maker.keeps_places)


def save_extremes(folder: Path, images: ImageSet, rows: Sequence[Row], compared: Sequence[Path]) -> None:
    """Draw the least and the most novel images, each beside the real image that is nearest to it."""
    named = {name_of(file): file for file in compared}
    save_novelty_picture(folder / f"novelty-{images.out.name}.png",
                         [(images.partial / row["file"], float(row["novelty"]), named[row["nearest"]])
                          for row in rows])
