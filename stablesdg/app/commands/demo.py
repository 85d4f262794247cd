"""The whole method on a small data set, on a CPU, in minutes: python -m stablesdg.demo

Makes its own virtual environment first. Without --data it draws a small steel data set.
"""
import argparse
import os
from pathlib import Path

from stablesdg.app.command_line import parser, positive, run_main
from stablesdg.app.environment import ROOT, ensure_environment, run
from stablesdg.app.paths import choose_runs, run_folder
from stablesdg.data.folders import list_categories
from stablesdg.storage.files import atomic_folder
from stablesdg.storage.runs import RUNS_VARIABLE

DEMO_DATA = "demo-data"


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python -m stablesdg.demo --data neu")
    p.add_argument("--data", default=DEMO_DATA,
                   help="folder with one folder of images for each class; demo-data is drawn")
    p.add_argument("--weights", default="weights/nano", help="diffusers folder or CompVis .safetensors")
    p.add_argument("--iterations", type=positive, default=60, help="optimiser steps of each training")
    p.add_argument("--number", type=positive, default=40, help="images to make of each class")
    p.add_argument("--epochs", type=positive, default=8, help="of each classifier")
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    if named := os.environ.get(RUNS_VARIABLE):
        choose_runs(named)  # whole, because the stages run in another folder
    python = ensure_environment()
    data = ROOT / args.data
    if args.data == DEMO_DATA and not data.exists():
        with atomic_folder(data) as partial:
            run(python, "-m", "stablesdg.steel", str(partial))
    folders = list_categories(data)
    runs = run_folder(folders[0]).parent
    for folder in folders:
        adapt_and_generate(python, folder, run_folder(folder), args)
    recognise(python, data, runs, args)
    print(f"Look at {runs}/*/preview-samples.png and {runs}/classify/results.csv")


def adapt_and_generate(python: Path, folder: Path, out: Path, args: argparse.Namespace) -> None:
    """The paper's three stages for one category, and the distance of its images."""
    training = ["--data", str(folder), "--weights", args.weights, "--iterations", str(args.iterations)]
    say(f"{folder.name}: token embedding")
    run(python, "train_ti.py", *training)
    say(f"{folder.name}: LoRA")
    run(python, "train_lora.py", "--rank", "1", *training)
    say(f"{folder.name}: image-oriented generation")
    run(python, "sample.py", "--run", str(out), "--number", str(args.number), "--sampler", "dpm", "--steps", "25")
    run(python, "fid.py", str(folder), str(out / "samples"), "--features", "nano")


def recognise(python: Path, data: Path, runs: Path, args: argparse.Namespace) -> None:
    """A classifier on real images, and one on real and generated images."""
    say("recognition, real images alone")
    run(python, "classify.py", "--data", str(data), "--mode", "none", "--replace",
        "--epochs", str(args.epochs))
    say("recognition, the same real images and the generated ones")
    run(python, "classify.py", "--data", str(data), "--mode", "expand", "--generated", str(runs),
        "--replace", "--epochs", str(args.epochs))


def say(text: str) -> None:
    """A headline between the commands' output."""
    print(f"== {text}", flush=True)


if __name__ == "__main__":
    run_main(main)
