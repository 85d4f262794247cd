"""What users would run otherwise, in its own form: diffusers with peft's LoRA, and pytorch-fid.

    pip install diffusers peft pytorch-fid
"""
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionImg2ImgPipeline, UNet2DConditionModel
from peft import LoraConfig, inject_adapter_in_model
from PIL import Image
from pytorch_fid import inception
from pytorch_fid.fid_score import calculate_fid_given_paths
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from stablesdg.diffusion import BETA_END, BETA_START
from stablesdg.weights.configs import SD15_TEXT

UNET_LAYERS = ["to_q", "to_k", "to_v", "to_out.0"]
TEXT_LAYERS = ["q_proj", "k_proj", "v_proj", "out_proj"]
WIDTHS: Any = (320, 640, 1280, 1280)  # of the UNet, and of the VAE
VAE_WIDTHS: Any = (128, 256, 512, 512)
CLASSES = 1008  # of the layer that FID leaves out


def open_pipeline(weights: Path, device: torch.device, dtype: torch.dtype, rank: int | None) -> Any:
    """diffusers' image-to-image pipeline with DDIM. With a rank, peft adapts all its attention layers."""
    pipe: Any = StableDiffusionImg2ImgPipeline.from_pretrained(weights, safety_checker=None,
                                                               requires_safety_checker=False, dtype=dtype)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    return prepare(pipe.to(device), rank)


def prepare(pipe: Any, rank: int | None) -> Any:
    """Freeze the models and, with a rank, adapt their attention layers."""
    pipe.set_progress_bar_config(disable=True)
    for model, layers in ((pipe.unet, UNET_LAYERS), (pipe.text_encoder, TEXT_LAYERS), (pipe.vae, None)):
        model.requires_grad_(False)
        if rank and layers:
            inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian",
                                               target_modules=layers), model)
    return pipe


def lora_step(pipe: Any, x: Tensor, prompt: str) -> Callable[[], None]:
    """One step of train_dreambooth_lora.py --train_text_encoder: loss, gradients, clip, AdamW."""
    parameters = [p for model in (pipe.unet, pipe.text_encoder) for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=1e-4)
    ids = token_numbers(pipe, [prompt] * len(x))

    def step() -> None:
        diffusion_loss(pipe, x, ids).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()

    return step


def embedding_step(pipe: Any, x: Tensor, prompt: str) -> Callable[[], None]:
    """One step of textual_inversion.py: AdamW on the whole embedding table, whose other rows are then put back.

    The token to learn is the prompt's last one.
    """
    table = pipe.text_encoder.get_input_embeddings().weight.requires_grad_()
    optimiser, before = torch.optim.AdamW([table], lr=5e-4), table.detach().clone()
    ids = token_numbers(pipe, [prompt] * len(x))
    others = torch.ones(len(table), dtype=torch.bool)
    others[pipe.tokenizer(prompt).input_ids[-2]] = False

    def step() -> None:
        diffusion_loss(pipe, x, ids).backward()
        optimiser.step()
        optimiser.zero_grad()
        with torch.no_grad():
            table[others] = before[others]

    return step


def token_numbers(pipe: Any, prompts: list[str]) -> Tensor:
    """(B, length)."""
    return pipe.tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids


def diffusion_loss(pipe: Any, x: Tensor, ids: Tensor) -> Tensor:
    """The loss of both training scripts: encode images and prompts, noise, denoise."""
    latents = pipe.vae.encode(x).latent_dist.sample() * pipe.vae.config.scaling_factor
    noise = torch.randn_like(latents)
    t = torch.randint(0, pipe.scheduler.config.num_train_timesteps, (len(x),), device=x.device)
    context = pipe.text_encoder(ids.to(x.device), return_dict=False)[0]
    noisy = pipe.scheduler.add_noise(latents, noise, t)
    return F.mse_loss(pipe.unet(noisy, t, context, return_dict=False)[0].float(), noise.float())


def image_to_image(pipe: Any, images: Sequence[Image.Image], prompt: str, strength: float, guidance: float, steps: int,
                   ) -> Callable[[], Any]:
    """Images from images and one prompt, each with a generator of its own."""
    def generate() -> Any:
        return pipe(prompt=[prompt] * len(images), image=list(images), strength=strength, guidance_scale=guidance,
                    num_inference_steps=steps,
                    generator=[torch.Generator().manual_seed(seed) for seed in range(len(images))]).images

    return generate


def fid(folders: tuple[Path, Path], state: Mapping[str, Tensor], device: torch.device) -> Callable[[], float]:
    """pytorch-fid as its command line runs it, on these weights of Inception up to pool3."""
    whole = {**state, "fc.weight": torch.zeros(CLASSES, 2048), "fc.bias": torch.zeros(CLASSES)}
    inception.load_state_dict_from_url = lambda *args, **kwargs: whole

    def distance() -> float:
        return calculate_fid_given_paths([str(folder) for folder in folders], 50, device, 2048, num_workers=0)

    return distance


def random_pipeline(tokenizer: Path, device: torch.device, dtype: torch.dtype, rank: int | None) -> Any:
    """A full-size Stable Diffusion v1.5 with random weights. Only its speed means anything."""
    levels = len(WIDTHS)
    parts: dict[str, Any] = dict(
        vae=AutoencoderKL(block_out_channels=VAE_WIDTHS, layers_per_block=2, latent_channels=4,
                          down_block_types=("DownEncoderBlock2D",) * levels,  # pyright: ignore[reportArgumentType]
                          up_block_types=("UpDecoderBlock2D",) * levels),  # pyright: ignore[reportArgumentType]
        unet=UNet2DConditionModel(sample_size=64, cross_attention_dim=768, block_out_channels=WIDTHS),
        text_encoder=CLIPTextModel(CLIPTextConfig.from_dict(SD15_TEXT)),
        tokenizer=CLIPTokenizer.from_pretrained(tokenizer, local_files_only=True),
        scheduler=DDIMScheduler(beta_start=BETA_START, beta_end=BETA_END, beta_schedule="scaled_linear",
                                clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None, feature_extractor=None)
    pipe: Any = StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
    return prepare(pipe.to(device, dtype), rank)
