"""From production photographs to square tiles, the paper's preparation (sec. IV-A).

A photograph is made gray, binarised by Otsu's threshold and cut to the bounding box of its largest piece. With `whole`
it is not cut, but tiled as it is. The piece is cut into square tiles, which are resized. tiles.csv in each class folder
says which photograph a tile came from, so that the split keeps such tiles together.

The published layouts of NEU-CLS (Cr_1.bmp ..) and NEU-DET (crazing_1.jpg .., in any folders) are recognised. Their
images are already cut.
"""
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import find_objects

from ..storage.errors import UserError
from ..storage.files import sha256, write_csv
from .arithmetic import number_parts, otsu
from .folders import has_image_ending, is_hidden, list_images
from .images import read_image, save_image
from .parts import count
from .window import FULL, Window, deep_files, deep_pixels, measure_window

NEU_SHORT_NAMES = {"crazing": "Cr", "inclusion": "In", "patches": "Pa", "pitted_surface": "PS", "rolled-in_scale": "RS",
                   "scratches": "Sc"}
NEU_CLASSES = {**NEU_SHORT_NAMES, **{short: short for short in NEU_SHORT_NAMES.values()}}
MOST_DISCARDED = 0.5  # share of a class's photographs, before there is a warning
PHOTOGRAPHS_SHOWN, TILES_SHOWN = 6, 6  # on a contact sheet; tiles of each photograph

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels


@dataclass(frozen=True)
class TileSettings:
    """How photographs are cut."""
    size: int  # side of a finished tile in pixels
    tile: int | None  # side of a tile in the photograph, or None for the shorter side of the piece
    overlap: float  # share of a tile that its neighbour repeats, from 0 to below 1
    dark: bool  # the piece is darker than what surrounds it
    window: Window | None = None  # of 16-bit photographs, or None: that of their data set
    whole: bool = False  # the photograph shows nothing but the piece: none of it is background


@dataclass(frozen=True)
class CutPhotograph:
    """A photograph, its piece and its tiles."""
    name: str
    gray: Image.Image
    box: Box
    tiles: list[Image.Image]
    tiled: float  # share of the piece's box that lies in tiles

    @property
    def discarded(self) -> float:
        """The share of the photograph outside the piece's box."""
        left, top, right, bottom = self.box
        return 1 - (right - left) * (bottom - top) / (self.gray.width * self.gray.height)

    @property
    def contact_row(self) -> tuple[str, list[Image.Image]]:
        """A label, and the images for a check by eye: the photograph, its piece and the first tiles."""
        return (f"{self.name}, piece {self.box}, {count(len(self.tiles), 'tile')}",
                [self.gray, self.gray.crop(self.box), *self.tiles[:TILES_SHOWN]])


def published_files(raw: Path) -> list[tuple[Path, str]]:
    """[(file, class), ..] if every image below `raw` is named as NEU publishes them, else []."""
    files = [file for file in sorted(raw.rglob("*")) if has_image_ending(file) and not is_hidden(file)]
    names = [re.fullmatch(r"(.+)_\d+", file.stem) for file in files]
    classes = [NEU_CLASSES.get(match[1]) if match else None for match in names]
    found = [(file, short) for file, short in zip(files, classes) if short is not None]
    return found if len(found) == len(files) else []


def photographs_window(raw: Path, black: int | None, white: int | None) -> Window | None:
    """The window of 16-bit photographs in the folders of `raw`, or None if there are none.

    black, white  gray levels that become black and white; what is None is measured over all photographs, and said
    """
    files = deep_files(raw)
    if next(deep_pixels(files), None) is None:
        if black is not None or white is not None:
            raise UserError(f"{raw} holds no 16-bit images, and --black and --white are for these: leave them out.")
        return None
    measured = measure_window(files)
    window = Window(measured.black if black is None else black, measured.white if white is None else white,
                    measured.why if black is None or white is None else "as asked")
    if window != FULL:
        print(f"16-bit photographs: {window.black} becomes black and {window.white} white ({window.why})")
    return window


def prepare_category(folder: Path, out: Path, settings: TileSettings) -> list[CutPhotograph]:
    """Write the tiles of one class's photographs and tiles.csv into the folder `out`.

    Returns the first photographs, for a contact sheet. Raises UserError if a photograph cannot be read, or if tiles of
    two would have one name.
    """
    rows, shown, discarded, tiled = [], [], 0.0, 0.0
    files = list_images(folder)
    require_different_stems(files)
    for file in files:
        photograph = cut_photograph(file, settings)
        names = [f"{file.stem}_{k:02d}.png" for k in range(len(photograph.tiles))]
        for name, tile in zip(names, photograph.tiles):
            save_image(out / name, tile)
        known_as = f"{file.name} {sha256(file)[:12]}"  # photographs of other classes may have that name, too
        rows += [(name, known_as) for name in names]
        discarded += photograph.discarded / len(files)
        tiled += photograph.tiled / len(files)
        if len(shown) < PHOTOGRAPHS_SHOWN:
            shown.append(photograph)
    write_csv(out / "tiles.csv", ("file", "photograph"), rows)
    print(f"{folder.name}: {count(len(rows), 'tile')} of {count(len(files), 'photograph')}; {discarded:.0%} of their "
          "area discarded as background")
    if round(tiled, 2) < 1:
        print(f"{1 - tiled:.0%} of the pieces, at their ends, lies in no tile: --overlap or another --tile covers more")
    if discarded > MOST_DISCARDED:
        print(f"warning: {discarded:.0%} of {folder.name} was taken for background, which may be the defect itself: "
              f"look at contact-{folder.name}.png; --whole keeps all, --dark takes the dark side for the piece")
    return shown


def require_different_stems(files: Sequence[Path]) -> None:
    """Raise UserError if two photographs differ in the ends of their names alone: tiles are named after the rest."""
    known: dict[str, Path] = {}
    for file in files:
        other = known.setdefault(file.stem, file)
        if other != file:
            raise UserError(f"The tiles of {other} and {file.name} would have the same names: rename one of them.")


def cut_photograph(file: Path, settings: TileSettings) -> CutPhotograph:
    """Find the piece of a photograph and cut it into tiles."""
    gray = read_image(file, settings.window)[0].convert("L")
    box = (0, 0, *gray.size) if settings.whole else find_piece(gray, settings.dark)
    tiles = cut_tiles(gray.crop(box), settings.tile, settings.overlap, settings.size)
    width, height = box[2] - box[0], box[3] - box[1]
    side = min(settings.tile or min(width, height), width, height)
    tiled = covered(width, side, settings.overlap) * covered(height, side, settings.overlap)
    return CutPhotograph(file.name, gray, box, tiles, tiled)


def otsu_threshold(gray: Image.Image) -> int:
    """The gray level that parts the pixels into two classes of least variance; the dark ones are <= it."""
    return otsu(np.bincount(np.asarray(gray).ravel(), minlength=256), np.arange(256))[0]


def find_piece(gray: Image.Image, dark: bool = False) -> Box:
    """The box around the largest connected region on the piece's side of Otsu's threshold."""
    pixels = np.asarray(gray)
    threshold = otsu_threshold(gray)
    labels = number_parts(pixels <= threshold if dark else pixels > threshold)
    if not labels.any():  # one gray level alone
        return 0, 0, gray.width, gray.height
    rows, columns = find_objects(labels)[np.bincount(labels.ravel())[1:].argmax()]
    return columns.start, rows.start, columns.stop, rows.stop


def cut_tiles(image: Image.Image, side: int | None, overlap: float, size: int) -> list[Image.Image]:
    """Square tiles with the overlap asked for, resized to `size` pixels. What is left over at the ends lies in none.

    side  of a tile in the image in pixels; the image's shorter side if it is None, or if it is larger than that
    """
    side = min(side or min(image.size), *image.size)
    tiles = []
    for top in tile_starts(image.height, side, overlap):
        for left in tile_starts(image.width, side, overlap):
            tile = image.crop((left, top, left + side, top + side))
            tiles.append(tile.resize((size, size), Image.Resampling.LANCZOS) if side != size else tile)
    return tiles


def tile_starts(length: int, side: int, overlap: float) -> list[int]:
    """Where tiles begin along one axis, in pixels. What is left over is shared between both ends."""
    stride = max(1.0, round(side * (1 - overlap), 6))  # 200 * (1 - 0.7) is above 60, and a tile that fits would be lost
    n = int((length - side) // stride) + 1
    spare = length - side - (n - 1) * stride
    return [round(spare / 2 + k * stride) for k in range(n)]


def covered(length: int, side: int, overlap: float) -> float:
    """The share of one axis that lies in tiles."""
    starts = tile_starts(length, side, overlap)
    return (starts[-1] + side - starts[0]) / length
