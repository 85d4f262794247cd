"""Do the 95 % intervals of significance.py cover 95 %, and how often do they see a gain?

    python benchmarks/interval.py

Two ways of training are simulated, by default of equal accuracy and with a gain of five points. Errors depend on the
surface (some are hard), on the image, and on the training: not at all, as a whole, or class by class. No error is below
0, so where trainings differ much the true difference is a little smaller than the gain. It is found from many
trainings. Coverage is how often the interval holds the true difference. Power is how often it leaves out 0.
"""
import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from numpy.typing import NDArray

from stablesdg.app.command_line import numbers, parser, positive, run_main
from stablesdg.recognise.significance import compare

ERROR = 0.1  # share of wrong answers
CLASSES = 6
TRAININGS = {"alike": 0.0, "as a whole": 0.04, "class by class": 0.1}  # deviation of the error over trainings
TRUTH = 1_000_000  # trainings that the true difference is found from
SHARED = 0.5  # share of the answers that the surface decides, and not the image


def simulate(kind: str, seeds: int, images: int, surfaces: int, gain: float, rng: np.random.Generator,
             ) -> tuple[NDArray, NDArray, NDArray]:
    """Right and wrong answers (seeds, images) of two ways, and the surface of each image."""
    groups = np.sort(rng.integers(0, surfaces, images))
    hardness = rng.random(surfaces)[groups]  # an answer is wrong where this is below the training's error
    tables = []
    for error in (ERROR - gain, ERROR):
        varies = rng.standard_normal((seeds, CLASSES))[:, groups % CLASSES] if kind == "class by class" else (
            rng.standard_normal((seeds, 1)))
        threshold = np.clip(error + TRAININGS[kind] * varies, 0, 1)
        shared = rng.random((seeds, images)) < SHARED
        tables.append((np.where(shared, hardness, rng.random((seeds, images))) > threshold).astype(float))
    return tables[0], tables[1], groups


def true_difference(kind: str, gain: float) -> float:
    """How much better the first way is, over all trainings."""
    varies = TRAININGS[kind] * np.random.default_rng(0).standard_normal(TRUTH)
    better, worse = (np.clip(error + varies, 0, 1).mean() for error in (ERROR - gain, ERROR))
    return float(worse - better)


def measure(args: argparse.Namespace, seeds: int, kind: str, gain: float, truth: float) -> tuple[float, float, float]:
    """(coverage, power, mean half width) over many experiments."""
    rng = np.random.default_rng(args.seed)
    found: list[tuple[bool, bool, float]] = []
    for _ in range(args.experiments):
        c = compare(*simulate(kind, seeds, args.images, args.surfaces, gain, rng))
        found.append((c.low <= truth <= c.high, c.p < 0.05, (c.high - c.low) / 2))
    coverage, power, half = np.mean(found, axis=0)
    return coverage, power, half


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python benchmarks/interval.py --experiments 400")
    p.add_argument("--experiments", type=positive, default=1000, help="simulated for each row")
    p.add_argument("--images", type=positive, default=300, help="of the test part")
    p.add_argument("--surfaces", type=positive, default=100, help="that the test images show")
    p.add_argument("--gains", type=numbers, default="0,0.05", help="true differences, between commas")
    p.add_argument("--seed", type=int, default=0, help="all randomness follows from it")
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    print("| seeds | trainings differ | true gain, points | coverage | power | half width, points |\n"
          "|---|---|---|---|---|---|")
    for seeds in (2, 3, 5):
        for kind in TRAININGS:
            for gain in args.gains:
                truth = true_difference(kind, gain)
                coverage, power, half = measure(args, seeds, kind, gain, truth)
                print(f"| {seeds} | {kind} | {100 * truth:.1f} | {coverage:.1%} | {power:.1%} | {100 * half:.1f} |",
                      flush=True)


if __name__ == "__main__":
    run_main(main)
