"""The two pictures of tune.py, drawn with Pillow alone: a row for each s, a column for each w."""
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from ..data.images import save_image
from ..evaluate.tuning import Cell, CellResult
from .lettering import (
    NORMAL,
    SMALL,
    TITLE,
    Colour,
    ink_on,
    line_height,
    text_width,
    wrapped,
    write,
    write_centred,
    write_right,
)
from .pictures import INK, RED, WHITE

SIDE, GAP = 96, 4  # pixels of a cell and its gap to the next
LEFT, MARGIN = 84, 12  # pixels to the left of the cells, and around the picture
LEAST_WIDTH = 520  # pixels; the title needs them
SCALE_HEIGHT, SCALE_WIDTH, BAR_HEIGHT = 66, 240, 14  # pixels of the scale of colours


class GridPicture:
    """An empty grid with its title and labels, and where its cells are."""

    def __init__(self, strengths: Sequence[float], guidances: Sequence[float], title: str, note: str = "",
                 foot: int = 0) -> None:
        self.strengths, self.guidances = strengths, guidances
        width = max(LEAST_WIDTH, LEFT + SIDE * len(guidances) + MARGIN)
        title, note = wrapped(title, width - 2 * MARGIN, TITLE), wrapped(note, width - 2 * MARGIN, SMALL)
        below = MARGIN + line_height(TITLE) * (title.count("\n") + 1)
        self.top = below + line_height(SMALL) * (note.count("\n") + 1) + 2 * line_height(NORMAL) + MARGIN
        self.image = Image.new("RGB", (width, self.top + SIDE * len(strengths) + MARGIN + foot), WHITE)
        self.pen = ImageDraw.Draw(self.image)
        write(self.pen, MARGIN, MARGIN, title, INK, TITLE)
        write(self.pen, MARGIN, below, note, INK, SMALL)
        write(self.pen, LEFT, self.top - 2 * line_height(NORMAL) - 3, "guidance w", INK, SMALL)
        write_right(self.pen, LEFT - 10, self.top - line_height(NORMAL) - 3, "strength s", INK, SMALL)
        for k, w in enumerate(guidances):
            middle = LEFT + SIDE * (k + 0.5) - GAP / 2
            write_centred(self.pen, middle, self.top - line_height(NORMAL) - 4, f"{w:g}", INK)
        for r, s in enumerate(strengths):
            write_right(self.pen, LEFT - 10, self.top + SIDE * (r + 0.5) - line_height(NORMAL) / 2, f"{s:g}", INK)

    def box(self, cell: Cell) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of a cell."""
        left = LEFT + SIDE * self.guidances.index(cell.w)
        top = self.top + SIDE * self.strengths.index(cell.s)
        return left, top, left + SIDE - GAP, top + SIDE - GAP


def save_heat_map(path: Path, strengths: Sequence[float], guidances: Sequence[float],
                  results: Mapping[Cell, CellResult], title: str, chosen: Cell) -> None:
    """Draw each cell's distance, its standard deviation and its novelty. The cell chosen has a frame.

    The bar at the foot says which colour is which distance: the bluer, the nearer.
    """
    picture = GridPicture(strengths, guidances, what_was_chosen(results, chosen), title, foot=SCALE_HEIGHT)
    low, high = (extreme(result.fid for result in results.values()) for extreme in (min, max))
    for cell, result in results.items():
        left, top, *_ = box = picture.box(cell)
        colour = shade(1 - (result.fid - low) / (high - low or 1))
        picture.pen.rectangle(box, fill=colour)
        middle, ink = left + (SIDE - GAP) / 2, ink_on(colour)
        for y, text, size in ((16, f"{result.fid:.2f}", TITLE), (40, f"± {result.fid_sd:.2f}", NORMAL),
                              (62, f"({result.novelty:.2f})", SMALL)):
            write_centred(picture.pen, middle, top + y, text, ink, size)
        if cell == chosen:
            picture.pen.rectangle(box, outline=RED, width=4)
    draw_scale(picture, low, high)
    save_image(path, picture.image)


def what_was_chosen(results: Mapping[Cell, CellResult], chosen: Cell) -> str:
    """The choice, and how many other cells cannot be told from it, in words."""
    best = results.get(chosen)
    if best is None:
        return f"Chosen: s = {chosen.s:g}, w = {chosen.w:g}"
    others = [result for cell, result in results.items() if cell != chosen and result.number == best.number]
    alike = sum(not result.is_told_from(best) for result in others)
    told = f"{alike} of {len(others)} other cells cannot be told from it" if others else "there is no other cell"
    return f"Chosen: s = {chosen.s:g}, w = {chosen.w:g}; {told}"


def draw_scale(picture: GridPicture, low: float, high: float) -> None:
    """A bar of colours from the least distance to the largest one, at the foot."""
    top = picture.image.height - SCALE_HEIGHT
    write(picture.pen, LEFT, top, "distance: the bluer, the nearer to real images", INK, SMALL)
    top += line_height(SMALL) + 2
    for x in range(SCALE_WIDTH):
        picture.pen.line((LEFT + x, top, LEFT + x, top + BAR_HEIGHT), fill=shade(1 - x / (SCALE_WIDTH - 1)))
    for x, value in ((0, low), (SCALE_WIDTH // 2, (low + high) / 2), (SCALE_WIDTH, high)):
        text = f"{value:.2f}"
        write(picture.pen, max(LEFT, LEFT + x - text_width([text], SMALL) / 2), top + BAR_HEIGHT + 3, text, INK, SMALL)


def shade(goodness: float) -> Colour:
    """Between beige at 0 and blue at 1."""
    return round(250 - 150 * goodness), round(235 - 55 * goodness), round(215 + 10 * goodness)


def save_first_images(path: Path, strengths: Sequence[float], guidances: Sequence[float],
                      images: Mapping[Cell, Image.Image]) -> None:
    """Draw the first image of each cell: all are made from one source with one seed."""
    picture = GridPicture(strengths, guidances, "One source in every cell", "all are made with one seed")
    for cell, image in images.items():
        small = image.convert("RGB").resize((SIDE - GAP, SIDE - GAP), Image.Resampling.LANCZOS)
        picture.image.paste(small, picture.box(cell)[:2])
    save_image(path, picture.image)
