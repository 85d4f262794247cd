"""What every training script does before its loop (open data and model) and after it (write what was learned)."""
import json
from dataclasses import dataclass
from pathlib import Path

import torch

from . import run
from .data import encode_images, read_batches, save_image, to_image
from .files import UserError, load_tensors, sha256
from .generate import generate
from .report import image_grid, save_loss_plot
from .split import SEEN, load_split, part_files, refuse_leak
from .text import contains
from .train import adapt, write_log

# Arguments that a checkpoint depends on: resuming with others would mix two runs.
SETTINGS = ("prompt", "token", "resolution", "crop", "iterations", "batch_size", "lr", "seed", "rank", "alpha", "full",
            "gradient_checkpointing", "compile")
PREVIEW_IMAGES, PREVIEW_STRENGTH, PREVIEW_STEPS = 6, 0.4, 12


@dataclass
class Stage:
    """One category's images and model, ready for training."""
    name: str  # "ti", "lora" or "full"
    args: object
    folder: Path
    sd: object
    files: dict  # "train" and "val" -> paths
    posteriors: dict  # "train" and "val" -> [(mean, logvar), ..]
    resolution: int | None
    seen: list  # sha256 of the training images
    split: dict
    embedding_sha256: str | None = None

    @property
    def metadata(self):
        """What an adapter's file says of its training, beside its tensors."""
        return {SEEN: json.dumps(self.seen), "prompt": self.args.prompt, "weights_sha256": self.sd.sha256}


def open_stage(name, args, dtype=None):
    """Split, weights, recipe and latents for `args`; everything frozen. Arguments left open are filled in."""
    if not contains(args.prompt, args.token):
        raise UserError(f"The prompt {args.prompt!r} does not contain the token {args.token!r}: nothing could be learned.")
    folder = run.run_folder(args.data, args.out)
    split = load_split(run.split_file(args.data), [args.data], args.split)
    files = {part: part_files(split, args.data, part) for part in ("train", "val")}
    sd = run.open_model(args, run.read_run(folder) if name != "ti" else None, dtype)
    chosen = run.from_recipe(sd, f"train_{name}", lr=args.lr, resolution=args.resolution, crop=args.crop)
    args.lr = run.LEARNING_RATES[name] if chosen["lr"] is None else chosen["lr"]
    args.resolution = chosen["resolution"] or sd.resolution
    args.crop = chosen["crop"] or "none"
    resolution, crop = run.pixels(args.resolution), run.pixels(args.crop)
    side = (f"{resolution} px" if resolution else "their own size") + (f", in crops of {crop} px" if crop else "")
    print(f"{len(files['train'])} training images of {args.data} at {side}, {len(files['val'])} held out")
    posteriors = {part: encode_images(sd, files[part], resolution) for part in files}
    sd.unet.gradient_checkpointing = args.gradient_checkpointing
    if args.compile:
        sd.unet.compile()
    return Stage(name, args, folder, sd, files, posteriors, resolution, [sha256(file) for file in files["train"]], split)


def use_embedding(stage):
    """Load v_d* of the run folder, fixed, if an earlier stage learned one; say so either way."""
    file = stage.folder / "embedding.safetensors"
    if not file.is_file():
        print(f"no {file}: training on the plain prompt {stage.args.prompt!r} (python train_ti.py --data "
              f"{stage.args.data} --out {stage.folder} would learn its token first)")
        return
    tensors, metadata = load_tensors(file)
    token, = tensors
    refuse_leak(json.loads(metadata.get(SEEN, "[]")), stage.split, str(file))
    if not contains(stage.args.prompt, token):
        raise UserError(f"{file} holds {token!r}, which is not in the prompt {stage.args.prompt!r}: pass the --prompt "
                        "and --token that it was learned with.")
    stage.sd.load_embedding(file)
    stage.embedding_sha256 = sha256(file)
    print(f"v_d* from {file}")


def train_stage(stage, parameters, autocast_dtype=None):
    """Run the loop over `parameters`; its log, as `adapt` returns it."""
    args, folder, name, crop = stage.args, stage.folder, stage.name, run.pixels(stage.args.crop)
    settings = {k: v for k, v in vars(args).items() if k in SETTINGS}
    settings |= {"weights": stage.sd.sha256, "embedding": stage.embedding_sha256, "device": stage.sd.device.type,
                 "dtype": str(stage.sd.dtype), "autocast": str(autocast_dtype),
                 "images": stage.seen}
    return adapt(stage.sd, parameters, stage.posteriors["train"], stage.posteriors["val"], args.prompt,
                 iterations=args.iterations, batch_size=args.batch_size, lr=args.lr, seed=args.seed,
                 crop=max(1, crop // stage.sd.vae.factor) if crop else None, resume=args.resume, settings=settings,
                 checkpoint=folder / f"checkpoint-{name}.safetensors", autocast_dtype=autocast_dtype)


def close_stage(stage, output, losses, evaluations, seconds):
    """Log, loss curve and preview beside the adapter `output`, and the stage in run.json."""
    args, folder, name = stage.args, stage.folder, stage.name
    write_log(folder / f"log-{name}.csv", losses, evaluations)
    save_loss_plot(folder / f"loss-{name}.png", f"{name}, {args.data}", losses, evaluations)
    save_preview(folder / f"preview-{name}.png", stage)
    run.record(folder, name, args, stage.sd, seconds, embedding_sha256=stage.embedding_sha256)
    (folder / f"checkpoint-{name}.safetensors").unlink(missing_ok=True)
    print(f"wrote {output} after {args.iterations} iterations in {run.duration(seconds)}", end="")
    if evaluations:
        print(f"; held-out loss {evaluations[0]:.4f} -> {evaluations[args.iterations]:.4f}", end="")
    print()
    if name == "ti" and (stale := [f for f in ("lora", "full") if (folder / f"{f}.safetensors").is_file()]):
        print(f"{' and '.join(stale)}.safetensors in {folder} learned with the former embedding: run train_lora.py again")


def save_preview(path, stage):
    """Training images, images generated from them, and images from pure noise, as one grid."""
    sd, seed = stage.sd, stage.args.seed
    w = sd.recipe.get("sample", {}).get("guidance", run.GUIDANCE)
    settings = dict(prompt=stage.args.prompt, guidance=w, sampler="dpm", steps=PREVIEW_STEPS)
    rows = [("real", []), (f"generated from these, s = {PREVIEW_STRENGTH}, w = {w:g}", []), (f"from pure noise, w = {w:g}", [])]
    jobs = [(file, seed + i) for i, file in enumerate(stage.files["train"][:PREVIEW_IMAGES])]
    for batch in read_batches(jobs, PREVIEW_IMAGES, stage.resolution, sd.vae.factor):
        x, seeds = torch.stack([x for _, x, _, _ in batch]), [seed for (_, seed), *_ in batch]
        made = (x, generate(sd, x, seeds, strength=PREVIEW_STRENGTH, **settings),
                generate(sd, sd.latent_shape(x), seeds, strength=1.0, **settings))
        for (_, images), row in zip(rows, made):
            images += [to_image(image, size, mode) for image, (_, _, size, mode) in zip(row, batch)]
    save_image(path, image_grid(rows))
