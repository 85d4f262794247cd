"""StableDiffusion holds text encoder, UNet, VAE and noise schedule. load_stable_diffusion makes it from official files.

This is the one file below the paper that imports from it: it holds the paper's text encoder and LoRA.
"""
import contextlib
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .. import lora
from ..diffusion import alpha_bar_table
from ..storage.errors import UserError
from ..storage.tensors import load_tensors
from ..text import TextEncoder
from ..weights import keys
from ..weights.adapters import read_embedding, read_lora
from ..weights.configs import (
    SD15_TEXT,
    require_sd1_schedule,
    unet_arguments,
    vae_arguments,
)
from ..weights.read import OfficialFiles, read_weights, weights_sha256
from ..weights.strict import fill
from .unet import UNet
from .vae import VAE, Posterior


class StableDiffusion:
    """All models, frozen. Adapters come and go.

    The UNet computes in `dtype`, text encoder and VAE in float32 at least. Only `encode` and `decode` let the VAE
    compute in bfloat16. Adapters are kept in float32 at least, and compute as their layer does.
    """

    def __init__(self, text: TextEncoder, unet: UNet, vae: VAE, scheduler: Mapping[str, Any], path: str | Path,
                 recipe: Mapping[str, Any], device: torch.device | str, dtype: torch.dtype) -> None:
        self.device, self.dtype = torch.device(device), dtype
        self.fine_dtype = torch.promote_types(dtype, torch.float32)  # of text encoder, VAE, latents and adapters
        self.text = text.to(self.device, self.fine_dtype).requires_grad_(False).eval()
        # A processor convolves a tenth faster where the channels of a pixel lie side by side.
        self.layout = torch.channels_last if self.device.type == "cpu" else torch.preserve_format
        self.unet = unet.to(self.device, dtype).to(memory_format=self.layout).requires_grad_(False).eval()
        self.vae = vae.to(self.device, self.fine_dtype).to(memory_format=self.layout).requires_grad_(False).eval()
        self.path, self.recipe = Path(path), recipe
        self.alpha_bar = alpha_bar_table(**{argument: scheduler[key] for argument, key in (
            ("T", "num_train_timesteps"), ("beta_start", "beta_start"), ("beta_end", "beta_end"),
            ("schedule", "beta_schedule")) if key in scheduler})
        self.steps_offset = scheduler.get("steps_offset", 1)
        self.adapter_files: list[Path] = []  # what was loaded on top of the weights, in this order
        self.lora_file: Path | None = None  # the one of them that `unload_lora` takes off

    @property
    def resolution(self) -> int:
        """The side in pixels that the model was made for."""
        return self.unet.sample_size * self.vae.factor

    def latent_shape(self, x: Tensor) -> tuple[int, ...]:
        """(C, h, w) of the latents of images x (B, 3, H, W)."""
        return (self.unet.conv_in.in_channels, *(side // self.vae.factor for side in x.shape[2:]))

    def encode(self, x: Tensor) -> Posterior:
        """E(x) of images x (B, 3, H, W) in [-1, 1], for sampling."""
        with self._coarse():
            posterior = self.vae.encode(x.to(self.device, self.fine_dtype))
        return Posterior(*(part.to(self.fine_dtype) for part in posterior))

    def decode(self, z: Tensor) -> Tensor:
        """D(z) of latents z (B, C, h, w), scaled as the UNet sees them -> (B, 3, H, W), about [-1, 1]."""
        with self._coarse():
            return self.vae.decode(z / self.vae.scaling_factor).to(self.fine_dtype)

    def _coarse(self) -> torch.autocast:
        """bfloat16 where the UNet has it: 0.2 gray levels of 255 of error. In float16 the VAE could overflow."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def contexts(self, prompt: str, n: int, uncond: str = "adapted") -> tuple[Tensor, Tensor]:
        """(tau(y), the context of no prompt) for n images, (n, length, width) each. `uncond` is that of `generate`."""
        with self.without_adapters(uncond == "base"):
            empty = self.text.encode([""]).expand(n, -1, -1)
        return self.text.encode([prompt]).expand(n, -1, -1), empty

    @functools.cached_property
    def sha256(self) -> str:
        """One hash over all weight files, read once."""
        return weights_sha256(self.path)

    def load_embedding(self, file: str | Path) -> str:
        """Put v_d of an embedding file in the place of its token. Returns the token."""
        token, v_d = read_embedding(Path(file))
        self.text.set_vectors(token, v_d).requires_grad_(False)
        self.adapter_files.append(Path(file))
        return token

    def load_lora(self, file: str | Path, scale: float = 1.0) -> None:
        """Adapt the layers that the file names (kohya, diffusers or PEFT). An earlier LoRA is removed first."""
        self.unload_lora()
        for layer in lora.wrap(self, read_lora(Path(file), lora.linear_layers(self))).values():
            layer.multiplier = scale
            layer.requires_grad_(False)
        self.lora_file = Path(file)
        self.adapter_files.append(self.lora_file)

    def unload_lora(self) -> None:
        """Put the original layers back."""
        lora.remove(self)
        if self.lora_file:
            self.adapter_files.remove(self.lora_file)
            self.lora_file = None

    def forget_adapters(self) -> None:
        """Be as after loading: without LoRA and learned tokens, frozen. Parameters that were replaced stay replaced."""
        self.unload_lora()
        self.text.vectors.clear()
        self.adapter_files.clear()
        self.unet.gradient_checkpointing = False

    def load_full(self, file: str | Path) -> None:
        """Replace the parameters of UNet and text encoder by those of a full adaptation."""
        tensors, _ = load_tensors(file)
        for part, model in (("unet.", self.unet), ("text_encoder.", self.text.model)):
            fill(model, {k.removeprefix(part): v for k, v in tensors.items() if k.startswith(part)}, f"{file} {part}")
        self.unet.to(self.device, self.dtype).to(memory_format=self.layout).requires_grad_(False)
        self.text.to(self.device, self.fine_dtype).requires_grad_(False)
        self.adapter_files.append(Path(file))

    @contextlib.contextmanager
    def without_adapters(self, active: bool = True) -> Iterator[None]:
        """Let LoRA layers act as their base layers within the block. A full adaptation stays.

        With `active` False, change nothing.
        """
        layers = [m for model in (self.unet, self.text) for m in model.modules() if isinstance(m, lora.LoRALinear)]
        before = [layer.multiplier for layer in layers]
        for layer in layers if active else ():
            layer.multiplier = 0.0
        try:
            yield
        finally:
            for layer, multiplier in zip(layers, before):
                layer.multiplier = multiplier


def load_stable_diffusion(path: str | Path, device: torch.device | str = "cpu",
                          dtype: torch.dtype = torch.float32) -> StableDiffusion:
    """Load a diffusers folder or a single CompVis .safetensors file.

    path    folder or file, for example weights/nano
    device  where the models compute
    dtype   of the UNet; StableDiffusion says in what the others compute

    Raises UserError if a file is missing, is a pickle, or does not hold exactly the tensors that its config asks for.
    """
    path = Path(path)
    files = read_weights(path)
    require_sd1_schedule(files.scheduler, path)
    unet, vae, text = build_models(files, path)
    fill(unet, keys.unet_names(files, unet), path / "unet")
    fill(vae, keys.vae_names(files, vae), path / "vae")
    fill(text.model, keys.text_names(files, text.model), path / "text_encoder")
    return StableDiffusion(text, unet, vae, files.scheduler, path, files.recipe, device, dtype)


def build_models(files: OfficialFiles, path: Path) -> tuple[UNet, VAE, TextEncoder]:
    """Models of the sizes that the configs ask for, not filled yet."""
    unet = build(UNet, **unet_arguments(files.unet_config, path / "unet"))
    vae = build(VAE, **vae_arguments(files.vae_config, path / "vae"))
    if unet.conv_in.in_channels != vae.post_quant_conv.in_channels:
        raise UserError(f"{path} has a UNet of {unet.conv_in.in_channels} input channels (an inpainting model?) for "
                        f"latents of {vae.post_quant_conv.in_channels}: only text-to-image models are implemented.")
    if not any((files.tokenizer / name).is_file() for name in ("vocab.json", "tokenizer.json")):
        raise UserError(f"{files.tokenizer} has neither vocab.json nor tokenizer.json: fetch the tokenizer's files.")
    tokenizer = CLIPTokenizer.from_pretrained(files.tokenizer, local_files_only=True)
    return unet, vae, TextEncoder(tokenizer, CLIPTextModel(CLIPTextConfig.from_dict(files.text_config or SD15_TEXT)))


def build(model_class: type[nn.Module], **sizes: Any) -> Any:
    """A model without memory for its parameters. `fill` gives it both."""
    with torch.device("meta"):
        return model_class(**sizes)
