"""What makes images from sources, be it the prior, a rotation or a composer."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..data.generated import Job
from ..data.images import Source, to_image
from ..models.stable_diffusion import StableDiffusion


@dataclass(frozen=True)
class Made:
    """One image that was made."""
    image: Image.Image
    columns: Mapping[str, str] = field(default_factory=dict)  # what the manifest says of this image alone
    mask: Image.Image | None = None  # where the defect of a composite lies


Make = Callable[[Sequence[Source[Job]], Sequence[int]], list[Made]]  # sources of one size, and a seed of each


@dataclass(frozen=True)
class ImageMaker:
    """What makes an image of each source, and what is to be said and remembered of it."""
    make: Make
    label: str  # for the preview
    columns: Mapping[str, str]  # s, w, sampler and steps, for the manifest
    resolution: int | None  # sources are read at it
    multiple: int  # their sides are made a multiple of it
    depends_on: Mapping[str, Any]  # settings that the images follow from
    seen: frozenset[str]  # sha256 of the images that it has learned from
    sd: StableDiffusion | None = None
    keeps_places: bool = False  # an image shows its source, changed in part, so that the two can be compared


def from_pixels(draw: Callable[[Tensor, Sequence[int]], Tensor],
                columns_of: Callable[[int], Mapping[str, str]] = lambda seed: {}) -> Make:
    """Make images of the sources' pixels alone.

    draw        x (B, 3, H, W), B seeds -> (B, 3, H, W), in [-1, 1]
    columns_of  seed -> what the manifest says of this image alone
    """
    def make(batch: Sequence[Source[Job]], seeds: Sequence[int]) -> list[Made]:
        y = draw(torch.stack([source.x for source in batch]), seeds)
        return [Made(to_image(image, source.size, source.mode), columns_of(seed))
                for source, seed, image in zip(batch, seeds, y)]

    return make
