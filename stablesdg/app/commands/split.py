"""Split a data set into training, validation and test part: python -m stablesdg.split neu

    python -m stablesdg.split neu              # -> runs/neu/split.json
    python -m stablesdg.split neu --check      # reports how far that split leaks
"""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from stablesdg.app.command_line import parser, run_main, seed
from stablesdg.app.paths import RUNS
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import read_json

if TYPE_CHECKING:
    from stablesdg.data.leaks import CategoryLeak


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python -m stablesdg.split neu")
    p.add_argument("data", type=Path, help="folder with one folder of images for each class")
    p.add_argument("--split", choices=["group", "random"], help="method (default: group, or that of the manifest)")
    p.add_argument("--ratios", type=float, nargs=3, metavar=("TRAIN", "VAL", "TEST"), default=(8, 1, 1),
                   help="shares of the parts")
    p.add_argument("--seed", type=seed, default=0, help="the split follows from it and the files")
    p.add_argument("--out", type=Path, help="the manifest (default: runs/DATASET/split.json)")
    p.add_argument("--replace", action="store_true", help="make an existing manifest anew")
    p.add_argument("--check", action="store_true", help="report how far an existing manifest leaks, and change nothing")
    args = p.parse_args(argv)
    if args.ratios[0] <= 0 or min(args.ratios) < 0:
        raise UserError("--ratios takes three shares: the first above 0, as training needs images, and none below 0.")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)

    from stablesdg.data import folders, leaks, split

    categories = folders.list_categories(args.data)
    manifest = args.out or RUNS / args.data.resolve().name / "split.json"
    if args.check:
        if not manifest.is_file():
            raise UserError(f"There is no {manifest} to check: leave out --check to make one.")
        known = read_json(manifest)
        print("class  images  groups  largest  overlapping pairs (false ones, by mirroring)  leaked: val  test")
        report([(folder.name, leaks.measure_leak(known, folder)) for folder in categories])
        return
    fresh, method = manifest, args.split
    if args.replace:
        fresh = manifest.with_suffix(".new")  # the old one stays until the new one is whole
        fresh.unlink(missing_ok=True)
        method = method or (read_json(manifest)["method"] if manifest.is_file() else None)
    made = split.load_split(fresh, categories, method, args.seed, args.ratios)
    if args.replace:
        fresh.replace(manifest)
    print(f"{manifest}: {made['method']} split of {split.count(len(made['files']), 'image')}")


def report(found: list[tuple[str, CategoryLeak]]) -> None:
    """Print a line for each class, and a sum."""
    for name, leak in found:
        shares = {part: f"{leak.leaked[part]}/{size}" for part, size in leak.sizes.items()}
        print(f"{name:5} {leak.images:7} {leak.groups:7} {leak.largest_group:8} {leak.pairs:18} ({leak.false_pairs}) "
              f"{shares['val']:>28} {shares['test']:>6}")
    sums = {part: (sum(leak.leaked[part] for _, leak in found), sum(leak.sizes[part] for _, leak in found))
            for part in found[0][1].sizes}
    print("in all: " + ", ".join(f"{a} of {b} {part} images ({a / max(1, b):.0%}) share surface with a training image"
                                 for part, (a, b) in sums.items()))


if __name__ == "__main__":
    run_main(main)
