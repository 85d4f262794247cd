"""Run folders (runs/DATASET/CATEGORY) and what all command lines share. Imports nothing heavy at the top."""
import argparse
import ctypes
import os
import platform
import re
import sys
import time
from pathlib import Path

from .files import UserError, read_json, sha256, write_json

PROMPT, TOKEN = "A photo of <unknown>", "<unknown>"
RUNS = Path("runs")
LEARNING_RATES = {"ti": 5e-4, "lora": 1e-4, "full": 1e-4}  # Adam's; for the first two the paper's
GUIDANCE = 5.0  # w where neither the command line, a run nor a recipe says another


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default where there is one; where it depends on other things, the help text says on what."""

    def _get_help_string(self, action):
        return action.help if action.default is None or action.default is False else super()._get_help_string(action)


def parser(description, example):
    """An ArgumentParser whose help shows defaults and one command to copy. Flags must be written out."""
    return argparse.ArgumentParser(description=description, epilog=f"example: {example}", allow_abbrev=False,
                                   formatter_class=HelpFormatter)


def add_common(group):
    group.add_argument("--seed", type=seed, default=0, help="all randomness follows from it")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    group.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16", "float16"],
                       help="of the UNet's arithmetic; auto takes bfloat16 on GPUs and CPUs that compute in it, "
                            "float32 on others and on Apple GPUs")


def add_training(p, stage):
    """The arguments of train_ti.py and train_lora.py."""
    data = p.add_argument_group("data and model")
    data.add_argument("--data", required=True, help="folder of one category's images, for example neu/Pa")
    data.add_argument("--weights", help="diffusers folder or CompVis .safetensors (default: weights/"
                                        "stable-diffusion-v1-5 if it is there, else weights/nano)")
    data.add_argument("--prompt", default=PROMPT, help="y, the condition shared by all images of the category")
    data.add_argument("--token", default=TOKEN, help="the part of the prompt that stands for the category")
    data.add_argument("--resolution", type=resolution,
                      help="shorter side in pixels, or native (default: the recipe's, or the model's own)")
    data.add_argument("--crop", type=crop, help="train on random square crops of so many pixels, at the scale that "
                                                      "--resolution sets, or none (default: the recipe's, or none)")
    add_split(data)
    training = p.add_argument_group("training")
    training.add_argument("--iterations", type=positive, default=1000, help="optimiser steps")
    training.add_argument("--batch-size", type=positive, default=4, help="images a step")
    training.add_argument("--lr", type=rate,
                          help=f"Adam's learning rate (default: the recipe's, or {LEARNING_RATES[stage]:g})")
    training.add_argument("--gradient-checkpointing", action="store_true", help="less memory, a third more time")
    training.add_argument("--compile", action="store_true", help="torch.compile the UNet")
    add_common(p.add_argument_group("run"))
    p.add_argument("--out", type=Path, help="run folder (default: runs/DATASET/CATEGORY)")
    p.add_argument("--resume", action="store_true", help="continue from the last checkpoint")


def add_split(group):
    group.add_argument("--split", choices=["group", "random"],
                       help="keep images of one surface in one part, or split at random as the paper does (default: what "
                            "runs/DATASET/split.json has, or group)")


def resolution(text):
    """argparse type: a positive number of pixels or "native"."""
    return text if text == "native" else positive(text)


def crop(text):
    """argparse type: a positive number of pixels or "none"."""
    return text if text == "none" else positive(text)


def seed(text):
    """argparse type: what every generator of random numbers takes."""
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {2**32 - 1}")
    return value


def rate(text):
    """argparse type: a positive number."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def main(function):
    """Run a script's main(); turn what a user can mend into one sentence and exit code 1."""
    try:
        function()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except RuntimeError as error:
        if not re.search("out of memory|allocate memory", str(error)):
            raise
        print(f"error: not enough memory ({str(error).splitlines()[0]}): lower --batch-size or --resolution, train with "
              "--gradient-checkpointing, or for classify.py take a smaller --network.", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nstopped; commands that have --resume go on with it from what is finished", file=sys.stderr)
        sys.exit(130)


# ---- device and dtype, chosen once at the edge ------------------------------------------------------------------


def pick_device(name):
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {name} cannot be used here ({str(error).splitlines()[0]}): try --device auto.") from None
    if device.type == "cpu":
        keep_memory()
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # float32 means float32
    return device


def keep_memory():
    """Have glibc keep freed memory: fetching large blocks from the system anew costs a sixth of a training step on a CPU."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 2**27)):  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD; bytes
            libc.mallopt(option, value)


def pick_dtype(name, device):
    """bfloat16 on GPUs and CPUs that compute in it; on others it would only be emulated, slowly."""
    import torch

    if name != "auto":
        return getattr(torch, name)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu":
        fast = any(getattr(torch.cpu, test, bool)() for test in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
        return torch.bfloat16 if fast else torch.float32
    return torch.float32


def open_model(args, run=None, dtype=None):
    """Load the weights that the arguments or the run ask for; say which, on what, and why.

    `dtype` overrides the one that the parameters are kept in.
    """
    from .load import default_weights, load_stable_diffusion

    device = pick_device(args.device)
    arithmetic = pick_dtype(args.dtype, device)
    kept = dtype or arithmetic
    dtypes = dict.fromkeys(str(d).removeprefix("torch.") for d in (arithmetic, kept))
    if args.weights:
        path, why = args.weights, "--weights"
    elif run and "weights" in run:
        path, why = run["weights"], "as the run was trained on"
    else:
        path, why = default_weights()
    print(f"weights: {path} ({why}); {device}, {' arithmetic, parameters kept in '.join(dtypes)}")
    return load_stable_diffusion(path, device, kept)


def from_recipe(sd, stage, **values):
    """Fill arguments that are None from the weights' recipe.json (said aloud), else leave them None."""
    recipe = {**sd.recipe.get("all", {}), **sd.recipe.get(stage, {})}
    taken = {name: recipe[name] for name, value in values.items() if value is None and name in recipe}
    if taken:
        print("recipe.json of these weights sets " + ", ".join(f"{name} = {value}" for name, value in taken.items()))
    return {**values, **taken}


def duration(seconds):
    return f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.0f} seconds"


def pixels(setting):
    """--resolution or --crop as a number of pixels, or None for native and none."""
    return None if setting in ("native", "none") else setting


# ---- run folders ------------------------------------------------------------------------------------------------


def run_folder(data, out=None):
    """runs/DATASET/CATEGORY for the folder DATASET/CATEGORY."""
    data = Path(data).resolve()
    return Path(out) if out else RUNS / (data.parent.name or "data") / data.name


def split_file(data):
    """runs/DATASET/split.json for the category folder DATASET/CATEGORY: one split for all scripts, whatever --out."""
    return RUNS / (Path(data).resolve().parent.name or "data") / "split.json"


def already_finished(args, stage, output):
    """Whether --resume has nothing left to do: the stage is recorded, its output is there and no checkpoint is.

    Raises UserError if it was finished with other arguments than those given now.
    """
    folder = run_folder(args.data, args.out)
    recorded = read_run(folder).get("stages", {}).get(stage)
    if not (args.resume and recorded and (folder / f"{output}.safetensors").is_file()
            and not (folder / f"checkpoint-{stage}.safetensors").is_file()):
        return False
    before, chosen = recorded["arguments"], ("prompt", "token", "iterations", "batch_size", "lr", "resolution", "crop",
                                             "seed", "rank", "alpha")
    changed = [f"--{k.replace('_', '-')} was {before[k]}" for k in chosen
               if getattr(args, k, None) is not None and k in before and before[k] != getattr(args, k)]
    if args.weights and Path(args.weights).resolve() != Path(read_run(folder)["weights"]):
        changed.append(f"--weights was {read_run(folder)['weights']}")
    embedding = folder / "embedding.safetensors"
    if stage != "ti" and recorded.get("embedding_sha256") != (sha256(embedding) if embedding.is_file() else None):
        changed.append(f"{embedding} was another")
    if changed:
        raise UserError(f"{folder / output}.safetensors is finished, with other settings ({', '.join(changed)}): leave out "
                        "--resume to train it again.")
    print(f"{folder / output}.safetensors is already finished; leave out --resume to train it again")
    return True


def latest_run():
    """The run folder that was written to last and holds an adapter."""
    wanted = ("embedding.safetensors", "lora.safetensors", "full.safetensors")
    runs = [f.parent for f in RUNS.glob("**/run.json")
            if f.relative_to(RUNS).parts[0] != "benchmarks" and any((f.parent / name).is_file() for name in wanted)]
    if not runs:
        raise UserError("There is no run to sample from yet: first type, for example, python train_ti.py --data neu/Pa "
                        "and python train_lora.py --data neu/Pa.")
    return max(runs, key=lambda folder: (folder / "run.json").stat().st_mtime)


def read_run(folder):
    path = Path(folder) / "run.json"
    return read_json(path) if path.is_file() else {}


def require_run(folder):
    """run.json of a run folder; UserError if there is none."""
    record = read_run(folder)
    if not record:
        inside = sorted(f.parent.name for f in Path(folder).glob("*/run.json"))
        raise UserError(f"{folder} is not a run folder (no run.json): " + (
            f"pass one of those in it, --run {Path(folder) / inside[0]} for example." if inside else
            "train_ti.py and train_lora.py make one."))
    return record


def add_choice(folder, tuned):
    """Put tune.py's choice of s and w into run.json, where sample.py finds it."""
    write_json(Path(folder) / "run.json", {**read_run(folder), "tuned": tuned})


def record(folder, stage, args, sd, seconds, **more):
    """Add a stage to run.json: its arguments, seconds and versions. Training also sets what the run is based on."""
    import torch
    import transformers

    run = read_run(folder)
    if stage != "sample":
        run.pop("tuned", None)  # it was chosen with the former adapters
        run |= {"weights": str(Path(sd.path).resolve()), "weights_sha256": sd.sha256,
                "data": str(Path(args.data).resolve()), "split_sha256": sha256(split_file(args.data))}
    run.setdefault("stages", {})[stage] = {
        "arguments": {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()},
        "weights_sha256": sd.sha256, "seconds": round(seconds, 1), "finished": time.strftime("%Y-%m-%d %H:%M:%S"),
        "versions": {"python": sys.version.split()[0], "torch": torch.__version__,
                     "transformers": transformers.__version__}, **more}
    write_json(Path(folder) / "run.json", run)
