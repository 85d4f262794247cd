"""The paper's Fig. 6: how the rank r of the LoRA changes the distance, and how many parameters it costs.

    python benchmarks/ranks.py neu/Pa                 # -> runs/benchmarks/ranks/Pa.csv and Pa.png

All ranks start from one token embedding. What is finished is not run again.
"""
import sys
from math import log2
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from calls import copy_folder, keep_settings
from cells import Cell, CellSettings, cell_parser, measure, train

from stablesdg.app.command_line import positive, run_main
from stablesdg.data.images import save_image
from stablesdg.report.pictures import BLUE, curve_plot
from stablesdg.storage.files import write_csv

RANKS = (1, 2, 4, 8, 16)
COLUMNS = ("category", "rank", "parameters", "distance", "floor", "N", "novelty")


def main(argv: list[str] | None = None) -> None:
    p = cell_parser(__doc__, "python benchmarks/ranks.py neu/Pa", "ranks")
    p.add_argument("--ranks", type=positive, nargs="+", default=list(RANKS), help="r")
    args = vars(p.parse_args(argv))
    ranks: list[int] = sorted(set(args.pop("ranks")))
    settings = CellSettings(**args)
    category = settings.data.resolve().name
    keep_settings(settings.out / category, {name: value for name, value in vars(settings).items() if name != "out"})
    cells = {rank: run(settings, settings.out / category, rank) for rank in ranks}
    rows = [(category, rank, cell.parameters, f"{cell.distance:.3f}", f"{cell.floor:.3f}", cell.n,
             f"{cell.novelty:.2f}") for rank, cell in cells.items()]
    write_csv(settings.out / f"{category}.csv", COLUMNS, rows)
    for row in rows:
        print(", ".join(f"{name} {value}" for name, value in zip(COLUMNS, row)))
    floor = next(iter(cells.values())).floor
    title = f"{category}: distance ({settings.features}) over log2 of the rank; floor {floor:.2f}"
    curve = [(log2(rank), cell.distance) for rank, cell in cells.items()]
    save_image(settings.out / f"{category}.png", curve_plot(title, curve, BLUE))
    print(f"wrote {settings.out / category}.csv and .png")


def run(settings: CellSettings, place: Path, rank: int) -> Cell:
    """TI, once for all ranks, and then the LoRA of one rank."""
    train(settings, place / "ti", "ti")
    folder = place / f"rank-{rank}"
    if not folder.exists():
        copy_folder(place / "ti", folder)
    train(settings, folder, "lora", "--rank", rank)
    return measure(settings, folder)


if __name__ == "__main__":
    run_main(main)
