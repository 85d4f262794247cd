"""From production photographs to a data set: python -m stablesdg.prepare RAW OUT --size 200

The paper's preparation (sec. IV-A): gray, binarised by Otsu's threshold, cut to the bounding box of the largest piece,
cut into square tiles, resized. RAW holds one folder of photographs for each class. tiles.csv in each folder of OUT says
which photograph a tile came from: such tiles stay together in the split. OUT/contact-*.png are for a check by eye.

The published layouts of NEU-CLS (Cr_1.bmp ..) and NEU-DET (crazing_1.jpg .., in any folders) are recognised; their
images are already cut, so they are sorted into class folders as they are.
"""
import re
import shutil
from pathlib import Path

from . import run
from .files import EXTENSIONS, UserError, list_categories, list_images, write_csv

NEU = {"crazing": "Cr", "inclusion": "In", "patches": "Pa", "pitted_surface": "PS", "rolled-in_scale": "RS", "scratches": "Sc",
       **{short: short for short in ("Cr", "In", "Pa", "PS", "RS", "Sc")}}
SHOWN = 6  # photographs on a contact sheet


def parse(argv=None):
    p = run.parser(__doc__.splitlines()[0], "python -m stablesdg.prepare photographs neu --size 200")
    p.add_argument("raw", type=Path, help="folder with one folder of photographs for each class, or NEU-CLS, NEU-DET as published")
    p.add_argument("out", type=Path, help="new folder for the data set")
    p.add_argument("--size", type=run.positive, default=200, help="side of a finished tile in pixels")
    p.add_argument("--tile", type=run.positive, help="side of a tile in the photograph (default: the shorter side of the piece)")
    p.add_argument("--overlap", type=float, default=0.0, help="share of a tile that its neighbour repeats, 0 to below 1")
    p.add_argument("--dark", action="store_true", help="the piece is darker than what surrounds it")
    return p.parse_args(argv)


def main(argv=None):
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


def published_files(raw):
    """[(file, class), ..] if every image below `raw` is named as NEU publishes them, else []."""
    files = [file for file in sorted(raw.rglob("*")) if file.suffix.lower() in EXTENSIONS]
    names = [re.fullmatch(r"(.+)_\d+", file.stem) for file in files]
    if not files or not all(match and match[1] in NEU for match in names):
        return []
    return [(file, NEU[match[1]]) for file, match in zip(files, names)]


def prepare_category(folder, out, args):
    """Tiles of one class's photographs, tiles.csv and a contact sheet."""
    from .data import read_image, save_image
    from .report import image_grid

    rows, sheet = [], []
    for file in list_images(folder):
        gray = read_image(file)[0].convert("L")
        box = piece(gray, args.dark)
        tiles = cut(gray.crop(box), args.tile, args.overlap, args.size)
        for k, tile in enumerate(tiles):
            name = f"{file.stem}_{k:02d}.png"
            save_image(out / folder.name / name, tile)
            rows.append((name, file.name))
        if len(sheet) < SHOWN:
            sheet.append((f"{file.name}, piece {box}, {len(tiles)} tiles", [gray, gray.crop(box), *tiles[:6]]))
    write_csv(out / folder.name / "tiles.csv", ("file", "photograph"), rows)
    save_image(out / f"contact-{folder.name}.png", image_grid(sheet))
    print(f"{folder.name}: {len(rows)} tiles of {len(list_images(folder))} photographs")


def otsu(gray):
    """The gray level that divides the pixels into two classes of least variance (Otsu 1979): the dark ones are <= it."""
    import numpy as np

    histogram = np.bincount(np.asarray(gray).ravel(), minlength=256).astype(float)
    below = histogram.cumsum()
    moment = (histogram * np.arange(256)).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (moment[-1] * below - moment * below[-1]) ** 2 / (below * (below[-1] - below))
    return int(np.nanargmax(np.where(np.isfinite(between), between, -1)))


def piece(gray, dark=False):
    """(left, top, right, bottom) of the largest connected region on the piece's side of Otsu's threshold."""
    import numpy as np
    from scipy.ndimage import find_objects, label

    pixels = np.asarray(gray)
    threshold = otsu(gray)
    labels, n = label(pixels <= threshold if dark else pixels > threshold)
    if n == 0:  # one gray level alone
        return 0, 0, *gray.size
    rows, columns = find_objects(labels)[np.bincount(labels.ravel())[1:].argmax()]
    return columns.start, rows.start, columns.stop, rows.stop


def cut(image, side, overlap, size):
    """Square tiles of `side` pixels (the shorter side if None, or if it is larger than that), evenly laid from edge to
    edge with at least the overlap asked for, resized to `size`."""
    from PIL import Image

    side = min(side or min(image.size), *image.size)
    tiles = []
    for top in starts(image.height, side, overlap):
        for left in starts(image.width, side, overlap):
            tile = image.crop((left, top, left + side, top + side))
            tiles.append(tile.resize((size, size), Image.Resampling.LANCZOS) if side != size else tile)
    return tiles


def starts(length, side, overlap):
    """Where tiles begin along one axis. Without overlap, what is left over at the ends is shared out."""
    stride = max(1.0, side * (1 - overlap))
    n = int((length - side) // stride) + 1
    spare = length - side - (n - 1) * stride
    return [round(spare / 2 + k * stride) for k in range(n)]


if __name__ == "__main__":
    run.main(main)
