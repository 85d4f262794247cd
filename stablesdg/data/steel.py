"""A procedural steel data set for the demo and the tests: python -m stablesdg.steel demo-data

Three classes that a person tells apart at once, on a grainy gray surface with uneven light: patches (dark blotches),
scratches (thin bright lines) and pits (small dark dots). Nothing in it is taken from a real data set.
"""
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

SIDE = 200  # pixels

Gray = np.ndarray  # (SIDE, SIDE), values about 0 .. 1


def surface(rng: np.random.Generator) -> Gray:
    """A rolled surface: grain drawn out along one axis, coarse clouds, a gradient of light."""
    grain = gaussian_filter(rng.standard_normal((SIDE, SIDE)), (rng.uniform(0.5, 1), rng.uniform(1, 4)))
    clouds = gaussian_filter(rng.standard_normal((SIDE, SIDE)), rng.uniform(12, 30))
    y, x = np.mgrid[-0.5:0.5:SIDE * 1j, -0.5:0.5:SIDE * 1j]
    light = rng.uniform(-0.15, 0.15) * x + rng.uniform(-0.15, 0.15) * y
    return rng.uniform(0.45, 0.6) + 0.04 * grain / grain.std() + 0.04 * clouds / clouds.std() + light


def patches(rng: np.random.Generator) -> Gray:
    """Dark blotches: a smooth random field above a threshold."""
    field = gaussian_filter(rng.standard_normal((SIDE, SIDE)), rng.uniform(9, 16))
    field = field / field.std() + 0.15 * rng.standard_normal((SIDE, SIDE))
    mask = gaussian_filter((field > rng.uniform(0.6, 1.2)).astype(float), 1)
    return surface(rng) - rng.uniform(0.2, 0.3) * mask


def scratches(rng: np.random.Generator) -> Gray:
    """One to four thin bright lines, near one direction."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    image, direction = surface(rng), rng.uniform(0, np.pi)
    for _ in range(rng.integers(1, 5)):
        angle = direction + rng.normal(0, 0.08)
        across = (x - rng.uniform(0.2, 0.8) * SIDE) * np.sin(angle) - (y - rng.uniform(0.2, 0.8) * SIDE) * np.cos(angle)
        image = image + rng.uniform(0.2, 0.4) * np.exp(-(across / rng.uniform(1, 2.2)) ** 2)
    return image


def pits(rng: np.random.Generator) -> Gray:
    """Ten to sixty small dark dots with a bright lower edge."""
    dots = np.zeros((SIDE, SIDE))
    for cy, cx in rng.integers(4, SIDE - 4, size=(rng.integers(10, 60), 2)):
        dots[cy, cx] = rng.uniform(0.5, 1)
    dots = gaussian_filter(dots, rng.uniform(1.5, 2.5))
    dots *= rng.uniform(0.25, 0.4) / dots.max()
    return surface(rng) - dots + 0.4 * np.roll(dots, 3, axis=0)


CLASSES: dict[str, Callable[[np.random.Generator], Gray]] = {"patches": patches, "pits": pits, "scratches": scratches}


def steel_image(name: str, index: int, seed: int = 0) -> Image.Image:
    """One gray image of a class, 200 x 200 pixels. It depends on class, index and seed alone."""
    rng = np.random.default_rng([seed, sorted(CLASSES).index(name), index])
    return Image.fromarray((CLASSES[name](rng).clip(0, 1) * 255).round().astype(np.uint8))
