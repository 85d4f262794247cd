"""Writing a model in the official diffusers folder layout."""
import copy
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn
from transformers import CLIPTextModel

from ..storage.files import read_json, write_json
from ..storage.tensors import save_tensors

if TYPE_CHECKING:
    from ..models.stable_diffusion import StableDiffusion


def write_folder(sd: "StableDiffusion", folder: Path, unet_sizes: Mapping[str, Any], vae_sizes: Mapping[str, Any],
                 scheduler: Mapping[str, Any]) -> None:
    """Write sd's parts in float16 as diffusers' StableDiffusionPipeline.from_pretrained(folder) reads them."""
    levels = len(vae_sizes["block_out_channels"])
    write_json(folder / "unet" / "config.json", {"_class_name": "UNet2DConditionModel", **unet_sizes})
    write_json(folder / "vae" / "config.json", {
        "_class_name": "AutoencoderKL", "in_channels": 3, "out_channels": 3, **vae_sizes,
        "sample_size": unet_sizes["sample_size"] * 2 ** (levels - 1), "scaling_factor": sd.vae.scaling_factor,
        "down_block_types": ["DownEncoderBlock2D"] * levels, "up_block_types": ["UpDecoderBlock2D"] * levels})
    for part, model in (("unet", sd.unet), ("vae", sd.vae)):
        save_half(model, folder / part)
    save_half_text(sd.text.model, folder / "text_encoder")
    shutil.copytree(sd.text.tokenizer.name_or_path, folder / "tokenizer")
    write_json(folder / "scheduler" / "scheduler_config.json", {"_class_name": "DDIMScheduler", **scheduler})
    write_json(folder / "model_index.json", {
        "_class_name": "StableDiffusionPipeline", "feature_extractor": [None, None], "safety_checker": [None, None],
        "requires_safety_checker": False, "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]})


def save_half(model: nn.Module, folder: Path) -> None:
    """Write diffusion_pytorch_model.safetensors of a UNet or VAE in float16."""
    save_tensors(folder / "diffusion_pytorch_model.safetensors",
                 {name: value.half() for name, value in model.state_dict().items()})


def save_half_text(model: CLIPTextModel, folder: Path) -> None:
    """Write config.json and model.safetensors of a CLIPTextModel in float16. The model itself stays as it is.

    config.json still says float32, as the official one does. transformers computes in the dtype that it names, and
    diffusers' pipelines compute in the dtype of the text encoder.
    """
    half: Any = copy.deepcopy(model).half()
    half.save_pretrained(folder)
    config = folder / "config.json"
    write_json(config, {**read_json(config), "dtype": "float32"})
    (folder / "model.safetensors").chmod(0o644)  # it was written for its owner alone
