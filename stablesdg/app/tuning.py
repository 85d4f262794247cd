"""What surrounds the grid of tune.py: its images found, its pictures drawn, its choice told."""
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.split import Split, load_split, part_files, refuse_leak, surfaces_of
from ..evaluate.extract import open_extractor
from ..evaluate.tuning import Cell, CellResult, CellSettings, Grid
from ..models.stable_diffusion import StableDiffusion
from ..report.tuning import save_first_images, save_heat_map
from ..storage.errors import UserError
from ..storage.torchrun import is_first
from . import processes
from .distance import features_of
from .paths import split_file

MOST_NAMED = 6  # cells in a sentence
LEAST_VALIDATION_IMAGES = 2  # a distance needs that many on either side


@dataclass(frozen=True)
class TuningImages:
    """The real images of a category that the search uses."""
    split: Split
    sources: list[Path]  # of the training part
    held_out: list[Path]  # of the validation part

    def refuse_leak(self, seen: Collection[str], folder: Path) -> None:
        """Raise UserError if the adapters in a run folder saw an image that is held out. `seen` holds sha256."""
        refuse_leak(seen, self.split, f"The adapters in {folder}")


def find_images(data: Path) -> TuningImages:
    """Training and validation images of a category. Raises UserError if there are too few to compare with."""
    split = load_split(split_file(data), [data])
    sources, held_out = (part_files(split, data, part) for part in ("train", "val"))
    if len(held_out) < LEAST_VALIDATION_IMAGES:
        raise UserError(f"{data} has {len(held_out)} validation images, too few to compare with: choose s and w by "
                        "eye.")
    return TuningImages(split, sources, held_out)


def open_grid(sd: StableDiffusion, settings: CellSettings, images: TuningImages, features: str | None, folder: Path,
              resume: bool) -> Grid:
    """The grid of a run folder. `features` is the argument --features; `resume` keeps the finished cells."""
    extractor = open_extractor(features, sd.device)
    features_of([*images.sources, *images.held_out], extractor, settings.batch_size)  # in shares, into the cache
    return Grid(sd, settings, extractor, images.sources, images.held_out, folder, resume,
                surfaces_of(images.split, images.sources), processes.in_shares, is_first())


def images_of_a_cell(asked: int, sources: Sequence[Path]) -> int:
    """How many images a cell has: as many as asked for, but no more than there are real ones for the floor."""
    if asked > len(sources):
        print(f"a cell has {len(sources)} images, not {asked}: the floor of real against real has no more, and both "
              "must be at one number")
    return min(asked, len(sources))


def save_pictures(folder: Path, grid: Grid, strengths: Sequence[float], guidances: Sequence[float],
                  chosen: Cell) -> None:
    """tune.png, the distances as a heat map, and tune-images.png, one source in every cell."""
    title = (f"{grid.extractor.distance_name} on validation images (floor {grid.floor.fid:.2f} +- "
             f"{grid.floor.fid_sd:.2f}); in brackets: novelty; chosen: framed")
    save_heat_map(folder / "tune.png", strengths, guidances, grid.results, title, chosen)
    firsts = {cell: made[0].image for cell, made in grid.images.items() if made and made[0].image}
    save_first_images(folder / "tune-images.png", strengths, guidances, firsts)


def report_choice(folder: Path, grid: Grid, best: CellResult, least: CellResult) -> None:
    """Say which cell is chosen, why if it is not the one of least distance, and what the distances cannot tell."""
    name, floor = grid.extractor.distance_name, grid.floor
    if best is not least:
        print(f"s = {least.s:g}, w = {least.w:g} has the least {name}, {least.fid:.3f} +- {least.fid_sd:.3f}; "
              "of those within that, or below the floor, the cell nearest to the sources is taken")
    for line in doubts(best, [r for r in grid.results.values() if r.number == best.number], floor.fid):
        print(line)
    print(f"chosen: s = {best.s:g}, w = {best.w:g} ({name} {best.fid:.3f} +- {best.fid_sd:.3f}; floor of real against "
          f"real at N = {floor.number}: {floor.fid:.3f} +- {floor.fid_sd:.3f}); sample.py --run {folder} uses them; "
          f"wrote {folder}/tune.csv, tune.png, tune-images.png")


def finished_cells(grid: Grid) -> str:
    """What is kept of a search that is stopped."""
    kept = len(grid.table.rows)
    return f"{kept} finished cells are kept; the same command with --resume goes on" if kept else "no cell was finished"


def not_told_from(best: CellResult, results: Sequence[CellResult]) -> list[CellResult]:
    """The other cells whose distances chance alone may set apart from that of the best one."""
    return [r for r in results if r.cell != best.cell and not r.is_told_from(best)]


def standing(grid: Grid, best: CellResult) -> dict[str, bool]:
    """What sample.py must know of a choice before it takes it, for run.json."""
    results = [r for r in grid.results.values() if r.number == best.number]
    return {"told_apart": not not_told_from(best, results), "below_floor": best.fid < grid.floor.fid}


def doubts(best: CellResult, results: Sequence[CellResult], floor: float) -> list[str]:
    """Sentences about what the distances of the cells with equal numbers of images leave open."""
    lines = []
    as_good = not_told_from(best, results)
    if as_good:
        named = ", ".join(f"({r.s:g}, {r.w:g})" for r in sorted(as_good, key=lambda r: r.cell)[:MOST_NAMED])
        more = f" and {len(as_good) - MOST_NAMED} more" if len(as_good) > MOST_NAMED else ""
        lines.append(f"warning: by intervals of 95 %, {len(as_good)} of the {len(results) - 1} other cells cannot be "
                     f"told from the chosen one: (s, w) = {named}{more}. Look at tune-images.png, or raise "
                     "--number")
    below = [r for r in results if r.fid < floor]
    if below:
        lines.append(f"warning: {len(below)} of the {len(results)} cells lie below the floor: nearer to the validation "
                     "images than other real images are. The distance no longer ranks them; look at novelty")
    return lines
