"""Fetch the official weights: python -m stablesdg.download

Stable Diffusion v1.5 (diffusers layout, safetensors) goes into weights/stable-diffusion-v1-5, the Inception network
of FID into weights/. Size and sha256 of Stable Diffusion's weights are checked, and of Inception's the first eight
digits of its sha256, which its name holds. A file that is already whole is not fetched again. An interrupted file of
Stable Diffusion goes on where it stopped.
"""
from pathlib import Path

import huggingface_hub
import torch

from ..storage.errors import UserError
from ..storage.files import atomic_path, sha256

REPOSITORY = "stable-diffusion-v1-5/stable-diffusion-v1-5"
# (bytes, sha256) of the files whose content matters most; the hub publishes the same figures.
WEIGHT_FILES = {
    "unet/diffusion_pytorch_model.safetensors":
        (3438167540, "19da7aaa4b880e59d56843f1fcb4dd9b599c28a1d9d9af7c1143057c8ffae9f1"),
    "vae/diffusion_pytorch_model.safetensors":
        (334643276, "a2b5134f4dbc140d9c11f11cba3233099e00af40f262f136c691fb7d38d2194c"),
    "text_encoder/model.safetensors":
        (492265874, "d008943c017f0092921106440254dbbe00b6a285f7883ec8ba160c3faad88334"),
}
TOKENIZER_FILES = ("tokenizer/vocab.json", "tokenizer/merges.txt", "tokenizer/tokenizer_config.json",
                   "tokenizer/special_tokens_map.json")
PARTS = "unet, vae, text_encoder, tokenizer and scheduler"
CONFIG_FILES = ("unet/config.json", "vae/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json",
                "model_index.json")
INCEPTION_URL = ("https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
                 "pt_inception-2015-12-05-6726825d.pth")
INCEPTION_SHA256 = "6726825d"  # its first digits, as in the file's name


def fetch_from_hub(name: str, folder: Path) -> None:
    """One file of the official repository into `folder`, unless it is already there and whole."""
    if name in WEIGHT_FILES and (folder / name).is_file() and is_whole(folder / name, *WEIGHT_FILES[name]):
        print(f"already there: {folder / name}")
        return
    try:
        huggingface_hub.hf_hub_download(REPOSITORY, name, local_dir=folder)
    except Exception as error:  # of the connection, a proxy or HTTP; the class depends on the hub's library
        raise UserError(f"{name} could not be fetched from huggingface.co/{REPOSITORY} ({first_line(error)}): run this "
                        f"again where there is a network, or copy that repository's folders {PARTS} to "
                        f"{folder}.") from None
    if name in WEIGHT_FILES and not is_whole(folder / name, *WEIGHT_FILES[name]):
        (folder / name).unlink()
        raise UserError(f"{name} arrived with another size or sha256 than the official file and was removed: run this "
                        "again.")


def is_whole(path: Path, size: int, digest: str) -> bool:
    """Whether a file has this size and this SHA-256."""
    return path.stat().st_size == size and sha256(path) == digest


def fetch_inception(path: Path) -> None:
    """The Inception network of FID at `path`, unless it is already there and whole."""
    if path.is_file() and sha256(path).startswith(INCEPTION_SHA256):
        print(f"already there: {path}")
        return
    try:
        with atomic_path(path) as temporary:
            torch.hub.download_url_to_file(INCEPTION_URL, str(temporary), hash_prefix=INCEPTION_SHA256)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path.name} could not be fetched ({first_line(error)}): run this again where there is a "
                        f"network, or fetch {INCEPTION_URL} by other means and put it into {path.parent}.") from None


def first_line(error: Exception) -> str:
    """What an error says, short enough for a sentence."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")[:200]
