"""Crops of drawn textures that share surface or do not, and the manifest of a split."""
import json

import numpy as np
from PIL import Image

from stablesdg.data.images import save_image
from stablesdg.prior.textures import draw

BASES = ("brushed", "grainy", "cloudy", "wavy", "pebbled", "mottled")  # stripes are alike wherever they are cut


def grounds(names, side, first=0):
    """Large gray textures, one of each base named."""
    found, index = {}, first
    while len(found) < len(names):
        texture = draw(index, side=side)
        if texture.attributes["base"] in names and texture.attributes["base"] not in found:
            found[texture.attributes["base"]] = texture.image.mean(-1)
        index += 1
    return list(found.values())


def crops(ground, places, side=96):
    return [Image.fromarray(ground[y:y + side, x:x + side].astype(np.uint8)) for y, x in places]


def overlapping_crops():
    """Pairs of crops of one ground with 15 to 50 percent in common, exposed and with noise each for itself."""
    rng, images = np.random.default_rng(0), []
    for ground in grounds(BASES, 400):
        for share in (0.15, 0.2, 0.3, 0.5):
            dy = rng.integers(0, 30)
            dx = round(160 * (1 - share * 160 / (160 - dy)))
            images += [(ground[y:y + 160, x:x + 160] * rng.uniform(0.85, 1.15) + rng.normal(0, 2, (160, 160))).round()
                       for y, x in ((0, 0), (dy, dx))]
    return images


def save_strips(folder):
    """A class of ten strips, each cut into three overlapping crops."""
    names = ("grainy", "mottled", "wavy", "pebbled", "brushed")
    for s, ground in enumerate(grounds(names, 200) + grounds(names, 200, first=5000)):
        for k in range(3):
            crop = Image.fromarray(ground[:96, 40 * k:40 * k + 96].astype(np.uint8))
            save_image(folder / f"{s}_{k}.png", crop)


def manifest_of(place, name="set"):
    return json.loads((place / "runs" / name / "split.json").read_text())["files"]
