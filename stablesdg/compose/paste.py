"""A defect laid on a ground of the same size, at the level of the defect's own surroundings. No network is needed.

The ground takes over the light of the defect's image, and then mean and deviation of what surrounds the defect. It is
not the defect that is brought to the ground. So the defect's pixels stay as they were photographed, its contrast to
what lies around it stays too, and nothing of it is cut off at black or white. What may be cut off is the ground.
"""
from dataclasses import dataclass

import numpy as np

from .masks import distance_from, length_unit, smooth_ground

SURROUNDINGS, FEATHER, SEAM = 16, 5, 10  # pixels of an image of 200 x 200, outwards from the mask
SOFT_EDGE = 3  # pixels: what the prior redraws comes in over as many, so that its border is none
LEAST_SURROUNDINGS = 0.01  # of the image; if the mask leaves less around it, all outside of it counts
MOST_GAIN = 2.0  # of the ground's contrast; a faint one would become noise
LIGHT_DEGREE = 2  # of the polynomial that stands for light and shade
LEAST_LIT = 0.2  # of the image: the light is fitted outside of the mask if that is as large, or else everywhere


@dataclass(frozen=True)
class Placement:
    """How a defect is moved: mirrored first, then shifted by whole pixels to the right and down."""
    mirror_x: bool
    mirror_y: bool
    dx: int
    dy: int


# ---- place ------------------------------------------------------------------------------------------------------


def draw_placement(mask: np.ndarray, rng: np.random.Generator) -> Placement:
    """A random place for the defect of a mask (H, W) in an image of the same size.

    It stays inside. A defect that reaches the border of its photograph goes on beyond it, so it stays at that border.
    """
    mirror_x, mirror_y = bool(rng.integers(2)), bool(rng.integers(2))
    mirrored = mirror(mask, mirror_x, mirror_y)
    dx, dy = (draw_shift(np.flatnonzero(mirrored.any(axis=axis)), mirrored.shape[1 - axis], rng) for axis in (0, 1))
    return Placement(mirror_x, mirror_y, dx, dy)


def draw_shift(taken: np.ndarray, length: int, rng: np.random.Generator) -> int:
    """A shift along an axis of `length` pixels that keeps the taken ones off both borders; 0 if they touch one."""
    first, last = int(taken[0]), int(taken[-1])
    if first == 0 or last == length - 1:
        return 0
    return int(rng.integers(1 - first, length - 1 - last))


def mirror(pixels: np.ndarray, x: bool, y: bool) -> np.ndarray:
    """Mirror an image or a mask (H, W, ..) along x, along y, or both."""
    return pixels[::-1 if y else 1, ::-1 if x else 1]


def move(pixels: np.ndarray, place: Placement) -> np.ndarray:
    """Mirror and shift an image (H, W, 3) or a mask (H, W). An image is continued by reflection, a mask by nothing."""
    mirrored = mirror(pixels, place.mirror_x, place.mirror_y)
    up, left = max(0, place.dy), max(0, place.dx)
    margins = [(up, max(0, -place.dy)), (left, max(0, -place.dx))] + [(0, 0)] * (pixels.ndim - 2)
    padded = np.pad(mirrored, margins) if pixels.dtype == bool else np.pad(mirrored, margins, mode="symmetric")
    top, start = max(0, -place.dy), max(0, -place.dx)
    return padded[top:top + pixels.shape[0], start:start + pixels.shape[1]]


# ---- level ------------------------------------------------------------------------------------------------------


def surroundings(mask: np.ndarray) -> np.ndarray:
    """The pixels around a mask, bool (H, W)."""
    distance = distance_from(mask)
    ring = (distance > 0) & (distance <= SURROUNDINGS * length_unit(mask.shape))
    return ring if ring.mean() >= LEAST_SURROUNDINGS else ~mask


def match_light(ground: np.ndarray, source: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The ground (H, W, 3) with the smooth light of the source in the place of its own. Returns float64.

    Without it, a large mask shows where the source is bright on one side and the ground is not.
    """
    lit = ~mask if (~mask).mean() >= LEAST_LIT else np.ones_like(mask)
    is_gray = all((image == image[..., :1]).all() for image in (ground, source))
    channels = range(1 if is_gray else 3)
    pairs = [(ground[..., c].astype(np.float64), source[..., c].astype(np.float64)) for c in channels]
    levels = [own - smooth_ground(own, LIGHT_DEGREE) + smooth_ground(other, LIGHT_DEGREE, lit) for own, other in pairs]
    return np.stack(levels * 3 if is_gray else levels, axis=2)


def match_moments(ground: np.ndarray, source: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The ground (H, W, 3) scaled and shifted, so that each channel has the source's mean and deviation in `where`.

    The contrast changes at most twofold; beyond that, only the means are equal. Returns float64, not cut off.
    """
    ground, source = ground.astype(np.float64), source.astype(np.float64)
    own, wanted = ground[where], source[where]
    gain = np.clip(wanted.std(axis=0) / np.maximum(own.std(axis=0), 1e-9), 1 / MOST_GAIN, MOST_GAIN)
    return (ground - own.mean(axis=0)) * gain + wanted.mean(axis=0)


def to_levels(values: np.ndarray) -> np.ndarray:
    """Rounded and cut off to uint8."""
    return values.round().clip(0, 255).astype(np.uint8)


def paste(defect: np.ndarray, mask: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Lay the defect's image over the ground, uint8 (H, W, 3) each. The mask is sharp inside and fades out around."""
    distance = distance_from(mask)
    opacity = np.clip(1 - distance / (FEATHER * length_unit(mask.shape) + 1), 0, 1)[..., None]
    return to_levels(opacity * defect + (1 - opacity) * ground)


def fit_ground(ground: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A ground (H, W, 3) cut at a random place to the `shape` of the source, or continued by reflection to it."""
    for axis in (0, 1):
        spare = ground.shape[axis] - shape[axis]
        if spare < 0:
            margins = [(0, 0)] * ground.ndim
            margins[axis] = (-spare // 2, -spare - -spare // 2)
            ground = np.pad(ground, margins, mode="symmetric")
        start = int(rng.integers(max(spare, 0) + 1))
        ground = ground.take(range(start, start + shape[axis]), axis=axis)
    return ground


# ---- what the prior redraws -------------------------------------------------------------------------------------


def region_to_redraw(mask: np.ndarray, region: str) -> np.ndarray:
    """bool (H, W): a band around the mask ("seam"), all around it ("outside"), or the mask itself ("inside").

    The band lies outside of the mask, so that only "inside" changes pixels of the defect.
    """
    if region == "inside":
        return mask
    if region == "outside":
        return ~mask
    return ~mask & (distance_from(mask) <= SEAM * length_unit(mask.shape))


def lay_in(redrawn: np.ndarray, pasted: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Put what the prior redrew into the pasted image, uint8 (H, W, C) each. Outside of the region nothing changes."""
    weight = np.clip(distance_from(~region) / SOFT_EDGE, 0, 1)[..., None]
    return to_levels(pasted + weight * (redrawn.astype(np.float64) - pasted))
