"""Images in and out: gray or colour, and back in the size and mode they came in."""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from PIL import Image, ImageOps

from ..storage.errors import UserError
from ..storage.files import atomic_path
from .window import UNREADABLE, Window, is_deep, window_for

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
J = TypeVar("J", bound=tuple[Any, ...])
DEEP_COLOUR = ("RGB;16", "RGBA;16", "RGBa;16", "RGBX;16", "LA;16")  # how Pillow calls several channels of 16 bits
MOST_PIXELS = 2**20  # of an image that a model sees at its own size


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """A block that reads an image file. Raises UserError if it cannot be read."""
    try:
        yield
    except UNREADABLE as error:
        raise UserError(f"{path} cannot be read as an image ({error}): repair or remove it.") from None


def read_image(path: Path, window: Window | None = None) -> tuple[Image.Image, str]:
    """(RGB image, its mode: "L" if it is gray, else "RGB").

    16-bit gray is brought to 8 bits, by a window of gray levels (default: that of the data set, see window.py).
    Transparency is dropped. Raises UserError if the file cannot be read, if its black and white are unknown, or if it
    has several channels of 16 bits.
    """
    path = Path(path)
    with readable(path), Image.open(path) as file:
        raw_modes = [str(tile[-1][0] if isinstance(tile[-1], tuple) else tile[-1]) for tile in file.tile]
        image = ImageOps.exif_transpose(file)
        image.load()
    if is_deep(image, path):
        pixels = np.asarray(image)
        image = Image.fromarray((window or window_for(path, int(pixels.max()))).to_8_bits(pixels))
    elif image.mode.startswith(("I", "F")):
        raise UserError(f"{path} has 32-bit pixels, whose black and white are unknown: save it with 8 or 16 bits.")
    elif any(raw_mode.startswith(DEEP_COLOUR) for raw_mode in raw_modes):  # Pillow would keep the high byte alone
        raise UserError(f"{path} has several channels of 16 bits: save it as gray of 16 bits, or colour of 8.")
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    return image.convert("RGB"), mode


def fit_size(width: int, height: int, resolution: int | None, multiple: int) -> tuple[int, int]:
    """(width, height) in multiples of `multiple`, the shorter side near `resolution`, or unscaled if that is None."""
    scale = resolution / min(width, height) if resolution else 1
    width, height = (max(multiple, round(side * scale / multiple) * multiple) for side in (width, height))
    return width, height


def to_tensor(image: Image.Image) -> Tensor:
    """RGB image -> (3, H, W) float32 in [-1, 1], as the VAE takes it."""
    import torch  # late: files are read where PyTorch is not installed, too

    return torch.from_numpy(np.array(image, dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1


def to_unit_tensor(image: Image.Image) -> Tensor:
    """RGB image -> (3, H, W) float32 in [0, 1], as feature networks take it."""
    return to_tensor(image) / 2 + 0.5


def to_image(x: Tensor, size: tuple[int, int] | None = None, mode: str = "RGB") -> Image.Image:
    """(3, H, W) in [-1, 1] -> image of `size` (width, height) and `mode`. Rounds to the nearest of 256 levels."""
    values = ((x.float().cpu() / 2 + 0.5).clamp(0, 1) * 255).round().byte()
    image = Image.fromarray(values.permute(1, 2, 0).numpy())
    if size and image.size != tuple(size):
        image = image.resize(size, Image.Resampling.LANCZOS)
    return image.convert(mode)


@dataclass(frozen=True)
class Fitted:
    """An image as a model reads it, and what brings an output back to its size and mode."""
    x: Tensor  # (3, H, W) in [-1, 1]
    size: tuple[int, int]  # of the file: width, height
    mode: str  # of the file: "L" or "RGB"


@dataclass(frozen=True)
class Source(Fitted, Generic[J]):
    """An image that something is to be made of."""
    job: J


def read_fitted(path: Path, resolution: int | None, multiple: int) -> Fitted:
    """Read an image, resized with an antialiasing filter where needed (see fit_size).

    multiple  of its sides; 1 where no model will see the image

    Raises UserError if the image is too large for a model at its own size.
    """
    image, mode = read_image(path)
    original = image.size
    if not resolution and multiple > 1 and original[0] * original[1] > MOST_PIXELS:
        raise UserError(f"{path} has {original[0]} x {original[1]} pixels, too many to work on at its own size: pass "
                        "--resolution 512 to the training scripts, or cut the images into tiles by python -m "
                        "stablesdg.prepare.")
    size = fit_size(*original, resolution, multiple)
    if size != original:
        image = image.resize(size, Image.Resampling.LANCZOS)
    return Fitted(to_tensor(image), original, mode)


def read_batches(jobs: Sequence[J], batch_size: int, resolution: int | None,
                 multiple: int) -> Iterator[list[Source[J]]]:
    """At most batch_size images of one size at a time. A job is a tuple whose first element is the image's path."""
    sources = (Source(**vars(read_fitted(job[0], resolution, multiple)), job=job) for job in jobs)
    return batches_alike(sources, lambda _: batch_size, lambda source: source.x.shape)


def batches_alike(items: Iterable[T], most: Callable[[T], int], kind: Callable[[T], Any]) -> Iterator[list[T]]:
    """Batches of neighbouring items of one kind, at most as many as `most` says of the first of them."""
    for _, alike in groupby(items, kind):
        for first in alike:
            yield [first, *islice(alike, most(first) - 1)]  # noqa: B031 - each use goes on where the last one ended


def save_image(path: Path, image: Image.Image) -> None:
    """Write an image in the format that the path's ending names."""
    with atomic_path(path) as temporary:
        image.save(temporary)
