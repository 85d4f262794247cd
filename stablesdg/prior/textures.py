"""Procedural surfaces with captions: what weights/nano and its feature network are trained on.

A texture is a base (the ground) with at most one kind of mark on it, under uneven light. All of it follows from
(seed, index); grain, spots and the cells of cracks have lengths in pixels, so that a larger image shows more of the
same surface, while lines, as long as the image, and dents keep their number. Nothing is fitted to a real data set,
and the captions hold none of the class names of the steel data sets that this project is about: a category's name is
what `<unknown>` has to learn.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from scipy.ndimage import gaussian_filter

BASES = ("brushed", "grainy", "smooth", "cloudy", "wavy", "striped", "pebbled", "mottled")
MARKS = ("none", "blotches", "streaks", "lines", "veins", "specks", "spots", "flakes", "dents")
TONES = ("none", "dark", "bright")
QUANTITIES = ("none", "few", "many")
ORIENTATIONS = ("none", "vertical", "horizontal", "diagonal")
LEVELS = ("dark", "gray", "bright")
TINTS = ("none", "reddish", "bluish", "brownish")
ATTRIBUTES = {"base": BASES, "mark": MARKS, "tone": TONES, "quantity": QUANTITIES, "orientation": ORIENTATIONS,
              "level": LEVELS, "tint": TINTS}  # orientation is the mark's, or the base's where the mark has none

TINT_COLOURS = {"reddish": (1.2, 0.92, 0.88), "bluish": (0.86, 0.95, 1.2), "brownish": (1.15, 1.0, 0.78)}
LEVEL_RANGES = {"dark": (0.14, 0.32), "gray": (0.36, 0.6), "bright": (0.64, 0.86)}
MATERIALS = ("metal", "metal", "steel", "surface")
GENERIC = ("<unknown>", "<unknown>", "a defect", "a surface")  # captions that name nothing


T = TypeVar("T")


@dataclass(frozen=True)
class Texture:
    """A drawn surface."""
    image: np.ndarray  # (side, side, 3) uint8
    caption: str
    attributes: dict[str, Any]  # each name of ATTRIBUTES -> one of its values


def draw(index: int, seed: int = 0, side: int = 128) -> Texture:
    """The texture of one index; depends on (seed, index, side) alone."""
    rng = np.random.default_rng([seed, index])
    base, level, tint = pick(rng, BASES), pick(rng, ("dark", "gray", "gray", "bright")), "none"
    surface, contrast, base_orientation = draw_base(rng, base, side)
    mark = pick(rng, MARKS + MARKS[1:4])  # blotches, streaks and lines twice as often as the rest
    mask, tone, quantity, orientation = draw_mark(rng, mark, side)

    gray = rng.uniform(*LEVEL_RANGES[level]) + contrast * surface
    depth = rng.uniform(0.12, 0.5) * np.abs(mask).clip(0, 1.5)
    toward = {"none": 0.5 + 0.5 * np.sign(mask), "dark": rng.uniform(0, 0.1), "bright": rng.uniform(0.9, 1)}[tone]
    gray = gray + np.minimum(1.6 * depth, 0.95) * (toward - gray) * (1 - rng.uniform(0, 0.5) * depth)
    if rng.random() < 0.6:
        gray = gray * illumination(rng, side)
    if rng.random() < 0.5:
        gray = gaussian_filter(gray, rng.uniform(0, 1.1))  # soft focus
    gray = gray + rng.uniform(0, 0.02) * rng.standard_normal((side, side))  # the sensor's noise
    colour = np.ones(3)
    if rng.random() < 0.2:
        tint = pick(rng, TINTS[1:])
        colour += rng.uniform(0.5, 1.2) * (np.array(TINT_COLOURS[tint]) - 1)
    image = ((gray.clip(0, 1)[..., None] * colour).clip(0, 1) * 255).round().astype(np.uint8)

    attributes = dict(base=base, mark=mark, tone=tone, quantity=quantity, level=level, tint=tint,
                      orientation=orientation if orientation != "none" else base_orientation)
    return Texture(image, caption(rng, attributes, orientation, base_orientation), attributes)


def caption(rng: np.random.Generator, attributes: dict[str, str], orientation: str, base_orientation: str) -> str:
    """A sentence that names some of the attributes: always base and mark, the others more often than not."""
    if rng.random() < 0.04:
        return "a photo of " + pick(rng, GENERIC)

    def some(value: str, chance: float = 0.65) -> list[str]:
        return [value] if value != "none" and rng.random() < chance else []

    quantity = {"few": "a few", "many": "many", "none": "none"}[attributes["quantity"]]
    ground = [*some(attributes["level"]), *some(attributes["tint"], 0.9), *some(base_orientation), attributes["base"],
              pick(rng, MATERIALS)]
    if attributes["mark"] == "none":
        marks = []
    else:
        marks = [*some(quantity), *some(attributes["tone"], 0.8), *some(orientation), attributes["mark"], "on"]
    return " ".join([pick(rng, ("a photo of",) * 6 + ("an image of", "a close-up of")), *marks, *ground])


# ---- the ground -------------------------------------------------------------------------------------------------


def draw_base(rng: np.random.Generator, name: str, side: int) -> tuple[np.ndarray, float, str]:
    """(surface (side, side) of mean 0 and deviation 1, its contrast on a scale of 0 to 1, orientation)."""
    orientation, angle = "none", rng.uniform(0, np.pi)
    if name in ("brushed", "wavy", "striped"):
        orientation, angle = direction(rng)
    if name == "brushed":
        surface = 0.8 * cloud(rng, side, rng.uniform(0.5, 1), angle, rng.uniform(2.5, 7)) + 0.4 * cloud(rng, side, 0.2)
        contrast = rng.uniform(0.02, 0.1)
    elif name == "grainy":
        surface = cloud(rng, side, rng.uniform(0, 0.7), angle, rng.uniform(1, 1.6)) + 0.4 * cloud(rng, side, 1.5)
        contrast = rng.uniform(0.05, 0.18)
    elif name == "smooth":
        surface = cloud(rng, side, rng.uniform(1.2, 2)) + 0.4 * cloud(rng, side, 0.2)
        contrast = rng.uniform(0.005, 0.025)
    elif name == "cloudy":
        surface = cloud(rng, side, rng.uniform(1.4, 2.2), angle, rng.uniform(1, 2)) + 0.12 * cloud(rng, side, 0.2)
        contrast = rng.uniform(0.06, 0.15)
    elif name == "wavy":
        relief = band(rng, side, rng.uniform(6, 16), 0.5, angle, rng.uniform(1.3, 2.5))
        surface = relief - np.roll(relief, 2, axis=0) + 0.2 * cloud(rng, side, 0.5)
        contrast = rng.uniform(0.04, 0.12)
    elif name == "striped":
        across = coordinates(side, angle)[1] / rng.uniform(6, 30)
        surface = np.sin(2 * np.pi * across + 0.5 * cloud(rng, side, 1.8)) + 0.3 * cloud(rng, side, 0.4)
        contrast = rng.uniform(0.04, 0.14)
    elif name == "pebbled":
        surface = dead_leaves(rng, side) + 0.2 * cloud(rng, side, 0.3)
        contrast = rng.uniform(0.05, 0.15)
    else:  # mottled: two tones with ragged borders
        surface = np.tanh(rng.uniform(1, 3) * band(rng, side, rng.uniform(5, 16), 0.4)) + 0.3 * cloud(rng, side, 0.5)
        contrast = rng.uniform(0.04, 0.13)
    return (surface - surface.mean()) / surface.std(), contrast, orientation


def dead_leaves(rng: np.random.Generator, side: int) -> np.ndarray:
    """Overlapping discs of many sizes, each of one tone, painted one over the other."""
    surface = np.zeros((side, side))
    radii = np.clip(2.5 * (1 - rng.random(round(side * side / 70))) ** (-1 / 1.7), 2.5, 22)
    tones, centres = rng.standard_normal(len(radii)), rng.integers(0, side, size=(len(radii), 2))
    for radius, tone, (cy, cx) in zip(radii, tones, centres):
        rows, columns = (np.arange(max(c - int(radius), 0), min(c + int(radius) + 1, side)) for c in (cy, cx))
        inside = (rows[:, None] - cy) ** 2 + (columns[None] - cx) ** 2 < radius**2
        surface[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1][inside] = tone
    return surface


def illumination(rng: np.random.Generator, side: int) -> np.ndarray:
    """A factor that falls from one side to the other."""
    along, across = coordinates(side, rng.uniform(0, 2 * np.pi))
    return 1 + rng.uniform(0.1, 0.8) * along / 128 + rng.uniform(-0.3, 0.3) * (across / 128) ** 2


# ---- marks ------------------------------------------------------------------------------------------------------


def draw_mark(rng: np.random.Generator, name: str, side: int) -> tuple[np.ndarray, str, str, str]:
    """(mask (side, side), tone, quantity, orientation).

    The mask is 0 off the marks and about 1 on them; of flakes and dents, whose one flank is lit and the other dark, it
    is signed and the tone is none.
    """
    if name == "none":
        return np.zeros((side, side)), "none", "none", "none"
    quantity, tone, orientation = pick(rng, QUANTITIES[1:]), pick(rng, TONES[1:]), "none"
    few = quantity == "few"
    if name == "blotches":
        field = band(rng, side, rng.uniform(24, 70), 0.5, rng.uniform(0, np.pi), rng.uniform(1, 1.7))
        field = field + rng.uniform(0, 0.15) * cloud(rng, side, 0.7)
        mask = above(field, rng.uniform(1, 1.6) if few else rng.uniform(0.1, 0.9), rng.uniform(4, 15))
    elif name == "streaks":
        orientation, angle = direction(rng)
        field = band(rng, side, rng.uniform(8, 24), 0.5, angle, rng.uniform(2.5, 4))
        mask = above(field, rng.uniform(1.8, 2.3) if few else rng.uniform(1, 1.6), rng.uniform(4, 9))
    elif name == "lines":
        orientation, angle = direction(rng)
        mask = lines(rng, side, angle, int(rng.integers(1, 4) if few else rng.integers(5, 13)))
    elif name == "veins":
        mask = cracks(rng, side, few)
    elif name in ("specks", "spots"):
        count, radius = ((3, 12), (0.7, 1.5)) if name == "specks" else ((1, 5), (2.5, 7))
        many = side * side / 128**2 * (12 if name == "specks" else 5)
        mask = dots(rng, side, rng.uniform(*count) * (1 if few else many), rng.uniform(*radius))
    elif name == "flakes":
        orientation, angle = direction(rng)
        field = band(rng, side, rng.uniform(7, 18), 0.5, angle, rng.uniform(1.2, 2.2))
        mask = above(field, rng.uniform(1.7, 2.1) if few else rng.uniform(0.9, 1.5), 6)
        mask = mask * np.clip(field - np.roll(field, (2, 1), (0, 1)), -1, 1) * 1.5
    else:  # dents: round hollows, seen by their two flanks alone
        radius, angle = rng.uniform(4, 12), rng.uniform(0, 2 * np.pi)
        bumps = dots(rng, side, rng.uniform(1, 4) if few else rng.uniform(8, 20), radius)
        down, right = np.gradient(bumps)
        mask = (np.cos(angle) * right + np.sin(angle) * down) * 1.6 * radius
    if name in ("flakes", "dents"):
        tone = "none"
    return mask, tone, quantity, orientation


def lines(rng: np.random.Generator, side: int, angle: float, count: int) -> np.ndarray:
    """Thin, slightly bent lines near one direction, some of them broken."""
    mask, spread = np.zeros((side, side)), pick(rng, (0.01, 0.2))
    for _ in range(count):
        along, across = coordinates(side, angle + spread * rng.standard_normal(),
                                    rng.uniform(0.1, 0.9, size=2) * side)
        across = across + rng.uniform(-1, 1) * 0.1 * along**2 / 128
        line = np.exp(-(across / rng.uniform(0.5, 2)) ** 2) * above(-np.abs(along), -rng.uniform(0.15, 1.2) * side, 0.3)
        if rng.random() < 0.5:
            line = line * (0.6 + 0.4 * np.sin(along / rng.uniform(2, 12) + rng.uniform(0, 6)))
        mask = np.maximum(mask, rng.uniform(0.5, 1) * line)
    return mask


def cracks(rng: np.random.Generator, side: int, few: bool) -> np.ndarray:
    """Borders of the cells around random points, in warped coordinates; `few` leaves parts of the net."""
    x, y = (axis + 4.5 * cloud(rng, side, 1.6) for axis in coordinates(side, 0.0))
    points = rng.uniform(-0.6, 0.6, size=(max(5, round(rng.uniform(5, 28) * (side / 128) ** 2)), 2)) * side
    stretch = rng.uniform(0.6, 1.6)
    nearest = np.full((2, side, side), np.inf)
    for px, py in points:
        distance = np.hypot((x - px) * stretch, (y - py) / stretch)
        nearest[1] = np.minimum(nearest[1], np.maximum(nearest[0], distance))
        nearest[0] = np.minimum(nearest[0], distance)
    net = np.exp(-((nearest[1] - nearest[0]) / rng.uniform(1.2, 3)) ** 2)
    return net * above(cloud(rng, side, 1.3), rng.uniform(0.2, 0.8) if few else rng.uniform(-1.5, -0.5), 3)


def dots(rng: np.random.Generator, side: int, count: float, radius: float) -> np.ndarray:
    """Round dots of about one size at random places, with soft rims."""
    places = np.zeros((side, side))
    for cy, cx in rng.integers(0, side, size=(max(1, round(count)), 2)):
        places[cy, cx] = rng.uniform(0.5, 1)
    soft = gaussian_filter(places, radius * rng.uniform(0.6, 1)) * 2 * np.pi * (0.8 * radius) ** 2
    return soft.clip(0, 1)


# ---- random fields ----------------------------------------------------------------------------------------------


def pick(rng: np.random.Generator, values: Sequence[T]) -> T:
    """One of the values."""
    return values[int(rng.integers(len(values)))]


def direction(rng: np.random.Generator) -> tuple[str, float]:
    """(its name, the angle against the x axis along which things are drawn out)."""
    name = pick(rng, ("vertical", "horizontal", "diagonal"))
    angle = {"vertical": np.pi / 2, "horizontal": 0.0, "diagonal": pick(rng, (1, -1)) * rng.uniform(0.5, 1.1)}[name]
    return name, angle + 0.04 * rng.standard_normal()


def coordinates(side: int, angle: float, centre: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (along, across) an axis of this angle, from the centre (x, y) of the image or the one given."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float64)
    cx, cy = centre if centre is not None else ((side - 1) / 2, (side - 1) / 2)
    x, y = x - cx, y - cy
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def above(field: np.ndarray, threshold: float, sharpness: float) -> np.ndarray:
    """A soft step: 0 below the threshold, 1 above it."""
    return 1 / (1 + np.exp(-np.clip(sharpness * (field - threshold), -30, 30)))


def frequencies(side: int, angle: float, stretch: float) -> np.ndarray:
    """Cycles a pixel (side, side // 2 + 1), measured so that fields become `stretch`^2 times as long along `angle`."""
    y, x = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return np.hypot(along * stretch, across / stretch)


def filtered_noise(rng: np.random.Generator, amplitude: np.ndarray, side: int) -> np.ndarray:
    """White noise with the given amplitudes of its spectrum; mean 0, deviation 1."""
    amplitude = amplitude.copy()
    amplitude[0, 0] = 0
    noise = rng.standard_normal((2, *amplitude.shape), dtype=np.float32)
    field = np.fft.irfft2(amplitude * (noise[0] + 1j * noise[1]), (side, side))
    return field / field.std()


def cloud(rng: np.random.Generator, side: int, exponent: float, angle: float = 0.0, stretch: float = 1.0) -> np.ndarray:
    """Noise whose amplitude falls as frequency^-exponent: 0 is white, 2 is smooth."""
    return filtered_noise(rng, np.maximum(frequencies(side, angle, stretch), 0.7 / 128) ** -exponent, side)


def band(rng: np.random.Generator, side: int, wavelength: float, width: float, angle: float = 0.0,
         stretch: float = 1.0) -> np.ndarray:
    """Noise of features about `wavelength` pixels apart; `width` is the band's, in natural logarithms of frequency."""
    f = np.maximum(frequencies(side, angle, stretch), 0.3 / 128)
    return filtered_noise(rng, np.exp(-0.5 * (np.log(f * wavelength) / width) ** 2) / np.sqrt(f), side)
