"""Traces of image files: JPEG on one side and PNG on the other is a difference that a feature network sees."""
from __future__ import annotations

import functools
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..data.images import read_image, readable

QUALITIES = range(1, 101)  # of JPEG


@dataclass(frozen=True)
class Codec:
    """How the images of a set are stored."""
    lossy: bool
    quality: int | None = None  # of most of the JPEG files
    mixed: bool = False  # there are JPEG files and others

    def __str__(self) -> str:
        name = f"JPEG of quality {self.quality}" if self.lossy else "lossless"
        return f"{name} for the most part" if self.mixed else name


def codec_of(files: Sequence[Path]) -> Codec:
    """What most of the files are. The quality is estimated from the quantisation tables of JPEG files."""
    qualities = [quality for file in files if (quality := jpeg_quality(file)) is not None]
    mixed = 0 < len(qualities) < len(files)
    if not qualities or len(qualities) * 2 < len(files):
        return Codec(lossy=False, mixed=mixed)
    (most, _), = Counter(qualities).most_common(1)
    return Codec(lossy=True, quality=most, mixed=mixed)


def jpeg_quality(file: Path) -> int | None:
    """The quality whose tables are nearest to those of a JPEG file, or None for files of another format."""
    with readable(file), Image.open(file) as image:
        tables = getattr(image, "quantization", None)
    if not tables:
        return None
    table = np.asarray(tables[0])
    return min(QUALITIES, key=lambda quality: int(np.abs(luminance_table(quality) - table).sum()))


@functools.lru_cache
def luminance_table(quality: int) -> np.ndarray:
    """The 64 steps by which Pillow quantises gray at a quality."""
    with io.BytesIO() as buffer:
        Image.new("L", (8, 8)).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer).quantization[0])  # type: ignore[attr-defined]


def encode_alike(files: Sequence[Path], quality: int, folder: Path) -> list[Path]:
    """Write the images as JPEG of one quality into a folder that exists. Returns the new files, in the same order."""
    written = []
    for k, file in enumerate(files):
        image, mode = read_image(file)
        written.append(folder / f"{k:06d}.jpg")
        image.convert(mode).save(written[-1], "JPEG", quality=quality)
    return written
