"""weights/ -> models. Strict: every tensor is accounted for by name, and nothing is unpickled.

Reads the official diffusers folder (whole or sharded, fp32 or fp16) and the single CompVis .safetensors file.
Keys are renamed in names.py alone.
"""
import contextlib
import functools
import hashlib
from pathlib import Path

import torch

from . import lora
from .diffusion import alpha_bar_table
from .files import UserError, load_tensors, pickle_refusal, read_json, sha256
from .names import compvis_unet_names, compvis_vae_names, from_compvis, rename_text, rename_vae
from .text import TextEncoder
from .unet import UNet
from .vae import VAE

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
OFFICIAL, NANO = WEIGHTS / "stable-diffusion-v1-5", WEIGHTS / "nano"

# Stable Diffusion v1.5's sizes are the defaults of UNet and VAE; this is its text encoder.
SD15_TEXT = dict(vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
                 num_attention_heads=12, max_position_embeddings=77, hidden_act="quick_gelu", layer_norm_eps=1e-5)

# What config.json may say: sizes we take, and settings of which only this value is implemented.
UNET_SIZES = ("in_channels", "out_channels", "block_out_channels", "layers_per_block", "attention_head_dim",
              "cross_attention_dim", "down_block_types", "up_block_types", "norm_num_groups", "sample_size")
UNET_ONLY = dict(act_fn="silu", downsample_padding=1, flip_sin_to_cos=True, freq_shift=0, norm_eps=1e-5,
                 mid_block_type="UNetMidBlock2DCrossAttn", mid_block_scale_factor=1, transformer_layers_per_block=1,
                 resnet_time_scale_shift="default", resnet_out_scale_factor=1.0, attention_type="default",
                 time_embedding_type="positional", conv_in_kernel=3, conv_out_kernel=3)
VAE_SIZES = ("in_channels", "out_channels", "latent_channels", "block_out_channels", "layers_per_block",
             "norm_num_groups", "scaling_factor", "mid_block_add_attention")
VAE_ONLY = dict(act_fn="silu", use_quant_conv=True, use_post_quant_conv=True)
# Of no effect on the result, whatever they say.
IGNORED = ("addition_embed_type_num_heads", "addition_time_embed_dim", "upcast_attention", "force_upcast", "sample_size")
BLOCK_TYPES = {"DownBlock2D", "CrossAttnDownBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"}

class StableDiffusion:
    """Text encoder, UNet, VAE and noise schedule, all frozen; adapters come and go.

    The UNet computes in `dtype`; text encoder, VAE and adapters in float32 at least.
    """

    def __init__(self, text, unet, vae, scheduler, path, recipe, device, dtype):
        self.device, self.dtype = torch.device(device), dtype
        self.fine_dtype = torch.promote_types(dtype, torch.float32)  # of text encoder, VAE, latents and adapters
        self.text = text.to(self.device, self.fine_dtype).requires_grad_(False).eval()
        self.unet = unet.to(self.device, dtype).requires_grad_(False).eval()
        self.vae = vae.to(self.device, self.fine_dtype).requires_grad_(False).eval()
        self.path, self.recipe = Path(path), recipe
        self.alpha_bar = alpha_bar_table(**{argument: scheduler[key] for argument, key in (
            ("T", "num_train_timesteps"), ("beta_start", "beta_start"), ("beta_end", "beta_end"),
            ("schedule", "beta_schedule")) if key in scheduler})
        self.steps_offset = scheduler.get("steps_offset", 1)
        self.adapter_files = []  # what was loaded on top of the weights, in this order

    @property
    def resolution(self):
        """The side in pixels that the model was made for."""
        return self.unet.sample_size * self.vae.factor

    def latent_shape(self, x):
        """(B, 4, h, w) of the latents of images x (B, 3, H, W)."""
        return (len(x), self.unet.conv_in.in_channels, *(side // self.vae.factor for side in x.shape[2:]))

    @functools.cached_property
    def sha256(self):
        """One hash over all weight files, read once."""
        files = [self.path] if self.path.is_file() else sorted(self.path.glob("*/*.safetensors"))
        lines = [f"{file.parent.name}/{file.name} {sha256(file)}" for file in files]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def load_lora(self, file, scale=1.0):
        """Wrap the layers that the file names (kohya, diffusers or PEFT); a former LoRA goes first."""
        self.unload_lora()
        for layer in lora.load(self, Path(file)).values():
            layer.multiplier = scale
            layer.requires_grad_(False)
        self.adapter_files.append(Path(file))

    def unload_lora(self):
        lora.remove(self)

    def load_embedding(self, file):
        """Set v_d for the token that the file's only key names, or its stem if the key is a tool's own word.

        Returns the token.
        """
        tensors, _ = load_tensors(file)
        if len(tensors) != 1:
            raise UserError(f"{file} holds {len(tensors)} tensors, but an embedding file has one: the vectors of a token.")
        (token, vectors), = tensors.items()
        if token in ("emb_params", "emp_params", "clip_l", "*"):
            token = Path(file).stem
        self.text.set_vectors(token, vectors if vectors.ndim == 2 else vectors[None]).requires_grad_(False)
        self.adapter_files.append(Path(file))
        return token

    def load_full(self, file):
        """Replace the parameters of UNet and text encoder by those of a full adaptation."""
        tensors, _ = load_tensors(file)
        for part, model in (("unet.", self.unet), ("text_encoder.", self.text.model)):
            load_strict(model, {k.removeprefix(part): v for k, v in tensors.items() if k.startswith(part)}, f"{file} {part}")
        self.unet.to(self.device, self.dtype).requires_grad_(False)
        self.text.to(self.device, self.fine_dtype).requires_grad_(False)
        self.adapter_files.append(Path(file))

    @contextlib.contextmanager
    def without_adapters(self, active=True):
        """Within the block, LoRA layers act as their base layers."""
        layers = [m for model in (self.unet, self.text) for m in model.modules() if isinstance(m, lora.LoRALinear)]
        before = [layer.multiplier for layer in layers]
        for layer in layers if active else ():
            layer.multiplier = 0
        try:
            yield
        finally:
            for layer, multiplier in zip(layers, before):
                layer.multiplier = multiplier


def default_weights():
    """(path, why): the official weights if they are there, else the embedded prior."""
    if any((OFFICIAL / "unet").glob("*.safetensors")):
        return OFFICIAL, "found in weights/"
    return NANO, "the embedded prior, which is not Stable Diffusion; python -m stablesdg.download fetches that"


def load_stable_diffusion(path, device="cpu", dtype=torch.float32):
    """Load a diffusers-layout folder or a single CompVis-layout .safetensors file.

    Raises UserError if a file is missing, a pickle, or does not hold exactly the tensors that its config asks for.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"There are no weights at {path}: python -m stablesdg.download fetches Stable Diffusion v1.5 "
                        f"into {OFFICIAL}, or pass --weights a folder or .safetensors file that you have.")
    if path.suffix in (".ckpt", ".bin", ".pt", ".pth"):
        raise UserError(pickle_refusal(path))
    models = load_single_file(path) if path.is_file() else load_folder(path)
    scheduler = _optional_json(path / "scheduler" / "scheduler_config.json") if path.is_dir() else {}
    if scheduler.get("prediction_type", "epsilon") != "epsilon" or scheduler.get("trained_betas"):
        raise UserError(f"{path} has a scheduler with another prediction_type than epsilon or trained_betas: "
                        "only the process of Stable Diffusion v1 is implemented.")
    recipe = _optional_json(path / "recipe.json") if path.is_dir() else {}
    return StableDiffusion(*models, scheduler, path, recipe, device, dtype)


def load_folder(path):
    """(TextEncoder, UNet, VAE) from the official diffusers layout."""
    if not (path / "unet" / "config.json").is_file():
        raise UserError(f"{path} is not in the diffusers layout (no unet/config.json): pass the folder that holds "
                        "unet/, vae/, text_encoder/ and tokenizer/.")
    unet = build(UNet, unet_sizes(read_json(path / "unet" / "config.json"), path / "unet"))
    load_strict(unet, read_part(path / "unet", "diffusion_pytorch_model"), path / "unet")
    vae = build(VAE, vae_sizes(read_json(path / "vae" / "config.json"), path / "vae"))
    load_strict(vae, rename_vae(read_part(path / "vae", "diffusion_pytorch_model")), path / "vae")
    if unet.conv_in.in_channels != vae.post_quant_conv.in_channels:
        raise UserError(f"{path} has a UNet of {unet.conv_in.in_channels} input channels (an inpainting model?) for latents "
                        f"of {vae.post_quant_conv.in_channels}: only text-to-image models are implemented.")
    text = build_text(read_json(path / "text_encoder" / "config.json"), path / "tokenizer")
    load_strict(text.model, rename_text(read_part(path / "text_encoder", "model"), text.model), path / "text_encoder")
    return text, unet, vae


def load_single_file(path):
    """(TextEncoder, UNet, VAE) from a CompVis-layout file of Stable Diffusion v1.5.

    Where a file has EMA copies of the UNet, these are taken: they are what the diffusers folder holds.
    """
    tensors, _ = load_tensors(path)
    unet, vae = build(UNet, {}), build(VAE, {})
    tokenizer = next((folder for folder in (path.parent / "tokenizer", OFFICIAL / "tokenizer") if folder.is_dir()), None)
    if tokenizer is None:
        raise UserError(f"A single .safetensors file has no tokenizer: put vocab.json and merges.txt of Stable Diffusion "
                        f"into {path.parent / 'tokenizer'}, or run python -m stablesdg.download --tokenizer.")
    text = build_text(SD15_TEXT, tokenizer)

    prefix, ema = "model.diffusion_model.", any(key.startswith("model_ema.diffusion") for key in tensors)
    if ema:
        for key in [key for key in tensors if key.startswith(prefix)]:
            tensors[key] = tensors["model_ema." + key.removeprefix("model.").replace(".", "")]
    load_strict(unet, from_compvis(tensors, prefix, compvis_unet_names(unet)), path)
    prefix = "first_stage_model."
    load_strict(vae, rename_vae(from_compvis(tensors, prefix, compvis_vae_names(vae))), path)
    prefix = "cond_stage_model.transformer."
    part = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    load_strict(text.model, rename_text(part, text.model), path)
    return text, unet, vae


# ---- building and strict loading --------------------------------------------------------------------------------


def build(model_class, sizes):
    """A model without storage, to be filled by load_strict."""
    with torch.device("meta"):
        return model_class(**sizes)


def build_text(config, tokenizer_folder):
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    if not (tokenizer_folder / "vocab.json").is_file() and not (tokenizer_folder / "tokenizer.json").is_file():
        raise UserError(f"{tokenizer_folder} has neither vocab.json nor tokenizer.json: fetch the tokenizer's files.")
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder, local_files_only=True)
    return TextEncoder(tokenizer, CLIPTextModel(CLIPTextConfig.from_dict(config)))


def load_strict(model, tensors, where):
    """Fill `model` with `tensors`, or say by name what is missing, unexpected or of another shape."""
    wanted = model.state_dict()
    faults = [f"missing {k}" for k in wanted if k not in tensors]
    faults += [f"unexpected {k}" for k in tensors if k not in wanted]
    faults += [f"{k} has shape {tuple(tensors[k].shape)}, not {tuple(wanted[k].shape)}"
               for k in wanted if k in tensors and tensors[k].shape != wanted[k].shape]
    if faults:
        shown = "\n  ".join(faults[:20] + [f".. and {len(faults) - 20} more"] * (len(faults) > 20))
        raise UserError(f"{where} does not hold the weights of this architecture:\n  {shown}\n"
                        "Check that it is a Stable Diffusion v1 model and that its files are whole.")
    model.load_state_dict({k: v.to(torch.promote_types(v.dtype, torch.float32)) for k, v in tensors.items()}, assign=True)


def read_part(folder, stem):
    """All tensors of one part: stem.safetensors, its fp16 variant, or the shards that an index lists."""
    for name in (f"{stem}.safetensors", f"{stem}.fp16.safetensors"):
        if (folder / name).is_file():
            return load_tensors(folder / name)[0]
    for name in (f"{stem}.safetensors.index.json", f"{stem}.safetensors.index.fp16.json"):
        if (folder / name).is_file():
            shards = sorted(set(read_json(folder / name)["weight_map"].values()))
            return {k: v for shard in shards for k, v in load_tensors(folder / shard)[0].items()}
    pickles = [*folder.glob("*.bin"), *folder.glob("*.ckpt")]
    if pickles:
        raise UserError(pickle_refusal(pickles[0]))
    raise UserError(f"{folder} has no {stem}.safetensors: fetch it, for example with python -m stablesdg.download.")


def _optional_json(path):
    return read_json(path) if path.is_file() else {}


def _sizes(config, names, only, where):
    for key, value in config.items():
        if key.startswith("_") or key in names or key in IGNORED:
            continue
        if value != only.get(key, value if not value else None):
            raise UserError(f"{where}/config.json says {key} = {value!r}, which is not implemented: "
                            "only the architecture of Stable Diffusion v1 is.")
    return {key: config[key] for key in names if key in config}


def unet_sizes(config, where):
    """UNet's arguments out of unet/config.json."""
    sizes = _sizes(config, UNET_SIZES, UNET_ONLY, where)
    strange = {*sizes.get("down_block_types", ()), *sizes.get("up_block_types", ())} - BLOCK_TYPES
    if strange or not isinstance(sizes.get("attention_head_dim", 8), int):
        raise UserError(f"{where}/config.json asks for {', '.join(strange) or 'a number of heads for each level'}, "
                        "which is not implemented: only the architecture of Stable Diffusion v1 is.")
    return sizes


def vae_sizes(config, where):
    """VAE's arguments out of vae/config.json."""
    blocks = {*config.get("down_block_types", ()), *config.get("up_block_types", ())}
    if blocks - {"DownEncoderBlock2D", "UpDecoderBlock2D"}:
        raise UserError(f"{where}/config.json asks for {', '.join(sorted(blocks))}, which is not implemented.")
    config = {k: v for k, v in config.items() if k not in ("down_block_types", "up_block_types")}
    return _sizes(config, VAE_SIZES, VAE_ONLY, where)
