"""Split a data set into training, validation and test part: python -m stablesdg.split neu

    python -m stablesdg.split neu              # -> runs/neu/split.json
    python -m stablesdg.split neu --check      # reports how far that split leaks
"""
import argparse
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ...data.folders import list_categories, list_images
from ...data.overlap import find_overlaps, read_alike
from ...data.split import METHODS, PARTS, RATIOS, count, find_groups, load_split
from ...storage.errors import UserError
from ...storage.files import read_json
from ..command_line import parser, run_main, seed
from ..paths import RUNS


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__.splitlines()[0], "python -m stablesdg.split neu")
    p.add_argument("data", type=Path, help="folder with one folder of images for each class")
    p.add_argument("--split", choices=METHODS, help="method (default: group, or that of the manifest)")
    p.add_argument("--ratios", type=float, nargs=3, metavar=("TRAIN", "VAL", "TEST"), default=RATIOS, help="shares of the parts")
    p.add_argument("--seed", type=seed, default=0, help="the split follows from it and the files")
    p.add_argument("--out", type=Path, help="the manifest (default: runs/DATASET/split.json)")
    p.add_argument("--replace", action="store_true", help="make an existing manifest anew")
    p.add_argument("--check", action="store_true", help="report how far an existing manifest leaks, and change nothing")
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    folders = list_categories(args.data)
    manifest = args.out or RUNS / args.data.resolve().name / "split.json"
    if args.check:
        if not manifest.is_file():
            raise UserError(f"There is no {manifest} to check: leave out --check to make one.")
        return check(read_json(manifest), folders)
    fresh = manifest.with_suffix(".new") if args.replace else manifest  # the old one stays until the new one is whole
    fresh.unlink(missing_ok=True) if args.replace else None
    method = args.split or (read_json(manifest)["method"] if args.replace and manifest.is_file() else None)
    split = load_split(fresh, folders, method, args.seed, args.ratios)
    if args.replace:
        fresh.replace(manifest)
    print(f"{manifest}: {split['method']} split of {count(len(split['files']), 'image')}")


def check(split: dict[str, Any], folders: list[Path]) -> None:
    """Print, for each class, how many images outside the training part show surface that is in it."""
    print("class  images  groups  largest  overlapping pairs (false ones, by mirroring)  leaked: val  test")
    total = {part: [0, 0] for part in PARTS[1:]}
    for folder in folders:
        files = {f"{folder.resolve().name}/{file.name}": file for file in list_images(folder)}
        if missing := [name for name in files if name not in split["files"]]:
            raise UserError(f"{missing[0]} is not in the manifest: make the split anew.")
        groups, pairs = find_groups(files, lambda rows: tqdm(rows, unit="image", desc=folder.name, leave=False))
        control = [o for _, images in read_alike([files[name] for name in sorted(files)]) for o in find_overlaps(
            images, mirrored=True, progress=lambda rows: tqdm(rows, unit="image", desc="mirrored", leave=False))]
        part = {name: split["files"][name]["part"] for name in files}
        leaked = {name for a, b in pairs for name, other in ((a, b), (b, a)) if part[name] != "train" == part[other]}
        sizes = [list(groups.values()).count(group) for group in set(groups.values())]
        shares = {}
        for p in total:
            inside = [name for name in files if part[name] == p]
            shares[p] = f"{sum(name in leaked for name in inside)}/{len(inside)}"
            total[p][0] += sum(name in leaked for name in inside)
            total[p][1] += len(inside)
        print(f"{folder.name:5} {len(files):7} {len(sizes):7} {max(sizes):8} {len(pairs):18} ({len(control)}) "
              f"{shares['val']:>28} {shares['test']:>6}")
    print("in all: " + ", ".join(f"{a} of {b} {p} images ({a / max(1, b):.0%}) share surface with a training image"
                                 for p, (a, b) in total.items()))


if __name__ == "__main__":
    run_main(main)
