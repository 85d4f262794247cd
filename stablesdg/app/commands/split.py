"""Split a data set into training, validation and test part: python -m stablesdg.split neu

    python -m stablesdg.split neu              # -> runs/neu/split.json
    python -m stablesdg.split neu --check      # reports how far that split leaks, and draws overlapping pairs
    python -m stablesdg.split neu --add        # new images join the part of their surface, or the training part
    python -m stablesdg.split neu --add --to test    # .. or the test part
    python -m stablesdg.split neu --forget     # images that are gone leave the split
"""
from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from stablesdg.app.command_line import finite, parser, run_main, seed
from stablesdg.data.folders import list_categories
from stablesdg.storage.errors import UserError
from stablesdg.storage.lock import alone_at
from stablesdg.storage.runs import dataset_folder

if TYPE_CHECKING:
    from stablesdg.data.parts import Split

RATIOS, SEED = (8.0, 1.0, 1.0), 0


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python -m stablesdg.split neu")
    p.add_argument("data", type=Path, help="folder with one folder of images for each class")
    p.add_argument("--split", choices=["group", "random"], help="method (default: group, or that of the manifest)")
    p.add_argument("--ratios", type=finite, nargs=3, metavar=("TRAIN", "VAL", "TEST"),
                   help="shares of the parts (default: 8 1 1, or those of the manifest)")
    p.add_argument("--seed", type=seed,
                   help="the split follows from it and the files (default: 0, or that of the manifest)")
    p.add_argument("--out", type=Path, help="the manifest (default: runs/DATASET/split.json)")
    p.add_argument("--replace", action="store_true", help="make an existing manifest anew")
    p.add_argument("--add", action="store_true",
                   help="take new images into an existing manifest: into the part of their surface, else for training")
    p.add_argument("--to", choices=["train", "val", "test"],
                   help="with --add: the part of new images that show no known surface (default: train)")
    p.add_argument("--forget", action="store_true", help="take images that are gone out of an existing manifest")
    p.add_argument("--check", action="store_true",
                   help="report how far an existing manifest leaks, draw overlapping pairs, and change nothing")
    args = p.parse_args(argv)
    if args.ratios and (args.ratios[0] <= 0 or min(args.ratios) < 0):
        raise UserError("--ratios takes three shares: the first above 0, as training needs images, and none below 0.")
    if sum((args.replace, args.check, args.add or args.forget)) > 1:
        raise UserError("--replace, --check and --add or --forget exclude each other: pass one of them.")
    if args.to and not args.add:
        raise UserError(f"--to {args.to} belongs to --add: add that, or leave out --to.")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)

    from stablesdg.app import split_check
    from stablesdg.data import links, split

    categories = list_categories(args.data)
    manifest = args.out or dataset_folder(args.data) / "split.json"
    if (args.check or args.add or args.forget) and not manifest.is_file():
        raise UserError(f"There is no {manifest}: python -m stablesdg.split {args.data} makes one.")
    if manifest.is_file() and not args.replace:
        require_no_change(args, manifest, split.read_split(manifest))
    if args.check:
        split_check.check(manifest, args.data, categories)
        return
    if args.forget:
        gone = split.forget_images(manifest, args.data)
        print(f"forgotten: {', '.join(gone)}" if gone else "no listed image is gone")
    if args.add:
        before = split.read_split(manifest)["files"]
        if len(split.extend_split(manifest, categories, args.to or "train")["files"]) == len(before):
            print("no image is new")
    if args.add or args.forget:
        listed = split.read_split(manifest)["files"]
        print(f"{manifest}: {split.count(len(listed), 'image')}; those listed before are where they were")
        return
    with alone_at(manifest) if args.replace else nullcontext():  # what only reads or extends it locks it by itself
        fresh, method, before = manifest, args.split, None
        if args.replace:
            fresh = manifest.with_suffix(".new")  # the old one stays until the new one is whole
            fresh.unlink(missing_ok=True)
            before = split.read_split(manifest) if manifest.is_file() else None
            method = method or (before["method"] if before else None)
        ratios, number = (before["ratios"], before["seed"]) if before else (RATIOS, SEED)  # what is not asked for stays
        found = None
        if method != "random" and not fresh.is_file():
            print(f"comparing the images of {args.data}", flush=True)
            files = {name: file for folder in categories for name, file in split.named_files(folder).items()}
            found = links.find_or_read(files, manifest.parent / "plan" / "links.json")
        made = split.load_split(fresh, categories, method, number if args.seed is None else args.seed,
                                args.ratios or ratios, found)
        if args.replace:
            fresh.replace(manifest)
    print(f"{manifest}: {made['method']} split of {split.count(len(made['files']), 'image')}")


def require_no_change(args: argparse.Namespace, manifest: Path, existing: Split) -> None:
    """Raise UserError if the command asks for other settings than those of the manifest."""
    asked = {"split": args.split, "ratios": args.ratios, "seed": args.seed}
    there = {"split": existing["method"], "ratios": existing["ratios"], "seed": existing["seed"]}
    changed = [f"--{name}" for name, value in asked.items() if value is not None and value != there[name]]
    if changed:
        shares = " ".join(f"{ratio:g}" for ratio in existing["ratios"])
        wanted = f", not a {args.split} one" if "--split" in changed else ""
        raise UserError(f"{manifest} exists: a {existing['method']} split{wanted}, with --ratios {shares} and --seed "
                        f"{existing['seed']}, and {' and '.join(changed)} would change it. --replace makes it anew, "
                        "and all that was trained on it must be trained again.")


if __name__ == "__main__":
    run_main(main)
