"""What surrounds the grid of tune.py: its images found, its pictures drawn, its choice told."""
from collections.abc import Sequence
from pathlib import Path

from ..data.split import Split, load_split, part_files
from ..evaluate.tuning import Cell, CellResult, Grid
from ..report.tuning import save_first_images, save_heat_map
from ..storage.errors import UserError
from .paths import split_file

LEAST_VALIDATION_IMAGES = 2  # a distance needs that many on either side


def find_images(data: Path) -> tuple[Split, list[Path], list[Path]]:
    """(the split, training images, validation images). Raises UserError if there are too few to compare with."""
    split = load_split(split_file(data), [data])
    sources, held_out = (part_files(split, data, part) for part in ("train", "val"))
    if len(held_out) < LEAST_VALIDATION_IMAGES:
        raise UserError(f"{data} has {len(held_out)} validation images, too few to compare with: choose s and w by "
                        "eye.")
    return split, sources, held_out


def save_pictures(folder: Path, grid: Grid, strengths: Sequence[float], guidances: Sequence[float],
                  chosen: Cell) -> None:
    """tune.png, the distances as a heat map, and tune-images.png, one source in every cell."""
    title = (f"{grid.extractor.distance_name} on validation images (floor {grid.floor:.2f}); novelty beneath; "
             "chosen: framed")
    save_heat_map(folder / "tune.png", strengths, guidances, grid.results, title, chosen)
    firsts = {cell: images.first for cell, images in grid.images.items() if images.first is not None}
    save_first_images(folder / "tune-images.png", strengths, guidances, firsts)


def report_choice(folder: Path, grid: Grid, best: CellResult, least: CellResult) -> None:
    """Say which cell is chosen, and why if it is not the one of least distance."""
    name = grid.extractor.distance_name
    if best is not least:
        print(f"s = {least.s:g}, w = {least.w:g} has the least {name}, {least.fid:.3f} +- {least.fid_sd:.3f}; "
              "within that, the cell nearest to the sources is taken")
    print(f"chosen: s = {best.s:g}, w = {best.w:g} ({name} {best.fid:.3f}, floor of real against real at these numbers "
          f"{grid.floor:.3f}); sample.py --run {folder} uses them; wrote {folder}/tune.csv, tune.png, tune-images.png")
