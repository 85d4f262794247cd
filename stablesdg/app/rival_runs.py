"""What surrounds a rival's training: it is recorded, and images are drawn and kept as sample.py does."""
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..data.generated import ImageSet, is_finished, list_jobs, require_own_folder
from ..data.split import SEEN, Split, load_split, part_files, refuse_leak, surfaces_of
from ..evaluate.features import load_nano_network
from ..evaluate.novelty import NoveltyMeter
from ..rivals.common import Training, fit
from ..storage.checkpoint import Checkpoint
from ..storage.errors import UserError
from ..storage.files import read_optional_json, sha256, write_json
from ..storage.settings import as_json, changed_settings
from ..storage.tensors import load_tensors, read_metadata, save_tensors
from .command_line import duration
from .devices import peak_memory
from .interrupt import stop_when_asked
from .makers import ImageMaker, from_pixels
from .paths import split_file
from .rivals import Opened, RivalSettings, open_rival
from .sampling import make_images, save_extremes, save_preview, say_novelty

MODEL, CHECKPOINT = "model.safetensors", "checkpoint.safetensors"
LARGEST_SIDE = 256  # pixels at which images are read for their size and mode


@dataclass(frozen=True)
class Trained:
    """What a training took."""
    steps: int
    seconds: float  # those of the preparation included
    memory: int | None  # at the peak, as devices.peak_memory gives it


def run(settings: RivalSettings) -> None:
    """Train a rival on the training part of its category, draw images, and write everything down."""
    require_own_folder(settings.out / "samples")
    split = load_split(split_file(settings.data), [settings.data], settings.split)
    files = part_files(split, settings.data, "train")
    opened = open_rival(settings, files)
    trained = train(settings, opened, split)
    seconds = draw_samples(settings, opened, files, split)
    record(settings, opened, trained, seconds)


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
                  "steps": opened.columns["steps"], "w": opened.columns["w"],
                  "truncation": settings.truncation, "device": opened.device.type,
                  "data": str(settings.data), "seen": sorted(seen)}
    if settings.resume and is_finished(out, depends_on):
        print(f"the images in {out} are already finished; leave out --resume to make them again")
        return read_optional_json(settings.out / "run.json").get("drawing_seconds", 0.0)

    def draw(x: Tensor, seeds: Sequence[int]) -> Tensor:
        return opened.rival.draw(seeds).float()

    maker = ImageMaker(from_pixels(draw), f"drawn by {settings.name}", columns=opened.columns,
                       resolution=opened.side or LARGEST_SIDE, multiple=1, depends_on=depends_on, seen=seen)
    jobs = list_jobs(files, settings.number, settings.seed)
    images = ImageSet(out, depends_on, settings.resume)
    meter = NoveltyMeter(load_nano_network(opened.device), files, surfaces_of(split, files))
    seconds = make_images(jobs, maker, meter, images, batch_size=settings.draw_batch, from_noise=True)
    rows = images.write_manifest(jobs)
    save_preview(settings.out, images, rows, jobs, maker)
    save_extremes(settings.out, images, rows, files)
    images.put_in_place()
    say_novelty(rows, out, seconds, "train for fewer --steps", "look at the preview, and train for longer")
    return round(seconds, 1)


def record(settings: RivalSettings, opened: Opened, trained: Trained, drawing_seconds: float) -> None:
    """run.json: settings, seconds, parameters, memory, and which images were seen."""
    write_json(settings.out / "run.json", {
        "rival": settings.name, "data": str(settings.data.resolve()),
        "arguments": {name: str(v) if isinstance(v, Path) else v for name, v in vars(settings).items()},
        "steps": trained.steps, "training_seconds": trained.seconds, "drawing_seconds": drawing_seconds,
        "parameters": opened.parameters, "peak_memory": trained.memory, "device": opened.device.type,
        "versions": {"python": sys.version.split()[0], "torch": torch.__version__},
        "finished": time.strftime("%Y-%m-%d %H:%M:%S"), SEEN: opened.depends_on["images"]})
