"""Turn production photographs into a data set: python -m stablesdg.prepare photographs neu --size 200

RAW holds one folder of photographs for each class. OUT gets the same folders with square tiles. Look at OUT/contact-*.png
before you train.
"""
import argparse
import shutil
from pathlib import Path

from ...data.folders import list_categories
from ...data.prepare import prepare_category, published_files
from ...storage.errors import UserError
from ..command_line import parser, positive, run_main


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__.splitlines()[0], "python -m stablesdg.prepare photographs neu --size 200")
    p.add_argument("raw", type=Path, help="folder with one folder of photographs for each class, or NEU-CLS, NEU-DET as published")
    p.add_argument("out", type=Path, help="new folder for the data set")
    p.add_argument("--size", type=positive, default=200, help="side of a finished tile in pixels")
    p.add_argument("--tile", type=positive, help="side of a tile in the photograph (default: the shorter side of the piece)")
    p.add_argument("--overlap", type=float, default=0.0, help="share of a tile that its neighbour repeats, 0 to below 1")
    p.add_argument("--dark", action="store_true", help="the piece is darker than what surrounds it")
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    if not 0 <= args.overlap < 1:
        raise UserError(f"--overlap must lie in [0, 1), not {args.overlap:g}.")
    if args.out.exists() and any(args.out.iterdir()):
        raise UserError(f"{args.out} is not empty: pass a new folder.")
    if not args.raw.is_dir():
        raise UserError(f"There is no folder {args.raw}.")
    partial = args.out.with_name(args.out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    published = published_files(args.raw)
    if published:
        for file, category in published:
            (partial / category).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, partial / category / file.name)
        print(f"recognised NEU's published layout: {len(published)} images sorted as they are")
    else:
        for folder in list_categories(args.raw):
            prepare_category(folder, partial, args)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    if args.out.exists():
        args.out.rmdir()
    partial.rename(args.out)
    print(f"wrote {args.out}" + ("" if published else f"; look at {args.out}/contact-*.png before you train"))


if __name__ == "__main__":
    run_main(main)
