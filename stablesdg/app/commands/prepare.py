"""Turn production photographs into a data set: python -m stablesdg.prepare photographs neu --size 200

RAW holds one folder of photographs for each class. OUT gets the same folders with square tiles. Look at
OUT/contact-*.png before you train.
"""
import argparse
import shutil
from pathlib import Path

from stablesdg.app.command_line import parser, positive, run_main
from stablesdg.data.export import require_empty
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import atomic_folder

CUTTING = ("size", "tile", "overlap", "dark", "whole", "black", "white")  # options of what is not cut yet


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python -m stablesdg.prepare photographs neu --size 200")
    p.add_argument("raw", type=Path,
                   help="folder with one folder of photographs for each class, or NEU-CLS, NEU-DET as published")
    p.add_argument("out", type=Path, help="new folder for the data set")
    p.add_argument("--size", type=positive, default=200, help="side of a finished tile in pixels")
    p.add_argument("--tile", type=positive,
                   help="side of a tile in the photograph (default: the shorter side of the piece)")
    p.add_argument("--overlap", type=float, default=0.0,
                   help="share of a tile that its neighbour repeats, 0 to below 1")
    p.add_argument("--dark", action="store_true", help="the piece is darker than what surrounds it")
    p.add_argument("--whole", action="store_true",
                   help="tile the whole photograph: there is no background to be cut away")
    for name, percent in (("black", 0.1), ("white", 99.9)):
        p.add_argument(f"--{name}", type=int, metavar="LEVEL",
                       help=f"gray level that becomes {name} in photographs of 10 or 12 bits (default: the one that "
                            f"{percent:g} percent of all their pixels do not exceed)")
    args = p.parse_args(argv)
    args.cutting = [f"--{name}" for name in CUTTING if getattr(args, name) != p.get_default(name)]
    if args.whole and args.dark:
        raise UserError("--whole cuts nothing away, and --dark says what to cut away: leave one of them out.")
    if not 0 <= args.overlap < 1:
        raise UserError(f"--overlap must lie in [0, 1), not {args.overlap:g}.")
    require_empty(args.out)
    if not args.raw.is_dir():
        raise UserError(f"There is no folder {args.raw}.")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)

    from stablesdg.data import folders, images, prepare
    from stablesdg.report.pictures import image_grid

    published = prepare.published_files(args.raw)
    if published and args.cutting:
        raise UserError(f"The images are named as NEU's ({published[0][0].name}) and are sorted as they are: leave out "
                        f"{args.cutting[0]}, or rename them if they are photographs of your own.")
    window = None if published else prepare.photographs_window(args.raw, args.black, args.white)
    settings = prepare.TileSettings(args.size, args.tile, args.overlap, args.dark, window, args.whole)
    with atomic_folder(args.out) as partial:
        for file, category in published:
            (partial / category).mkdir(exist_ok=True)
            if (partial / category / file.name).exists():
                raise UserError(f"{args.raw} holds two images {file.name} of {category}: rename one of them.")
            shutil.copyfile(file, partial / category / file.name)
        for folder in [] if published else folders.list_categories(args.raw):
            shown = prepare.prepare_category(folder, partial / folder.name, settings)
            images.save_image(partial / f"contact-{folder.name}.png",
                              image_grid([photograph.contact_row for photograph in shown]))
    if published:
        print(f"recognised NEU's published layout: {len(published)} images sorted as they are\nwrote {args.out}")
    else:
        print(f"wrote {args.out}; look at {args.out}/contact-*.png before you train")


if __name__ == "__main__":
    run_main(main)
