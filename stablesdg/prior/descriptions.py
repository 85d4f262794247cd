"""Captions of photographs, from what can be measured in them.

A photograph tells its level, contrast, grain, orientation and tint, and how many marks of which tone and shape stand
out from it. Its material comes from the words that its source gives it. The words are those of textures.py where both
speak of the same thing, and none of them is a class of the steel data sets.
"""
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .textures import ATTRIBUTES, pick

MATERIALS = {  # word of a source -> word in a caption
    "aluminium": "metal", "asphalt": "asphalt", "bark": "bark", "brick": "brick", "bricks": "brick",
    "cardboard": "cardboard", "cell": "cell", "cells": "cell", "cement": "concrete", "cobblestone": "stone",
    "concrete": "concrete", "fabric": "fabric", "granite": "stone", "gravel": "gravel", "ground": "ground",
    "ice": "ice", "leather": "leather", "marble": "marble", "metal": "metal", "metalplate": "metal",
    "metalplates": "metal", "onyx": "marble", "paint": "paint", "painted": "paint", "paper": "paper",
    "pavingstones": "stone", "pebble": "gravel", "planks": "wood", "plaster": "plaster", "plastic": "plastic",
    "putz": "plaster", "rock": "stone", "rocks": "stone", "rust": "rust", "rusty": "rust", "rustymetal": "rust",
    "sand": "sand", "slate": "stone", "snow": "snow", "steel": "steel", "stone": "stone", "stucco": "plaster",
    "tile": "tiles", "tiles": "tiles", "wood": "wood", "wooden": "wood", "woodfloor": "wood", "woodplanks": "wood",
    "woodsiding": "wood", "wool": "fabric"}
CONTRASTS = ("even", "medium", "contrasty")
GRAINS = ("clean", "fine", "medium", "coarse")
PHOTOGRAPH_ATTRIBUTES = {**ATTRIBUTES, "contrast": CONTRASTS, "grain": GRAINS,
                         "material": ("none", *sorted(set(MATERIALS.values())))}

LEVEL_LIMITS = (0.34, 0.62)  # of the mean gray value between 0 and 1: dark | gray | bright
CONTRAST_LIMITS = (0.035, 0.11)  # of the standard deviation: even | medium | contrasty
CLEAN_GRAIN = 0.006  # standard deviation of detail below which no grain is seen
MIN_COHERENCE = 0.3  # of the structure tensor, between 0 for no direction and 1 for stripes
HALF_SECTOR = 22.5  # degrees about the vertical and the horizontal; the rest is diagonal
MIN_CHROMA = 0.035  # difference of two colours' means
MARK_WIDTH = 1 / 8  # of the side: a mark is narrower than this, the ground changes more slowly
GROUND_STEP = 4  # pixels between the places at which the ground is looked at
MIN_MARK_DEPTH = 0.07  # of a mark against the ground around it, between 0 and 1
MARK_DEVIATIONS = 5.0  # the same, in robust standard deviations of the ground
MIN_MARK_AREA, MAX_MARK_SHARE = 5, 0.25  # pixels; share of the image, above which it is a pattern and not marks
MANY_MARKS = 6
LINE_ELONGATION, LINE_WIDTH = 4.0, 5.5  # length over width; pixels
SPECK_AREA, SPOT_AREA = 14, 160  # pixels: specks | spots | blotches


@dataclass(frozen=True)
class Marks:
    """What stands out from the ground. All are "none" without marks, and None if no one could say."""
    mark: str | None = "none"
    tone: str | None = "none"
    quantity: str | None = "none"
    orientation: str = "none"


def describe(image: np.ndarray, words: str = "") -> dict[str, str | None]:
    """The attributes (PHOTOGRAPH_ATTRIBUTES) of an image (H, W, 3) uint8. None stands for "not known".

    `words` are those of the image's source. They tell the material.
    """
    colour = image.astype(np.float32) / 255
    gray = colour.mean(axis=2)
    marks = find_marks(gray)
    ground = orientation(gray)
    return {"base": None, "mark": marks.mark, "tone": marks.tone, "quantity": marks.quantity,
            "orientation": marks.orientation if marks.orientation != "none" else ground,
            "level": ATTRIBUTES["level"][int(np.searchsorted(LEVEL_LIMITS, gray.mean()))],
            "tint": tint(colour.mean(axis=(0, 1))),
            "contrast": CONTRASTS[int(np.searchsorted(CONTRAST_LIMITS, gray.std()))],
            "grain": grain(gray), "material": material(words)}


def caption(rng: np.random.Generator, attributes: dict[str, str | None]) -> str:
    """A sentence that names some of the attributes. `rng` chooses which."""
    def some(name: str, chance: float = 0.65) -> list[str]:
        value = attributes[name]
        said = value not in (None, "none", "medium") and rng.random() < chance
        return [str(value)] if said else []

    quantity = {"few": ["a", "few"], "many": ["many"]}.get(str(attributes["quantity"]), [])
    marks = []
    if attributes["mark"] not in (None, "none"):
        marks = [*(quantity if rng.random() < 0.65 else []), *some("tone", 0.8), str(attributes["mark"]), "on"]
    ground = [*some("level"), *some("tint", 0.9), *some("orientation", 0.5), *some("contrast", 0.5),
              *some("grain", 0.5)]
    matter = some("material", 0.85) or ["surface"]
    return " ".join([pick(rng, ("a photo of",) * 6 + ("an image of", "a close-up of")), *marks, *ground, *matter])


# ---- what is measured -------------------------------------------------------------------------------------------


def material(words: str) -> str:
    """The first material that the words name, or "none"."""
    return next((MATERIALS[word] for word in words.lower().replace("-", " ").split() if word in MATERIALS), "none")


def tint(colour: np.ndarray) -> str | None:
    """The tint of a mean colour (3,) between 0 and 1. None if it is one that captions have no word for."""
    red, green, blue = (float(value) for value in colour)
    if max(red, green, blue) - min(red, green, blue) < MIN_CHROMA:
        return "none"
    if blue > red and blue > green:
        return "bluish"
    if red >= green >= blue and red - blue >= MIN_CHROMA:
        return "brownish" if green - blue > 0.5 * (red - green) else "reddish"
    return "reddish" if red > green else None


def orientation(gray: np.ndarray) -> str:
    """The direction along which an image (H, W) runs, by its structure tensor."""
    soft = ndimage.gaussian_filter(gray, 1.0)
    down, across = np.gradient(soft)
    a, b, c = (across * across).mean(), (across * down).mean(), (down * down).mean()
    if np.hypot(a - c, 2 * b) < MIN_COHERENCE * max(a + c, 1e-9):
        return "none"
    return name_of_direction(0.5 * np.arctan2(2 * b, a - c) + np.pi / 2)  # things run across their gradient


def name_of_direction(angle: float) -> str:
    """The name of an angle against the x axis, in radians."""
    degrees = np.degrees(angle) % 180
    if abs(degrees - 90) < HALF_SECTOR:
        return "vertical"
    return "horizontal" if min(degrees, 180 - degrees) < HALF_SECTOR else "diagonal"


def grain(gray: np.ndarray) -> str:
    """The scale of most of the detail: waves of 2 to 4 pixels are fine, up to 8 medium, above that coarse."""
    blurred = [gray, *(ndimage.gaussian_filter(gray, sigma) for sigma in (0.8, 1.6, 3.2))]
    octaves = [float((fine - coarse).std()) for fine, coarse in zip(blurred, blurred[1:])]
    if max(octaves) < CLEAN_GRAIN:
        return "clean"
    return GRAINS[1 + int(np.argmax(octaves))]


def find_marks(gray: np.ndarray) -> Marks:
    """Bounded marks: what differs from the median of the image around it."""
    soft = ndimage.gaussian_filter(gray, 0.8)
    size = max(3, round(2 * MARK_WIDTH * min(gray.shape) / GROUND_STEP))
    ground = ndimage.median_filter(ndimage.gaussian_filter(gray, 1.5)[::GROUND_STEP, ::GROUND_STEP], size)
    ground = ground.repeat(GROUND_STEP, 0).repeat(GROUND_STEP, 1)[:gray.shape[0], :gray.shape[1]]
    residual = soft - ndimage.gaussian_filter(ground, GROUND_STEP)
    spread = 1.4826 * float(np.median(np.abs(residual - np.median(residual))))
    depth = max(MIN_MARK_DEPTH, MARK_DEVIATIONS * spread)
    found = {tone: sign * residual > depth for tone, sign in (("dark", -1), ("bright", 1))}
    tone = max(found, key=lambda name: int(found[name].sum()))
    labels: np.ndarray = ndimage.label(found[tone], np.ones((3, 3)))[0]  # pyright: ignore
    areas = np.bincount(labels.ravel())[1:]
    kept = [k + 1 for k in range(len(areas)) if areas[k] >= MIN_MARK_AREA]
    if not kept:
        return Marks()
    if found[tone].mean() > MAX_MARK_SHARE:
        return Marks(None, None, None)
    largest = max(kept, key=lambda k: int(areas[k - 1]))
    shape, along = name_of_shape(np.argwhere(labels == largest), float(np.median(areas[[k - 1 for k in kept]])))
    return Marks(shape, tone, "many" if len(kept) >= MANY_MARKS else "few", along)


def name_of_shape(pixels: np.ndarray, typical_area: float) -> tuple[str, str]:
    """(kind of mark, its direction) from the pixels (n, 2) of the largest mark and the area of a typical one."""
    (minor, major), axes = np.linalg.eigh(np.cov(pixels.T) + np.eye(2) / 12)  # 1 / 12: a pixel has an extent
    length, width = np.sqrt(12 * major), np.sqrt(12 * minor)  # of a bar with these second moments
    if length > LINE_ELONGATION * width:
        down, right = axes[:, 1]
        return "lines" if width < LINE_WIDTH else "streaks", name_of_direction(np.arctan2(down, right))
    if len(pixels) > SPOT_AREA and len(pixels) < 0.2 * length * width:
        return "veins", "none"
    area = max(typical_area, len(pixels) / 4)
    return "specks" if area < SPECK_AREA else "spots" if area < SPOT_AREA else "blotches", "none"
