"""The whole method on a small data set, on a CPU, in minutes: python -m stablesdg.demo

Makes its own virtual environment first, then runs expand.py. Without --data it draws a small steel data set.
--data elpv installs the package elpv-dataset and takes some of its images, real solar cells with and without defects.
"""
import argparse
import os
from pathlib import Path

from stablesdg.app.command_line import parser, positive, run_main
from stablesdg.app.environment import ROOT, ensure_environment, run
from stablesdg.app.paths import choose_runs, dataset_folder
from stablesdg.storage.files import atomic_folder
from stablesdg.storage.runs import RUNS_VARIABLE

DEMO_DATA, ELPV = "demo-data", "elpv"
DRAWN, CELLS = 200, 150  # images of each class
RATIOS = {DEMO_DATA: ("2", "1", "17"), ELPV: ("2", "1", "12")}  # of the parts: few to learn from, many to test
STEPS, CELLS_STEPS = 150, 100  # of a classifier: SqueezeNet, and for cells ResNet-18, which learns in fewer
CELLS_PACKAGE = "elpv-dataset==1.0.0.post1"


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python -m stablesdg.demo --data neu")
    p.add_argument("--data", default=DEMO_DATA,
                   help="folder with one folder of images for each class; demo-data is drawn, elpv is installed")
    p.add_argument("--weights", default="weights/nano", help="diffusers folder or CompVis .safetensors")
    p.add_argument("--iterations", type=positive, default=60, help="optimiser steps of each training")
    p.add_argument("--number", type=positive, default=40, help="images to make of each class")
    p.add_argument("--steps", type=positive, help=f"optimiser steps of each classifier (default: {STEPS}, or "
                                                  f"{CELLS_STEPS} with elpv)")
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    if named := os.environ.get(RUNS_VARIABLE):
        choose_runs(named)  # whole, because the stages run in another folder
    python = ensure_environment()
    is_own = args.data not in (DEMO_DATA, ELPV)
    data = Path(args.data).resolve() if is_own else ROOT / args.data
    steps = args.steps or (CELLS_STEPS if args.data == ELPV else STEPS)
    weights = args.weights if (ROOT / args.weights).exists() else Path(args.weights).resolve()
    if not is_own:
        make_data(python, data)
    run(python, "expand.py", "--data", str(data), "--weights", str(weights), "--method", "image", "--hyperparameters",
        "paper", "--iterations", str(args.iterations), "--number", str(args.number), "--steps", str(steps),
        "--side", "96", *(("--good", "functional", "--networks", "resnet") if args.data == ELPV else ()))


def make_data(python: Path, data: Path) -> None:
    """Draw the steel images, or copy solar cells out of their package. Most images become test images."""
    if not data.exists():
        with atomic_folder(data) as partial:
            if data.name == ELPV:
                run(python, "-m", "pip", "install", "-q", CELLS_PACKAGE)
                run(python, "-m", "stablesdg.cells", str(partial), "--number", str(CELLS))
            else:
                run(python, "-m", "stablesdg.steel", str(partial), "--number", str(DRAWN))
    if not (ROOT / dataset_folder(data) / "split.json").is_file():  # where the stages run
        run(python, "-m", "stablesdg.split", str(data), "--ratios", *RATIOS[data.name], "--split",
            "random" if data.name == ELPV else "group")  # the wires of all cells are alike, and look like overlaps


if __name__ == "__main__":
    run_main(main)
