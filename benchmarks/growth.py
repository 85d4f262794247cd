"""How do time and memory grow with the data set, with the images generated, and with the settings?

    python benchmarks/growth.py                    # all rows, drawn images, weights/nano
    python benchmarks/growth.py images rank        # some of them

Each row runs one real command at a size, at twice and at four times that size, each in a process of its own. Seconds
are those of the processor. Memory is the peak of the process, with PyTorch and its libraries.

A command takes a start (weights are read, say) and a part that grows, c n^p. The start falls out of differences: the
exponent is p = log2 of (seconds at 4n - seconds at 2n) / (seconds at 2n - seconds at n). 1 is linear, 2 is quadratic.
Where the last size takes less than a fifth more than the first, the row is flat and has none. It is not told where a
larger size took less time than the one before. Needs Linux or macOS.
"""
import argparse
import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log2
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from PIL import Image

from stablesdg.app.command_line import parser, positive, run_main
from stablesdg.prior.textures import draw
from stablesdg.storage.errors import UserError
from stablesdg.weights.read import NANO

SIDE = 96  # pixels of the drawn images
TEXTURE_SIDE, CROPS = 160, 4  # pixels; crops that share a texture
FIRST_TEXTURE = 70_000_000  # nothing else in the project has drawn these
FLAT = 1.2  # the last size takes less than so many times the first
MEGABYTE = 2**20
TRAINING = ["train_lora", "--data", "data/c0", "--weights", str(NANO), "--no-preview", "--device", "cpu"]
SAMPLING = ["sample", "--run", "runs/data/c0", "--strength", "0.4", "--steps", "5", "--guidance", "2",
            "--device", "cpu"]
SPLIT = ["stablesdg.split", "data"]
FEW = ["--iterations", "2", "--resolution", "64"]

Command = list[str]  # name of a module, and its arguments


@dataclass(frozen=True)
class Row:
    """One size that is varied."""
    varied: str
    first: int  # the smallest value
    data: Callable[[int], tuple[int, int]]  # value -> (categories, images of each)
    before: list[Command]  # commands that are not measured
    measured: Callable[[int], Command]


ROWS = {
    "images": Row("images of a class, split", 48, lambda n: (1, n), [],
                  lambda n: SPLIT),
    "categories": Row("categories of 16 images, split", 3, lambda n: (n, 16), [],
                      lambda n: SPLIT),
    "training": Row("images of a class, train_lora.py", 24, lambda n: (1, n), [SPLIT],
                    lambda n: [*TRAINING, *FEW, "--batch-size", "1"]),
    "iterations": Row("iterations, train_lora.py", 4, lambda n: (1, 16), [SPLIT],
                      lambda n: [*TRAINING, "--iterations", str(n), "--resolution", "64", "--batch-size", "1"]),
    "batch": Row("batch, train_lora.py", 2, lambda n: (1, 16), [SPLIT],
                 lambda n: [*TRAINING, *FEW, "--batch-size", str(n)]),
    "resolution": Row("pixels of a side, train_lora.py", 48, lambda n: (1, 16), [SPLIT],
                      lambda n: [*TRAINING, "--iterations", "2", "--resolution", str(n), "--batch-size", "1"]),
    "rank": Row("rank, train_lora.py", 4, lambda n: (1, 16), [SPLIT],
                lambda n: [*TRAINING, *FEW, "--batch-size", "1", "--rank", str(n)]),
    "generated": Row("images generated, sample.py", 8, lambda n: (1, 16),
                     [[*TRAINING, *FEW, "--batch-size", "1"]],
                     lambda n: [*SAMPLING, "--number", str(n), "--batch-size", "4"]),
}


@dataclass(frozen=True)
class Cost:
    """What a command took."""
    seconds: float  # of the processor
    memory: float  # bytes at the peak


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python benchmarks/growth.py images generated --scale 2")
    p.add_argument("rows", nargs="*", help=f"of {', '.join(ROWS)} (default: all)")
    p.add_argument("--scale", type=positive, default=1, help="all sizes are so many times larger")
    args = p.parse_args(argv)
    if strange := set(args.rows) - set(ROWS):
        p.error(f"there is no {min(strange)}: there are {', '.join(ROWS)}")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    if not hasattr(os, "fork"):
        raise UserError("This benchmark measures processes as Linux and macOS do: run it there.")
    torch.set_num_threads(1)  # a process that is copied must not have started any
    print("| what grows | sizes | seconds | exponent | peak memory, MiB | MiB for one more |", "|---" * 6 + "|",
          sep="\n", flush=True)
    for name in args.rows or ROWS:
        row = ROWS[name]
        sizes = [row.first * args.scale * times for times in (1, 2, 4)]
        print(table_line(row, sizes, [measure(row, size) for size in sizes]), flush=True)


def table_line(row: Row, sizes: Sequence[int], costs: Sequence[Cost]) -> str:
    """One line of the table."""
    memory = [cost.memory / MEGABYTE for cost in costs]
    return " | ".join((f"| {row.varied}", ", ".join(map(str, sizes)), ", ".join(f"{c.seconds:.1f}" for c in costs),
                       exponent([cost.seconds for cost in costs]), ", ".join(f"{m:.0f}" for m in memory),
                       f"{(memory[-1] - memory[0]) / (sizes[-1] - sizes[0]):.2f} |"))


def exponent(seconds: Sequence[float]) -> str:
    """p of seconds = start + c n^p at n, 2n and 4n, in words where there is none."""
    first, second, third = seconds
    if third < FLAT * first:
        return "flat"
    if second <= first or third <= second:
        return "not told"
    return f"{log2((third - second) / (second - first)):.1f}"


def measure(row: Row, size: int) -> Cost:
    """Run the command of a row at one size, in a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        draw_data(Path(folder) / "data", *row.data(size))
        for command in row.before:
            run_apart(command, Path(folder))
        return run_apart(row.measured(size), Path(folder))


def draw_data(folder: Path, categories: int, images: int) -> None:
    """Crops of drawn textures. Each texture gives CROPS of one class, some of which overlap."""
    rng = np.random.default_rng(0)
    for c in range(categories):
        (folder / f"c{c}").mkdir(parents=True)
        for i in range(images):
            if i % CROPS == 0:
                ground = draw(FIRST_TEXTURE + 10_000 * c + i, side=TEXTURE_SIDE).image.mean(-1).astype(np.uint8)
            y, x = rng.integers(0, TEXTURE_SIDE - SIDE, 2)
            Image.fromarray(ground[y:y + SIDE, x:x + SIDE]).save(folder / f"c{c}" / f"{i:05d}.png")


def run_apart(command: Command, folder: Path) -> Cost:
    """Run a command in a copy of this process. Raises UserError if it fails."""
    module = importlib.import_module(command[0])
    child = os.fork()
    if child == 0:
        os._exit(run_here(module.main, command[1:], folder))
    _, status, usage = os.wait4(child, 0)
    if status:
        raise UserError(f"{' '.join(command)} failed, with status {status}: run it by itself to see why.")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes here
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit)


def run_here(run: Callable[[list[str]], None], arguments: list[str], folder: Path) -> int:
    """The exit code of a command whose output goes nowhere."""
    os.chdir(folder)
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            run(arguments)
    except SystemExit as exit:
        return int(bool(exit.code))
    except BaseException:
        return 1
    return 0


if __name__ == "__main__":
    run_main(main)
