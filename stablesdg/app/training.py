"""What surrounds the training loop: settings resolved, data and model opened, log and record written."""
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from ..data.split import SEEN, Split, load_split, part_files, refuse_leak, surfaces_of
from ..lora import LoRALinear
from ..models.encode import encode_images
from ..models.stable_diffusion import StableDiffusion
from ..models.vae import Posterior
from ..report.pictures import describe_change, save_loss_plot
from ..storage.checkpoint import Checkpoint
from ..storage.errors import UserError
from ..storage.files import sha256, write_csv
from ..storage.settings import changed_settings
from ..storage.tensors import read_metadata, save_tensors
from ..storage.torchrun import by_itself, is_first
from ..text import contains
from ..train import HELD_OUT_DRAWS, TrainingLog, adapt
from ..weights.adapters import Factors, LayerName, read_embedding, save_lora
from ..weights.read import weights_sha256
from . import processes
from .command_line import duration
from .devices import peak_memory, pick_dtype
from .interrupt import stop_when_asked
from .model import from_recipe, load_adapters, open_model, pixels
from .paths import run_folder, split_file
from .preview import draw_preview
from .runs import read_run, record_training

# Settings that a checkpoint depends on: resuming with others would mix two runs.
CHECKPOINT_SETTINGS = ("prompt", "token", "resolution", "crop", "iterations", "batch_size", "lr", "seed", "rank",
                       "alpha", "full", "gradient_checkpointing", "compile")
# A finished adapter does not depend on how its memory was saved, and its stage says whether it is a full adaptation.
RESULT_SETTINGS = tuple(name for name in CHECKPOINT_SETTINGS
                        if name not in ("full", "gradient_checkpointing", "compile"))
LOOP_VERSION = 5  # of the arithmetic of a step; a checkpoint of another cannot end with the same bytes


@dataclass(frozen=True)
class TrainingSettings:
    """The arguments of a training script. `resolve` fills in what was left open."""
    data: Path  # folder of the category
    weights: str | None
    prompt: str
    token: str
    resolution: int | str | None  # shorter side in pixels, or "native"
    crop: int | str | None  # side in pixels, or "none"
    split: str | None
    iterations: int
    batch_size: int
    lr: float | None
    gradient_checkpointing: bool
    compile: bool
    no_preview: bool
    seed: int
    device: str
    dtype: str
    out: Path | None
    resume: bool
    rank: int | None = None
    alpha: float | None = None
    full: bool | None = None

    @property
    def folder(self) -> Path:
        """The run folder."""
        return run_folder(self.data, self.out)

    def as_arguments(self) -> dict[str, Any]:
        """For run.json: a setting that the stage does not have is left out."""
        return {name: value for name, value in vars(self).items() if self.rank or name not in ("rank", "alpha", "full")}

    def resolve(self, sd: StableDiffusion, stage: str, learning_rate: float) -> "TrainingSettings":
        """Take what was left open from the weights' recipe, else from the paper and the model."""
        chosen = from_recipe(sd, f"train_{stage}", lr=self.lr, resolution=self.resolution, crop=self.crop)
        return dataclasses.replace(self, lr=learning_rate if chosen["lr"] is None else chosen["lr"],
                                   resolution=chosen["resolution"] or sd.resolution, crop=chosen["crop"] or "none")


@dataclass(frozen=True)
class TrainingStage:
    """One category's images and model, ready for training."""
    name: str  # "ti", "lora" or "full"
    settings: TrainingSettings  # resolved
    lr: float  # Adam's learning rate
    resolution: int | None  # shorter side in pixels, or None for the images' own size
    crop: int | None  # side in pixels, or None for whole images
    sd: StableDiffusion
    training_files: list[Path]
    training: list[Posterior]
    held_out: list[Posterior]
    held_out_surfaces: list[str]  # of each of these images
    seen: list[str]  # sha256 of the training images
    embedding_sha256: str | None  # of the v_d* that is loaded
    autocast_dtype: torch.dtype | None  # of the arithmetic, where it is not that of the parameters

    @property
    def metadata(self) -> dict[str, str]:
        """What an adapter's file says of its training, beside its tensors."""
        return {SEEN: json.dumps(self.seen), "prompt": self.settings.prompt, "weights_sha256": self.sd.sha256}

    @property
    def checkpoint_file(self) -> Path:
        """Where the loop saves its progress."""
        return self.settings.folder / f"checkpoint-{self.name}.safetensors"


def is_finished(settings: TrainingSettings, stage: str, output: str) -> bool:
    """Whether --resume has nothing left to do: the stage is recorded, its adapter is there, and there is no checkpoint.

    Raises UserError if it was finished with other settings or images than those given now.
    """
    folder = settings.folder
    record, adapter = read_run(folder), folder / f"{output}.safetensors"
    finished = record.get("stages", {}).get(stage)
    if not (settings.resume and finished and adapter.is_file()
            and not (folder / f"checkpoint-{stage}.safetensors").is_file()):
        return False
    before = finished["arguments"]
    asked = {name: getattr(settings, name) for name in RESULT_SETTINGS}
    changed = [f"--{c.replace('_', '-')}" for c in
               changed_settings(before, {k: v for k, v in asked.items() if v is not None and k in before})]
    weights = Path(settings.weights or record["weights"])
    if weights.exists() and finished.get("weights_sha256") != weights_sha256(weights):
        changed.append(f"{record['weights']} held other weights" if weights.resolve() == Path(record["weights"])
                       else f"--weights was {record['weights']}")
    embedding = folder / "embedding.safetensors"
    if stage != "ti" and finished.get("embedding_sha256") != (sha256(embedding) if embedding.is_file() else None):
        changed.append(f"{embedding} was another")
    seen, images = read_metadata(adapter).get(SEEN), part_files(open_split(settings), settings.data, "train")
    if seen and sorted(json.loads(seen)) != sorted(map(sha256, images)):
        changed.append("the training images were others")
    if changed:
        raise UserError(f"{adapter} is finished, with other settings ({'; '.join(changed)}): leave out --resume to "
                        "train it again.")
    print(f"{adapter} is already finished; leave out --resume to train it again")
    if is_first() and not settings.no_preview and not (folder / f"preview-{stage}.png").is_file():
        with by_itself():
            draw_missing_preview(settings, stage, output, record, images)
    return True


def open_split(settings: TrainingSettings) -> Split:
    """The split of the data set. Of many processes the first one looks for it, or makes it."""
    with processes.first_alone():
        return load_split(split_file(settings.data), [settings.data], settings.split)


def open_stage(name: str, settings: TrainingSettings, learning_rate: float) -> TrainingStage:
    """Open split, weights, recipe and latents. A stage after TI gets v_d* of the run, too. Everything is frozen.

    A full adaptation keeps all parameters in float32, whatever it computes in.
    """
    if not contains(settings.prompt, settings.token):
        raise UserError(f"The prompt {settings.prompt!r} does not contain the token {settings.token!r}: nothing could "
                        "be learned.")
    split = open_split(settings)
    files = {part: part_files(split, settings.data, part) for part in ("train", "val")}
    run = read_run(settings.folder) if name != "ti" else None
    sd = open_model(settings.weights, settings.device, settings.dtype, run, torch.float32 if settings.full else None)
    if sd.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(sd.device)
    arithmetic = pick_dtype(settings.dtype, sd.device) if settings.full else sd.dtype
    settings = settings.resolve(sd, name, learning_rate)
    resolution, crop = pixels(settings.resolution), pixels(settings.crop)
    side = (f"{resolution} px" if resolution else "their own size") + (f", in crops of {crop} px" if crop else "")
    print(f"{len(files['train'])} training images of {settings.data} at {side}, {len(files['val'])} held out")
    posteriors = {part: processes.in_shares(files[part], lambda own: encode_images(sd, own, resolution))
                  for part in files}
    sd.unet.gradient_checkpointing = settings.gradient_checkpointing
    if settings.compile:
        sd.unet.compile()
    embedding = load_learned_embedding(sd, settings, split) if name != "ti" else None
    return TrainingStage(name, settings, settings.lr or learning_rate, resolution, crop, sd, files["train"],
                         posteriors["train"], posteriors["val"], surfaces_of(split, files["val"]),
                         [sha256(file) for file in files["train"]], embedding,
                         None if arithmetic == sd.dtype else arithmetic)


def load_learned_embedding(sd: StableDiffusion, settings: TrainingSettings, split: Split) -> str | None:
    """Load v_d* of the run folder, fixed, if an earlier stage learned one. Returns the file's sha256."""
    file = settings.folder / "embedding.safetensors"
    if not file.is_file():
        print(f"no {file}: training on the plain prompt {settings.prompt!r} (python train_ti.py --data "
              f"{settings.data} --out {settings.folder} would learn its token first)")
        return None
    token, _ = read_embedding(file)
    said = read_metadata(file)
    refuse_leak(json.loads(said.get(SEEN, "[]")), split, str(file))
    if said.get("weights_sha256") not in (None, sd.sha256):
        raise UserError(f"{file} was learned on other weights than {sd.path} holds: run train_ti.py again, or pass the "
                        "--weights that it was learned on.")
    if not contains(settings.prompt, token):
        raise UserError(f"{file} holds {token!r}, which is not in the prompt {settings.prompt!r}: pass the --prompt "
                        "and --token that it was learned with.")
    sd.load_embedding(file)
    print(f"v_d* from {file}")
    return sha256(file)


def train_stage(stage: TrainingStage, parameters: dict[str, nn.Parameter]) -> TrainingLog:
    """Run the loop of train.py over `parameters`. Ctrl-C and SIGTERM save first, and say after how many iterations."""
    settings, crop, batch_size = stage.settings, stage.crop, stage.settings.batch_size
    depends_on = {name: getattr(settings, name) for name in CHECKPOINT_SETTINGS}
    depends_on |= {"loop": LOOP_VERSION, "weights": stage.sd.sha256, "embedding": stage.embedding_sha256,
                   "device": stage.sd.device.type, "dtype": str(stage.sd.dtype), "autocast": str(stage.autocast_dtype),
                   "images": stage.seen}
    before = written_at(stage.checkpoint_file)
    try:
        with stop_when_asked() as asked_to_stop:
            return adapt(stage.sd, parameters, stage.training, stage.held_out, settings.prompt,
                         Checkpoint(stage.checkpoint_file, depends_on, writes=is_first()),
                         iterations=settings.iterations, batch_size=batch_size, lr=stage.lr,
                         seed=settings.seed, crop=max(1, crop // stage.sd.vae.factor) if crop else None,
                         resume=settings.resume, autocast_dtype=stage.autocast_dtype,
                         asked_to_stop=lambda: processes.any_of(asked_to_stop()),
                         part=processes.own_part(batch_size),
                         reduce=processes.sum_over_processes(parameters, batch_size))
    except KeyboardInterrupt:
        now = written_at(stage.checkpoint_file)
        if now is None or (now == before and not settings.resume):  # there is none, or it is that of an earlier run
            raise KeyboardInterrupt("nothing of this training is saved") from None
        done = len(json.loads(read_metadata(stage.checkpoint_file)["record"])["losses"])
        raise KeyboardInterrupt(f"saved after {done} iterations; the same command with --resume goes on") from None


def written_at(file: Path) -> int | None:
    """When a file was written, in nanoseconds, or None if there is none."""
    return file.stat().st_mtime_ns if file.is_file() else None


def save_adapter(stage: TrainingStage, output: Path, tensors: dict[str, Tensor]) -> None:
    """Write what was learned, beside what its file says of its training. The first of many processes does it."""
    if is_first():
        save_tensors(output, tensors, stage.metadata)


def save_lora_adapter(stage: TrainingStage, output: Path, layers: Mapping[LayerName, LoRALinear]) -> None:
    """Write A and B of all layers for other tools, too. The first of many processes does it."""
    if is_first():
        save_lora(output, {key: Factors(layer.A, layer.B, layer.alpha) for key, layer in layers.items()}, {
            **stage.metadata, "ss_base_model_version": "sd_v1", "ss_sd_model_hash": stage.sd.sha256,
            "modelspec.trigger_phrase": stage.settings.prompt})


def close_stage(stage: TrainingStage, output: Path, log: TrainingLog) -> None:
    """Write log and loss curve beside the adapter `output`, and the stage into run.json. Then draw the preview.

    The first of many processes does it.
    """
    if not is_first():
        return
    settings, folder, name = stage.settings, stage.settings.folder, stage.name
    write_log(folder / f"log-{name}.csv", log)
    n = len(stage.held_out)
    surfaces = [stage.held_out_surfaces[k % n] for k in range(HELD_OUT_DRAWS)] if n else []  # as fixed_noise_loss draws
    save_loss_plot(folder / f"loss-{name}.png", f"{name}, {settings.data}", log.losses, log.held_out, surfaces)
    record_training(folder, name, settings.as_arguments(), stage.sd, log.seconds, peak_memory(stage.sd.device),
                    stage.embedding_sha256)
    stage.checkpoint_file.unlink(missing_ok=True)
    print(f"wrote {output} after {settings.iterations} iterations in {duration(log.seconds)}"
          + (f"; {describe_change(log.held_out, surfaces)}" if log.held_out else ""))
    if name == "ti" and (stale := [f for f in ("lora", "full") if (folder / f"{f}.safetensors").is_file()]):
        print(f"{' and '.join(stale)}.safetensors in {folder} learned with the former embedding: run train_lora.py "
              "again")
    if not settings.no_preview:
        draw_preview(folder, name, stage.sd, stage.training_files, settings.prompt, stage.resolution, settings.seed)


def draw_missing_preview(settings: TrainingSettings, name: str, output: str, record: dict[str, Any],
                         images: Sequence[Path]) -> None:
    """Draw the preview of a stage that is finished and recorded, but was killed before its preview was drawn."""
    folder = settings.folder
    sd = open_model(settings.weights, settings.device, settings.dtype, record)
    wanted = dict.fromkeys(("embedding", output))  # one where the output is the embedding
    trained = load_adapters(sd, folder, record,
                            ",".join(adapter for adapter in wanted if (folder / f"{adapter}.safetensors").is_file()))
    draw_preview(folder, name, sd, images, settings.prompt, trained.resolution, settings.seed)


def write_log(path: Path, log: TrainingLog) -> None:
    """log.csv: iteration, loss of its batch, fixed-noise loss of held-out images where it was measured."""
    held_out = {step: f"{fmean(losses):.6f}" for step, losses in log.held_out.items()}
    rows = [(0, "", held_out[0])] if 0 in held_out else []
    rows += [(step, f"{loss:.6f}", held_out.get(step, ""))
             for step, loss in enumerate(log.losses, start=1)]
    write_csv(path, ("iteration", "loss", "held_out_loss"), rows)
