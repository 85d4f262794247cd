"""The weights that a command asks for, the settings that come with them, and the adapters of a run."""
import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..data.split import SEEN
from ..models.stable_diffusion import StableDiffusion, load_stable_diffusion
from ..storage.errors import UserError
from ..storage.files import sha256
from ..storage.tensors import read_metadata
from ..weights.read import NANO, default_weights
from .devices import describe_dtype, pick_device, pick_dtype

ADAPTERS = {"embedding": "ti", "lora": "lora", "full": "full"}  # name of the file -> stage that wrote it

_kept: dict[tuple, StableDiffusion] | None = None  # the model of `keep_model`, by path, device and dtype


def open_model(weights: str | None, device: str, dtype: str, run: Mapping[str, Any] | None = None,
               kept: torch.dtype | None = None) -> StableDiffusion:
    """Load the weights that --weights or the run asks for. Say which, on what device, and why.

    device, dtype  as the arguments --device and --dtype
    run            run.json of the run, if there is one
    kept           dtype that the parameters are kept in, where it is not that of the arithmetic
    """
    chosen_device = pick_device(device)
    arithmetic = pick_dtype(dtype, chosen_device)
    says = describe_dtype(dtype, chosen_device, arithmetic)
    if kept not in (None, arithmetic):
        says = f"{says}; parameters kept in {str(kept).removeprefix('torch.')}"
    if weights:
        path, why = Path(weights), "--weights"
    elif run and "weights" in run:
        path, why = Path(run["weights"]), "as the run was trained on"
    else:
        path, why = default_weights()
    print(f"weights: {path} ({why}); {chosen_device}, {says}")
    if _kept is None or kept:
        return load_stable_diffusion(path, chosen_device, kept or arithmetic)
    key = (path.resolve(), chosen_device, arithmetic)
    sd = _kept.pop(key, None)
    if sd is None or any(file.stem == "full" for file in sd.adapter_files):  # its own parameters are lost
        _kept.clear()
        sd = load_stable_diffusion(path, chosen_device, arithmetic)
    sd.forget_adapters()
    _kept[key] = sd
    return sd


@contextlib.contextmanager
def keep_model() -> Iterator[None]:
    """Within the block, `open_model` gives one model again and again, without adapters, where it would read it anew.

    Only one caller at a time may use it.
    """
    global _kept
    _kept = {}
    try:
        yield
    finally:
        _kept = None


def from_recipe(sd: StableDiffusion, stage: str, **values: Any) -> dict[str, Any]:
    """Fill values that are None from the weights' recipe.json, and say so. What the recipe does not know stays None."""
    recipe = {**sd.recipe.get("all", {}), **sd.recipe.get(stage, {})}
    taken = {name: recipe[name] for name, value in values.items() if value is None and name in recipe}
    if taken:
        print("recipe.json of these weights sets " + ", ".join(f"{name} = {value}" for name, value in taken.items()))
    return {**values, **taken}


def pixels(setting: int | str | None) -> int | None:
    """--resolution or --crop as a number of pixels, or None for native and none."""
    return setting if isinstance(setting, int) else None


@dataclass(frozen=True)
class Trained:
    """What the adapters of a run were trained with."""
    prompt: str
    resolution: int | None  # shorter side in pixels, or None for the images' own size
    seen: frozenset[str]  # sha256 of the training images


def check_weights(sd: StableDiffusion, folder: Path, record: Mapping[str, Any]) -> None:
    """Warn of adapters that were trained on other weights. Raises UserError if these weights replaced theirs."""
    if record.get("weights_sha256") in (None, sd.sha256):
        return
    if sd.path.resolve() in (Path(record["weights"]), NANO.resolve()):
        raise UserError(f"{sd.path} holds other weights than those that {folder} was trained on, of an earlier "
                        "version: run train_ti.py and train_lora.py again.")
    print(f"warning: {folder} was trained on other weights, {record['weights']}: look at the images")


def load_adapters(sd: StableDiffusion, folder: Path, record: Mapping[str, Any], adapters: str) -> Trained:
    """Load what the run learned, as far as `adapters` (the argument --adapters) asks for it."""
    files = {name: folder / f"{name}.safetensors" for name in ADAPTERS}
    there = [name for name in files if files[name].is_file()]
    wanted = there if adapters == "all" else [] if adapters == "none" else adapters.split(",")
    if strange := set(wanted) - set(ADAPTERS):
        raise UserError(f"--adapters is all, none or some of {','.join(ADAPTERS)}, not {', '.join(sorted(strange))}.")
    if missing := [name for name in wanted if name not in there]:
        raise UserError(f"{folder} has no {missing[0]}.safetensors: it has {', '.join(there) or 'no adapters'}.")
    if {"lora", "full"} <= set(wanted):
        raise UserError(f"{folder} has both lora and full.safetensors: choose with --adapters embedding,lora or "
                        "embedding,full.")

    if wanted:
        check_weights(sd, folder, record)
    stages = record["stages"]
    embedding = sha256(files["embedding"]) if "embedding" in there else None
    loaders = {"full": sd.load_full, "embedding": sd.load_embedding, "lora": sd.load_lora}  # in this order
    for name, load in loaders.items():
        if name not in wanted:
            continue
        learned_with = stages.get(ADAPTERS[name], {}).get("embedding_sha256")
        if name != "embedding" and learned_with != embedding and (learned_with or adapters == "all"):
            raise UserError(f"{files[name]} was trained with another embedding than {files['embedding']} holds now: "
                            "run train_lora.py again, or leave it out with --adapters embedding.")
        load(files[name])
    print(f"adapters: {', '.join(wanted) or 'none'}")

    order = [name for name in ("lora", "full", "embedding") if name in wanted] or ["lora", "full", "embedding"]
    known = [stages[ADAPTERS[name]] for name in order if ADAPTERS[name] in stages]
    if not known:
        raise UserError(f"{folder / 'run.json'} does not say how {order[0]}.safetensors was trained: train it again, "
                        "or choose others by --adapters.")
    arguments = known[0]["arguments"]
    seen = {image for file in sd.adapter_files for image in json.loads(read_metadata(file).get(SEEN, "[]"))}
    return Trained(arguments["prompt"], pixels(arguments["resolution"]), frozenset(seen))
