"""The paper's Fig. 6: how the rank r of the LoRA changes the distance, and how many parameters it costs.

    python benchmarks/ranks.py neu/Pa                 # -> runs/benchmarks/ranks/Pa.csv and Pa.png

All ranks start from one token embedding. What is finished is not run again.
"""
import sys
from math import log2
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from run_scores import RunScore, RunScoresSettings, measure, open_settings, scores_parser, train, write_scores

from stablesdg.app.command_line import positive, run_main
from stablesdg.data.images import save_image
from stablesdg.report.pictures import BLUE, curve_plot

RANKS = (1, 2, 4, 8, 16)


def main(argv: list[str] | None = None) -> None:
    p = scores_parser(__doc__, "python benchmarks/ranks.py neu/Pa", "ranks")
    p.add_argument("--ranks", type=positive, nargs="+", default=list(RANKS), help="r")
    args = vars(p.parse_args(argv))
    ranks: list[int] = sorted(set(args.pop("ranks")))
    settings = open_settings(args)
    scores = {rank: run(settings, rank) for rank in ranks}
    floor = next(iter(scores.values())).floor
    title = f"{settings.category}: distance ({settings.features}) over log2 of the rank; floor {floor:.2f}"
    curve = [(log2(rank), score.distance) for rank, score in scores.items()]
    save_image(settings.out / f"{settings.category}.png", curve_plot(title, curve, BLUE))
    write_scores(settings, "rank", scores)


def run(settings: RunScoresSettings, rank: int) -> RunScore:
    """TI, once for all ranks, and then the LoRA of one rank."""
    train(settings, settings.place / "ti", "ti")
    folder = settings.place / f"rank-{rank}"
    train(settings, folder, "lora", "--rank", rank, copy=(settings.place / "ti", folder))
    return measure(settings, folder)


if __name__ == "__main__":
    run_main(main)
