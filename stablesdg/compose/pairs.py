"""Which ground a defect gets, where it lies there, and the pasted composite that follows."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..data.images import read_image
from ..storage.errors import UserError
from .given import GivenBoxes, GivenMasks
from .masks import MOST_AREA, Mask, blobs, find_mask, local_contrast
from .paste import (
    Placement,
    draw_placement,
    fit_ground,
    match_light,
    match_moments,
    move,
    paste,
    surroundings,
    to_levels,
)

STREAM = 21  # of random numbers: apart from that of the noise, which has the same seed
GROUNDS_TRIED = 8  # the fittest of them is taken


@dataclass(frozen=True)
class Composite:
    """A defect on another ground, before the prior has seen it. Images are uint8 (H, W, 3), masks bool (H, W)."""
    pasted: np.ndarray
    mask: np.ndarray  # where the defect lies now
    kind: str  # of the mask
    place: Placement
    ground_file: Path
    source: np.ndarray  # the defect's own image
    source_mask: np.ndarray  # where the defect lies in it
    ground: np.ndarray  # at the defect's level


@dataclass(frozen=True)
class Composer:
    """Draws composites. One depends on its source, its seed and these fields alone."""
    grounds: Sequence[Path]
    surfaces: Mapping[Path, str]  # the surface that an image shows, of sources and of grounds, where it is known
    given: GivenMasks | GivenBoxes | None = None  # None: the defects are sought

    def draw(self, source: Path, seed: int) -> Composite:
        """Draw a ground and a place for the defect of `source`. All follows from the seed."""
        rng = np.random.default_rng([STREAM, seed])
        image, mode = read_image(source)
        defect = np.asarray(image)
        mask = self.mask_of(source, defect, seed)
        place = draw_placement(mask.area, rng)
        moved, area = move(defect, place), move(mask.area, place)
        around = surroundings(area)
        file, found = self.draw_ground(source, image.size, float(moved[around].mean()), rng)
        ground = fit_ground(np.asarray(found.convert(mode).convert("RGB")), defect.shape, rng)
        level = to_levels(match_moments(match_light(ground, moved, area), moved, around))
        return Composite(paste(moved, area, level), area, mask.kind, place, file, defect, mask.area, level)

    def draw_ground(self, source: Path, size: tuple[int, int], level: float,
                    rng: np.random.Generator) -> tuple[Path, Image.Image]:
        """A ground of another surface and its RGB image: of a few that are drawn, one as large as the source if there
        is one, and of these the one whose mean is nearest to the level around the defect. Black and white hold nothing
        to shift.

        size  of the source: width, height
        """
        def unfit(ground: tuple[Path, Image.Image]) -> tuple[bool, float]:
            image = ground[1]
            return image.width < size[0] or image.height < size[1], abs(float(np.asarray(image).mean()) - level)

        others = grounds_of_others(source, self.grounds, self.surfaces)
        drawn = (others[i] for i in rng.permutation(len(others))[:GROUNDS_TRIED])
        return min(((file, read_image(file)[0]) for file in drawn), key=unfit)

    def mask_of(self, source: Path, defect: np.ndarray, seed: int) -> Mask:
        """The mask of one image (H, W, 3), given or found. If it is nearly all of the image, blobs are cut from it."""
        gray = np.asarray(Image.fromarray(defect).convert("L"), dtype=np.float64) / 255
        if self.given is None:
            return find_mask(gray, seed)
        mask = self.given.mask_of(source, gray.shape)
        if mask.area.mean() <= MOST_AREA:
            return mask
        return Mask(mask.area & blobs(local_contrast(gray), seed), f"blobs in {mask.kind}")


def grounds_of_others(source: Path, grounds: Sequence[Path], surfaces: Mapping[Path, str]) -> list[Path]:
    """The grounds that show another surface than the source."""
    own = surfaces.get(source)
    return [file for file in grounds if file != source and (own is None or surfaces.get(file) != own)]


def require_pairs(sources: Sequence[Path], grounds: Sequence[Path], surfaces: Mapping[Path, str]) -> None:
    """Raise UserError if a source has no ground of another surface."""
    for source in sources:
        if not grounds_of_others(source, grounds, surfaces):
            raise UserError(f"{source} and all {len(grounds)} grounds show one surface, so there is nothing new to "
                            "compose: pass a folder of defect-free images with --ground.")
