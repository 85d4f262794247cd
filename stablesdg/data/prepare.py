"""From production photographs to a data set: python -m stablesdg.prepare RAW OUT --size 200

The paper's preparation (sec. IV-A): gray, binarised by Otsu's threshold, cut to the bounding box of the largest piece,
cut into square tiles, resized. RAW holds one folder of photographs for each class. tiles.csv in each folder of OUT says
which photograph a tile came from: such tiles stay together in the split. OUT/contact-*.png are for a check by eye.

The published layouts of NEU-CLS (Cr_1.bmp ..) and NEU-DET (crazing_1.jpg .., in any folders) are recognised; their
images are already cut, so they are sorted into class folders as they are.
"""
import re

from ..storage.files import write_csv
from .folders import EXTENSIONS, list_images

NEU = {"crazing": "Cr", "inclusion": "In", "patches": "Pa", "pitted_surface": "PS", "rolled-in_scale": "RS", "scratches": "Sc",
       **{short: short for short in ("Cr", "In", "Pa", "PS", "RS", "Sc")}}
SHOWN = 6  # photographs on a contact sheet


def published_files(raw):
    """[(file, class), ..] if every image below `raw` is named as NEU publishes them, else []."""
    files = [file for file in sorted(raw.rglob("*")) if file.suffix.lower() in EXTENSIONS]
    names = [re.fullmatch(r"(.+)_\d+", file.stem) for file in files]
    if not files or not all(match and match[1] in NEU for match in names):
        return []
    return [(file, NEU[match[1]]) for file, match in zip(files, names)]


def prepare_category(folder, out, args):
    """Tiles of one class's photographs, tiles.csv and a contact sheet."""
    from ..report.pictures import image_grid
    from .images import read_image, save_image

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
