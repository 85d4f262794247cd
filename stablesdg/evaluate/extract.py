"""Image files -> features of a network. A feature that was computed once is kept on disk."""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from ..data.images import batches_alike, read_image, to_unit_tensor
from ..data.window import window_note
from ..storage.files import atomic_path, sha256
from ..storage.runs import runs_root
from ..weights.read import WEIGHTS
from .features import load_nano_network
from .inception import INPUT_SIDE, find_inception_weights, has_inception_weights, load_inception

CACHE = "features"  # folder beside the runs
RESIZES = ("legacy", "clean")
BATCH_SIZE = 16  # images at once
CPU_BATCH_SIZE = 8  # the same on a processor, whose cache holds no more
MOST_BATCH_VALUES = 2**23  # in a batch of images at their own size

PREPROCESSING = 2  # in the cache's key: one more whenever an image is read or resized in another way

Prepare = Callable[[Image.Image], Tensor]  # RGB image -> (3, H, W) in [0, 1]


@dataclass(frozen=True)
class FeatureExtractor:
    """A feature network, and all that its features depend on beside the image."""
    kind: str  # "inception", "nano", or another network's name
    network: nn.Module  # (B, 3, H, W) in [0, 1] -> (B, d)
    prepare: Prepare
    key: str  # the name in the cache; it changes with the weights and the resize rule
    distance_name: str  # of a Frechet distance between its features
    resize: str | None = None  # rule of the resize, None where images keep their own size

    def of_files(self, files: Sequence[Path], batch_size: int = BATCH_SIZE, progress: str = "") -> Tensor:
        """Features (N, d) of image files; those of files seen before come from disk."""
        extract = partial(extract_features, network=self.network, prepare=self.prepare, batch_size=batch_size,
                          progress=progress)
        return cached_features(files, extract, self.key)

    def images_at_once(self, batch_size: int) -> int:
        """How many images of one size really are in a batch, where they are not large: fewer on a processor."""
        return images_at_once(next(self.network.parameters()).device, batch_size)

    @torch.no_grad()
    def of_image(self, image: Image.Image) -> Tensor:
        """Features (d,) of one image, on the CPU."""
        x = self.prepare(image.convert("RGB"))[None]
        return self.network(x.to(next(self.network.parameters()).device))[0].cpu()


def nano_extractor(device: torch.device | str) -> FeatureExtractor:
    """The network of weights/nano, which takes images at their own size."""
    network = load_nano_network(device)
    return FeatureExtractor("nano", network, to_unit_tensor, network_key("nano", network), "FD-nano")


def inception_extractor(device: torch.device | str, file: Path | None = None,
                        resize: str = "legacy") -> FeatureExtractor:
    """The network of FID. `file` holds its weights (default: the one in weights/).

    Raises UserError if there is no such file, or if it does not hold this network.
    """
    network = load_inception(file or find_inception_weights(WEIGHTS), device)
    return FeatureExtractor("inception", network, partial(resize_for_inception, resize=resize),
                            network_key(f"inception-{resize}", network), "FID", resize)


def open_extractor(kind: str | None, device: torch.device | str) -> FeatureExtractor:
    """The extractor of a kind, "inception" or "nano". For None, Inception if its weights are there; says which."""
    if kind is None:
        kind, why = ("inception", "") if has_inception_weights(WEIGHTS) else (
            "nano", " (FD-nano: Inception's weights are not there)")
        print(f"features: {kind}{why}")
    return nano_extractor(device) if kind == "nano" else inception_extractor(device)


# ---- image to features ------------------------------------------------------------------------------------------


def resize_for_inception(image: Image.Image, resize: str = "legacy") -> Tensor:
    """RGB image -> (3, 299, 299) in [0, 1]. Values of the two rules cannot be compared.

    resize  "legacy" samples bilinearly without antialiasing, as the original FID and pytorch-fid do; "clean" filters
            when it shrinks (bicubic with antialiasing, each channel in float), as clean-fid does
    """
    if resize == "legacy":
        x = torch.from_numpy(np.array(image, dtype=np.float32)).permute(2, 0, 1)[None] / 255
        return F.interpolate(x, (INPUT_SIDE, INPUT_SIDE), mode="bilinear", align_corners=False)[0]
    if resize == "clean":
        channels = [Image.fromarray(np.asarray(c, dtype=np.float32)).resize((INPUT_SIDE, INPUT_SIDE),
                                                                           Image.Resampling.BICUBIC)
                    for c in image.split()]
        return torch.from_numpy(np.stack([np.asarray(c) for c in channels])).clamp(0, 255) / 255
    raise ValueError(f"resize {resize!r} is none of {RESIZES}")


@torch.no_grad()
def extract_features(files: Sequence[Path], network: nn.Module, prepare: Prepare = to_unit_tensor,
                     batch_size: int = BATCH_SIZE, progress: str = "") -> Iterator[Tensor]:
    """Yield network(prepare(image)) of image files, in batches of images of one size. `progress` labels the bar."""
    device = next(network.parameters()).device
    batch_size = images_at_once(device, batch_size)
    with tqdm(total=len(files), unit="image", desc=progress, leave=False, disable=None) as bar:
        for x in ahead(read_batches(files, prepare, batch_size)):
            yield network(x.to(device))
            bar.update(len(x))


def images_at_once(device: torch.device, batch_size: int) -> int:
    """The batch size, or what the cache of a processor holds."""
    return min(batch_size, CPU_BATCH_SIZE) if device.type == "cpu" else batch_size


def read_batches(files: Sequence[Path], prepare: Prepare, batch_size: int) -> Iterator[Tensor]:
    """Yield images (B, 3, H, W), at most `batch_size` of one size at a time."""
    def most(x: Tensor) -> int:
        return max(1, min(batch_size, MOST_BATCH_VALUES // x.numel()))

    images = (prepare(read_image(file)[0]) for file in files)
    for alike in batches_alike(images, most, lambda x: x.shape):
        yield torch.stack(alike)


def ahead(batches: Iterator[Tensor]) -> Iterator[Tensor]:
    """The same batches. Another thread reads the next one while the last one is in use."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        later = reader.submit(next, batches, None)
        while (batch := later.result()) is not None:
            later = reader.submit(next, batches, None)
            yield batch


# ---- the cache --------------------------------------------------------------------------------------------------


def network_key(name: str, network: nn.Module) -> str:
    """A name for the cache that changes with the network's weights and with how images are prepared for it."""
    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        digest.update(key.encode() + value.cpu().contiguous().numpy().tobytes())
    return f"{name}-v{PREPROCESSING}-{digest.hexdigest()[:12]}"


def cached_features(files: Sequence[Path], extract: Callable[[list[Path]], Iterable[Tensor]], key: str,
                    cache: str | Path | None = None) -> Tensor:
    """Features (N, d) of image files. What was computed before, for a file of the same content, is read from disk.

    extract  a function of a list of files that yields batches (B, d)
    key      names the network and all that its features depend on beside the file
    cache    a folder (default: features in the folder of all runs)
    """
    folder = Path(cache or runs_root() / CACHE) / key
    paths = [folder / f"{sha256(file)}{window_note(file)}.npy" for file in files]
    missing = {path: file for path, file in zip(paths, files) if not path.is_file()}
    to_write = iter(missing)
    for batch in extract(list(missing.values())) if missing else ():
        for feature in batch.cpu().float().numpy():
            with atomic_path(next(to_write)) as temporary:
                np.save(temporary, feature, allow_pickle=False)
    return torch.from_numpy(np.stack([np.load(path, allow_pickle=False) for path in paths]))
