"""The images that pretraining sees: photographs and drawn textures in one pool, each with caption and attributes."""
import hashlib
import multiprocessing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..models.vae import VAE, Posterior
from ..storage.files import read_json, sha256, write_json
from ..storage.tensors import load_tensors, save_tensors
from . import textures
from .photographs import Photographs

HELD_OUT = 10_000_000  # images from this index on are never trained on
HELD_OUT_DIVISOR = 20  # one photograph in so many is kept out of training
ENCODED_AT_ONCE = 32  # images


@dataclass(frozen=True)
class Pool:
    """images (n, 3, side, side) uint8, and for each its caption and its attributes. None stands for "not known"."""
    images: Tensor
    captions: list[str]
    attributes: list[Mapping[str, str | None]]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Artist:
    """Draws the image of an index: a crop of a photograph for `share` of the indices, else a drawn texture."""
    photographs: Photographs | None
    share: float
    seed: int
    side: int

    def draw(self, index: int) -> textures.Texture:
        """The image of one index. It depends on (seed, index, side) and the photographs alone."""
        if self.photographs and np.random.default_rng([self.seed, index, 2]).random() < self.share:
            return self.photographs.draw(index, self.seed, self.side)
        return textures.draw(index, self.seed, self.side)

    def name(self) -> str:
        """A short name of all that an image depends on besides its index."""
        drawn = "drawn"
        if self.photographs:
            listed = "\n".join(photograph.file for photograph in self.photographs.photographs)
            key = f"{sha256(self.photographs.pack)} {listed} {self.share}"
            drawn = hashlib.sha256(key.encode()).hexdigest()[:12]
        return f"{drawn}-{self.side}-{self.seed}"


def draw_pool(work: Path, artist: Artist, n: int, first: int = 0) -> Pool:
    """n images from index `first` on, drawn on all cores and kept in `work`."""
    stem = work / f"images-{artist.name()}-{first}-{n}"
    tensors, words = stem.with_suffix(".safetensors"), stem.with_suffix(".json")
    if not (tensors.is_file() and words.is_file()):
        images, texts = np.empty((n, artist.side, artist.side, 3), dtype=np.uint8), []
        for i, texture in enumerate(_draw_all(artist, range(first, first + n))):
            images[i] = texture.image
            texts.append([texture.caption, texture.attributes])
        save_tensors(tensors, {"images": torch.from_numpy(images).permute(0, 3, 1, 2)})
        write_json(words, texts)
    captions, attributes = zip(*read_json(words))
    return Pool(load_tensors(tensors)[0]["images"], list(captions), list(attributes))


def _draw_all(artist: Artist, indices: range) -> Iterator[textures.Texture]:
    with multiprocessing.get_context("spawn").Pool(initializer=torch.set_num_threads, initargs=(1,)) as workers:
        yield from tqdm(workers.imap(artist.draw, indices, chunksize=64), total=len(indices), unit="image",
                        desc=f"drawing at {artist.side} px")


def parted(photographs: Photographs) -> tuple[Photographs, Photographs]:
    """(photographs to train on, photographs kept out), the same ones in every call."""
    def is_kept_out(file: str) -> bool:
        return int(hashlib.sha256(file.encode()).hexdigest(), 16) % HELD_OUT_DIVISOR == 0

    parts = {flag: tuple(p for p in photographs.photographs if is_kept_out(p.file) == flag) for flag in (False, True)}
    train = parts[False] or parts[True]
    return replace(photographs, photographs=train), replace(photographs, photographs=parts[True] or train)


def digest(*tensors: Tensor) -> str:
    """Sixteen letters that name the contents of tensors."""
    sha = hashlib.sha256()
    for tensor in tensors:
        sha.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()[:16]


@torch.no_grad()
def encode_pool(work: Path, vae: VAE, images: Tensor) -> Posterior:
    """The posteriors of images (n, 3, H, W) uint8, (n, C, h, w) float16, kept in `work`."""
    name = digest(images[:: max(1, len(images) // 64)], *vae.state_dict().values())
    path = work / f"latents-{images.shape[2]}-{len(images)}-{name}.safetensors"
    if not path.is_file():
        device = next(vae.parameters()).device
        parts = [vae.encode(x.to(device) / 127.5 - 1) for x in tqdm(images.split(ENCODED_AT_ONCE), desc="encoding")]
        mean, logvar = (torch.cat([value.half().cpu() for value in values]) for values in zip(*parts))
        save_tensors(path, {"mean": mean, "logvar": logvar})
    tensors, _ = load_tensors(path)
    return Posterior(tensors["mean"], tensors["logvar"])
