"""The two pictures of tune.py, drawn with Pillow alone: a row for each s, a column for each w."""
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from ..data.images import save_image
from ..evaluate.tuning import Cell, CellResult
from .pictures import INK, RED, WHITE, Colour

SIDE, GAP = 96, 4  # pixels of a cell and its gap to the next
LEFT, TOP, MARGIN = 70, 60, 10  # pixels around the cells
LEAST_WIDTH = 520  # pixels; the title needs them
SCALE_HEIGHT, SCALE_WIDTH, BAR_HEIGHT = 40, 240, 14  # pixels of the scale of colours
DARK, GRAY = (20, 20, 20), (80, 80, 80)


class GridPicture:
    """An empty grid with its title and labels, and where its cells are."""

    def __init__(self, strengths: Sequence[float], guidances: Sequence[float], title: str, foot: int = 0) -> None:
        self.strengths, self.guidances = strengths, guidances
        size = (max(LEAST_WIDTH, LEFT + SIDE * len(guidances) + MARGIN), TOP + SIDE * len(strengths) + MARGIN + foot)
        self.image = Image.new("RGB", size, WHITE)
        self.pen = ImageDraw.Draw(self.image)
        self.pen.text((LEFT, 6), title, fill=INK)
        for k, w in enumerate(guidances):
            self.pen.text((LEFT + SIDE * k + 24, TOP - 20), f"w = {w:g}", fill=INK)
        for r, s in enumerate(strengths):
            self.pen.text((8, TOP + SIDE * r + 40), f"s = {s:g}", fill=INK)

    def box(self, cell: Cell) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of a cell."""
        left = LEFT + SIDE * self.guidances.index(cell.w)
        top = TOP + SIDE * self.strengths.index(cell.s)
        return left, top, left + SIDE - GAP, top + SIDE - GAP


def save_heat_map(path: Path, strengths: Sequence[float], guidances: Sequence[float],
                  results: Mapping[Cell, CellResult], title: str, chosen: Cell) -> None:
    """Draw each cell's distance, its standard deviation and its novelty. The cell chosen has a frame.

    The bar at the foot says which colour is which distance: the bluer, the nearer.
    """
    picture = GridPicture(strengths, guidances, title, foot=SCALE_HEIGHT)
    low, high = (extreme(result.fid for result in results.values()) for extreme in (min, max))
    for cell, result in results.items():
        left, top, *_ = box = picture.box(cell)
        picture.pen.rectangle(box, fill=shade(1 - (result.fid - low) / (high - low or 1)))
        picture.pen.text((left + 18, top + 18), f"{result.fid:.2f}", fill=DARK)
        picture.pen.text((left + 18, top + 36), f"+- {result.fid_sd:.2f}", fill=DARK)
        picture.pen.text((left + 18, top + 54), f"({result.novelty:.2f})", fill=GRAY)
        if cell == chosen:
            picture.pen.rectangle(box, outline=RED, width=3)
    draw_scale(picture, low, high)
    save_image(path, picture.image)


def draw_scale(picture: GridPicture, low: float, high: float) -> None:
    """A bar of colours from the least distance to the largest one, at the foot."""
    top = picture.image.height - SCALE_HEIGHT
    for x in range(SCALE_WIDTH):
        picture.pen.line((LEFT + x, top, LEFT + x, top + BAR_HEIGHT), fill=shade(1 - x / (SCALE_WIDTH - 1)))
    for x, value in ((0, low), (SCALE_WIDTH // 2, (low + high) / 2), (SCALE_WIDTH, high)):
        picture.pen.text((LEFT + x, top + BAR_HEIGHT + 3), f"{value:.2f}", fill=INK, anchor="ma")
    picture.pen.text((LEFT + SCALE_WIDTH + 30, top), "distance", fill=INK)


def shade(goodness: float) -> Colour:
    """Between beige at 0 and blue at 1."""
    return round(250 - 150 * goodness), round(235 - 55 * goodness), round(215 + 10 * goodness)


def save_first_images(path: Path, strengths: Sequence[float], guidances: Sequence[float],
                      images: Mapping[Cell, Image.Image]) -> None:
    """Draw the first image of each cell: all are made from one source with one seed."""
    picture = GridPicture(strengths, guidances, "the first image of each cell")
    for cell, image in images.items():
        small = image.convert("RGB").resize((SIDE - GAP, SIDE - GAP), Image.Resampling.LANCZOS)
        picture.image.paste(small, picture.box(cell)[:2])
    save_image(path, picture.image)
