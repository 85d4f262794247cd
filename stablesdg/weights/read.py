"""Official files -> tensors, under the names that they have in the files. Nothing is renamed and nothing is unpickled.

Two layouts are read: the diffusers folder (whole or in shards, float32 or float16) and the single CompVis .safetensors.
"""
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ..storage.errors import UserError
from ..storage.files import read_json, read_optional_json, sha256
from ..storage.tensors import PICKLES, load_tensors, pickle_refusal

WEIGHTS = Path(__file__).resolve().parents[2] / "weights"
WORDS_OF_RECIPE = {"resolution": "native", "crop": "none"}  # in the place of a number
OFFICIAL, NANO = WEIGHTS / "stable-diffusion-v1-5", WEIGHTS / "nano"


@dataclass(frozen=True)
class OfficialFiles:
    """What the files hold. A single file has no configs: they are empty, and its sizes are Stable Diffusion v1.5's."""
    layout: str  # "diffusers" or "compvis"
    unet: dict[str, Tensor]
    vae: dict[str, Tensor]
    text: dict[str, Tensor]
    tokenizer: Path  # folder
    unet_config: dict[str, Any] = field(default_factory=dict)
    vae_config: dict[str, Any] = field(default_factory=dict)
    text_config: dict[str, Any] = field(default_factory=dict)
    scheduler: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)


def default_weights() -> tuple[Path, str]:
    """(path, why): the official weights if they are there, else the embedded prior."""
    if any((OFFICIAL / "unet").glob("*.safetensors")):
        return OFFICIAL, "found in weights/"
    return NANO, "the embedded prior, which is not Stable Diffusion; python -m stablesdg.download fetches that"


def read_weights(path: Path) -> OfficialFiles:
    """Read a folder or a single file. Raises UserError if something is missing, or is a pickle."""
    if not path.exists():
        raise UserError(f"There are no weights at {path}: python -m stablesdg.download fetches Stable Diffusion v1.5 "
                        f"into {OFFICIAL}, or pass --weights a folder or .safetensors file that you have.")
    if path.suffix in PICKLES:
        raise UserError(pickle_refusal(path))
    return read_single_file(path) if path.is_file() else read_folder(path)


def weights_sha256(path: Path) -> str:
    """One hash over all weight files of a folder, or of a single file."""
    files = [path] if path.is_file() else sorted(path.glob("*/*.safetensors"))
    lines = [f"{file.parent.name}/{file.name} {sha256(file)}" for file in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_folder(path: Path) -> OfficialFiles:
    """Read the official diffusers layout."""
    if not (path / "unet" / "config.json").is_file():
        raise UserError(f"{path} is not in the diffusers layout (no unet/config.json): pass the folder that holds "
                        "unet/, vae/, text_encoder/ and tokenizer/.")
    return OfficialFiles(
        layout="diffusers",
        unet=read_part(path / "unet", "diffusion_pytorch_model"), unet_config=read_json(path / "unet" / "config.json"),
        vae=read_part(path / "vae", "diffusion_pytorch_model"), vae_config=read_json(path / "vae" / "config.json"),
        text=read_part(path / "text_encoder", "model"), text_config=read_json(path / "text_encoder" / "config.json"),
        tokenizer=path / "tokenizer", scheduler=read_optional_json(path / "scheduler" / "scheduler_config.json"),
        recipe=read_recipe(path / "recipe.json"))


def read_recipe(file: Path) -> dict[str, Any]:
    """recipe.json, {stage: {setting: value}}, or {} if there is none. Raises UserError for anything else."""
    recipe = read_optional_json(file)
    for stage, settings in recipe.items():
        unusable = [name for name, value in settings.items() if not is_setting(name, value)
                    ] if isinstance(settings, dict) else ["settings"]
        if unusable:
            raise UserError(f"{file} has no usable {unusable[0]} for {stage}: restore it, or delete it to work "
                            "without.")
    return recipe


def is_setting(name: str, value: object) -> bool:
    """Whether a value of a recipe is a number of at least 0, numbers, or the word that may stand in its place."""
    numbers = value if isinstance(value, list) and value else [value]
    return (name in WORDS_OF_RECIPE and value == WORDS_OF_RECIPE[name]) or all(
        isinstance(one, int | float) and not isinstance(one, bool) and 0 <= one < float("inf") for one in numbers)


def read_part(folder: Path, stem: str) -> dict[str, Tensor]:
    """All tensors of one part: stem.safetensors, its fp16 variant, or the shards that an index lists."""
    for name in (f"{stem}.safetensors", f"{stem}.fp16.safetensors"):
        if (folder / name).is_file():
            return load_tensors(folder / name)[0]
    for name in (f"{stem}.safetensors.index.json", f"{stem}.safetensors.index.fp16.json"):
        if (folder / name).is_file():
            shards = sorted(set(read_json(folder / name)["weight_map"].values()))
            return {k: v for shard in shards for k, v in load_tensors(folder / shard)[0].items()}
    if pickles := [*folder.glob("*.bin"), *folder.glob("*.ckpt")]:
        raise UserError(pickle_refusal(pickles[0]))
    raise UserError(f"{folder} has no {stem}.safetensors: fetch it, for example with python -m stablesdg.download.")


def read_single_file(path: Path) -> OfficialFiles:
    """Read a CompVis-layout file of Stable Diffusion v1.5.

    Where a file has averaged copies of the UNet (EMA), these are taken: the diffusers folder holds them, too.
    """
    tokenizer = next((folder for folder in (path.parent / "tokenizer", OFFICIAL / "tokenizer") if folder.is_dir()),
                     None)
    if tokenizer is None:
        raise UserError("A single .safetensors file has no tokenizer: put vocab.json and merges.txt of Stable "
                        f"Diffusion into {path.parent / 'tokenizer'}, or run python -m stablesdg.download --tokenizer.")
    tensors, _ = load_tensors(path)

    def part(prefix: str) -> dict[str, Tensor]:
        return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

    unet = part("model.diffusion_model.")
    if any(key.startswith("model_ema.diffusion") for key in tensors):
        unet = {key: tensors["model_ema.diffusion_model" + key.replace(".", "")] for key in unet}
    vae = {key: value for key, value in part("first_stage_model.").items() if not key.startswith("loss.")}
    return OfficialFiles(layout="compvis", unet=unet, vae=vae, text=part("cond_stage_model.transformer."),
                         tokenizer=tokenizer)
