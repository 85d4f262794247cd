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


def no_columns(seed: int) -> dict[str, str]:
    """The images of most calls differ in nothing that the manifest names."""
    return {}


@dataclass(frozen=True)
class ImageMaker:
    """What makes images from sources: `draw` from their pixels, or `make` from their files."""
    draw: Callable[[Tensor, Sequence[int]], Tensor] | None  # x (B, 3, H, W), B seeds -> (B, 3, H, W), in [-1, 1]
    label: str  # for the preview
    columns: Mapping[str, str]  # s, w, sampler and steps, for the manifest
    resolution: int | None  # sources are read at it
    multiple: int  # their sides are made a multiple of it
    depends_on: Mapping[str, Any]  # settings that the images follow from
    seen: frozenset[str]  # sha256 of the images that it has learned from
    sd: StableDiffusion | None = None
    keeps_places: bool = False  # an image shows its source, changed in part, so that the two can be compared
    columns_of: Callable[[int], Mapping[str, str]] = no_columns  # further columns of an image, by its seed
    make: Callable[[Sequence[Source[Job]], Sequence[int]], list[Made]] | None = None  # in the place of `draw`

    def make_images(self, batch: Sequence[Source[Job]], seeds: Sequence[int]) -> list[Made]:
        """An image of each source. The sources have one size."""
        if self.make:
            return self.make(batch, seeds)
        assert self.draw is not None
        y = self.draw(torch.stack([source.x for source in batch]), seeds)
        return [Made(to_image(image, source.size, source.mode), self.columns_of(seed))
                for source, seed, image in zip(batch, seeds, y)]
