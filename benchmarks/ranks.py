"""The paper's Fig. 6: how the rank r of the LoRA changes the distance, and how many parameters it costs.

    python benchmarks/ranks.py neu/Pa                 # -> runs/benchmarks/ranks/Pa.csv and Pa.png

All ranks start from one token embedding. What is finished is not run again.
"""
import sys
from math import log2
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from calls import copy_folder
from cells import Cell, CellSettings, cell_parser, measure, open_settings, train, write_cells

from stablesdg.app.command_line import positive, run_main
from stablesdg.data.images import save_image
from stablesdg.report.pictures import BLUE, curve_plot

RANKS = (1, 2, 4, 8, 16)


def main(argv: list[str] | None = None) -> None:
    p = cell_parser(__doc__, "python benchmarks/ranks.py neu/Pa", "ranks")
    p.add_argument("--ranks", type=positive, nargs="+", default=list(RANKS), help="r")
    args = vars(p.parse_args(argv))
    ranks: list[int] = sorted(set(args.pop("ranks")))
    settings = open_settings(args)
    cells = {rank: run(settings, rank) for rank in ranks}
    floor = next(iter(cells.values())).floor
    title = f"{settings.category}: distance ({settings.features}) over log2 of the rank; floor {floor:.2f}"
    curve = [(log2(rank), cell.distance) for rank, cell in cells.items()]
    save_image(settings.out / f"{settings.category}.png", curve_plot(title, curve, BLUE))
    write_cells(settings, "rank", cells)


def run(settings: CellSettings, rank: int) -> Cell:
    """TI, once for all ranks, and then the LoRA of one rank."""
    train(settings, settings.place / "ti", "ti")
    folder = settings.place / f"rank-{rank}"
    if not folder.exists():
        copy_folder(settings.place / "ti", folder)
    train(settings, folder, "lora", "--rank", rank)
    return measure(settings, folder)


if __name__ == "__main__":
    run_main(main)
